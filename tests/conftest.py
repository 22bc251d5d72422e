"""The brokers that tests ask for, and the table that ends `fiducial verify`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NoReturn

import pytest
from peers.kafka import Kafka, PeerUnavailable

from fiducial.cli.verify import FAILED, PASSED, Result, results_so_far, table

STOP_TIMEOUT_S = 10


@dataclass(frozen=True)
class Address:
    """Where a broker of ours listens."""

    host: str
    port: int

    @property
    def bootstrap(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"


def not_run(reason: str) -> NoReturn:
    """Something that the machine does not have: loud in the summary, and a failure where everything was promised to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"NOT RUN: {reason}", pytrace=False)
    pytest.skip(f"NOT RUN: {reason}")


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Has a line in the summary of the run, wherever the test runs: what was counted, or found."""
    return lambda line: record_property(TOLD, line)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """Apache Kafka, one for all tests of a process."""
    yield from started_kafka()


@pytest.fixture(scope="module")
def fresh_kafka() -> Iterator[Kafka]:
    """One that no other file of tests has changed: for those who ask for all topics, or for the defaults of the cluster."""
    yield from started_kafka()


def started_kafka() -> Iterator[Kafka]:
    """Apache Kafka, until the fixture ends."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(Kafka())
        except PeerUnavailable as reason:
            not_run(f"Apache Kafka: {reason}")
        yield broker


@contextmanager
def serving(*options: str) -> Iterator[Address]:
    """`fiducial serve` in a process of its own; it must stop cleanly in the end."""
    command = [sys.executable, "-m", "fiducial", "serve", "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().removeprefix("listening on ").strip().rpartition(":")
            assert port, "the broker did not start; what it says is on stderr"
            yield Address(host, int(port))
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_TIMEOUT_S) == 0
        finally:
            process.kill()


@pytest.fixture(scope="session")
def reference_broker() -> Iterator[Address]:
    """`fiducial serve --reference`, one for all tests of a run."""
    with serving("--reference") as address:
        yield address


@pytest.fixture(scope="session")
def fast_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """`fiducial serve` with a data folder, one for all tests of a run."""
    with serving("--data", str(tmp_path_factory.mktemp("fast") / "data")) as address:
        yield address


def pytest_configure(config: pytest.Config) -> None:
    """Note when the run began, for the table."""
    config.stash[BEGUN] = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """What tests had to tell; the table of all parts, when this is the last part of `fiducial verify`."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [line for report in reports for name, line in report.user_properties if name == TOLD]
    if told:
        terminalreporter.section("what was counted")
        terminalreporter.write_line("\n".join(told))
    before = results_so_far()
    if before:
        skipped = len(terminalreporter.stats.get("skipped", []))
        note = f"{skipped} skipped" if skipped else ""
        seconds = time.monotonic() - config.stash[BEGUN]
        results = [*before, Result("tests", FAILED if exitstatus else PASSED, seconds, note)]
        terminalreporter.write_line(f"\n{table(results)}\n")


BEGUN = pytest.StashKey[float]()
TOLD = "told"
