"""kafka-python's own integration tests against a broker of ours.

Each of them that does not pass stands in `kafka_python_suite.toml` with the reason. The test fails if another one does not pass, and if one
that stands there does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Address, not_run, serving
from peers import kafka_python
from peers.kafka import VERSION, PeerUnavailable

from clients.conftest import NOTES

pytestmark = pytest.mark.clients

TABLE = Path(__file__).with_name("kafka_python_suite.toml")
FOLDER = "test/integration"
#: What the tests take for granted: node 0, topics of four partitions, and sessions of three seconds, which Apache Kafka allows by a setting, too.
SETTINGS = ("--set", "broker.id=0", "--set", "num.partitions=4", "--set", "group.min.session.timeout.ms=3000")
#: A test that asks for what is not served may wait for ever. Those in the table get less time, and wait beside the others.
LIMIT_S, LIMIT_IN_TABLE_S, PROCESSES_FOR_TABLE = 60, 5, 3
SUITE_LIMIT_S = 600


def table() -> dict[str, str]:
    """The tests that do not pass, and why."""
    causes = tomllib.loads(TABLE.read_text())["cause"]
    return {test: cause["reason"] for cause in causes for test in cause["tests"]}


@pytest.mark.parametrize("kind", ["the fast path", "the reference"])
def test_kafka_pythons_own_tests_pass_but_for_those_in_the_table(kind: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    try:
        source = kafka_python.source()
    except PeerUnavailable as reason:
        not_run(f"kafka-python's own tests: {reason}")
    expected = table()
    options = ["--reference"] if kind == "the reference" else ["--data", str(tmp_path / "data")]
    with serving(*options, *SETTINGS) as broker:
        outcomes = Suite(source, broker, tmp_path).run(list(expected))
    failed = {test: said for test, said in outcomes.items() if said is not None}
    pytestconfig.stash[NOTES].append(f"On {kind}, {summary(len(outcomes) - len(failed), expected)}")
    unexpected = [f"{test}: {said}" for test, said in sorted(failed.items()) if test not in expected]
    outdated = [f"{test}: stands in the table, and passes or is no more" for test in sorted(expected) if test not in failed]
    assert not unexpected + outdated, "\n".join(unexpected + outdated)


class Suite:
    """The tests, as processes of pytest's own."""

    def __init__(self, source: Path, broker: Address, reports: Path) -> None:
        self.source = source
        self.reports = reports
        self.environment = {
            **os.environ,
            "KAFKA_URI": f"kafka://{broker.bootstrap}",
            "KAFKA_VERSION": VERSION,
            "KAFKA_ROOT": str(source),  # where Kafka would be, if it had to be started: any folder will do
            "PYTEST_ADDOPTS": "",
        }

    def run(self, in_table: list[str]) -> dict[str, str | None]:
        """Test -> why it did not pass, None if it did."""
        listed = [f"{FOLDER}/{test}" for test in in_table]
        shares = [[FOLDER, *(f"--deselect={test}" for test in listed), f"--timeout={LIMIT_S}"]]
        shares += [
            [*listed[first::PROCESSES_FOR_TABLE], f"--timeout={LIMIT_IN_TABLE_S}"] for first in range(PROCESSES_FOR_TABLE)
        ]
        reports = (str(self.reports / f"{number}.xml") for number in range(len(shares)))
        with ThreadPoolExecutor(len(shares)) as pool:
            done = pool.map(self.run_share, reports, shares)
        outcomes = {test: said for some in done for test, said in some.items()}
        return outcomes | self.run_again([test for test, said in outcomes.items() if said is not None and test not in in_table])

    def run_again(self, failed: list[str]) -> dict[str, str | None]:
        """Those that failed though they should pass, alone: some of them wait for two seconds and no longer, beside others that keep the machine busy."""
        if not failed:
            return {}
        return self.run_share(str(self.reports / "again.xml"), [*(f"{FOLDER}/{test}" for test in failed), f"--timeout={LIMIT_S}"])

    def run_share(self, report: str, what: list[str]) -> dict[str, str | None]:
        """Run some of them in one process."""
        options = ["-q", "-o", "addopts=", "-o", "log_level=ERROR", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        command = [sys.executable, "-m", "pytest", *options, *what]
        done = subprocess.run(
            command, cwd=self.source, env=self.environment, capture_output=True, text=True, timeout=SUITE_LIMIT_S, check=False
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr  # anything else: they did not run
        return {id_of(case): complaint(case) for case in ElementTree.parse(report).iter("testcase")}


def id_of(case: ElementTree.Element) -> str:
    """FILE::[CLASS::]TEST, as pytest writes it; the report has it with dots."""
    _, _, file, *classes = case.attrib["classname"].split(".")
    return "::".join([f"{file}.py", *classes, case.attrib["name"]])


def complaint(case: ElementTree.Element) -> str | None:
    """What a report says of a test that did not pass: failure, error or skip."""
    return next((f"{found.tag}: {found.attrib['message']}" for found in case if "message" in found.attrib), None)


def summary(passed: int, expected: Mapping[str, str]) -> str:
    """One line for each reason."""
    lines = [f"{passed} of kafka-python's own integration tests passed, {len(expected)} are in the table:"]
    lines += [f"{count:>4}  {reason}" for reason, count in Counter(expected.values()).most_common()]
    return "\n".join(lines)
