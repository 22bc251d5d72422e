"""`fiducial serve --metrics`: the numbers of `fiducial lag`, on a page for Prometheus."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import GROUPS, make
from cli.scenes import Scene
from fiducial.cli import main
from fiducial.fastpath.metrics import FRESH_S

COMMAND = [sys.executable, "-m", "fiducial", "serve", "--listen", "127.0.0.1:0", "--set", "group.initial.rebalance.delay.ms=0"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where a broker with the scene is, and where it tells of it."""
    command = [*COMMAND, "--metrics", "127.0.0.1:0", "--data", str(tmp_path_factory.mktemp("metrics") / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first, _, third = (process.stdout.readline().strip() for _ in range(3))
            address, url = first.removeprefix("listening on "), third.removeprefix("metrics on ")
            with Scene(address) as scene:
                make(scene)
                yield address, url
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def series(url: str, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric, by the values of its labels."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = (re.fullmatch(rf"{name}\{{(.*)\}} (\S+)", line) for line in lines)
    return {tuple(re.findall(r'"(.*?)"', one[1])): float(one[2]) for one in found if one}


def told(capsys: pytest.CaptureFixture[str], address: str, field: str) -> dict[tuple[str, ...], Any]:
    """The same of `fiducial lag`, where it is known."""
    assert main(["lag", address, *GROUPS, "-o", "json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    partitions = (((group["group"], topic["topic"], str(one["partition"])), one[field]) for group in groups for topic in group["topics"] for one in topic["partitions"])
    return {key: number for key, number in partitions if number is not None}


def test_prometheus_is_told_the_numbers_of_the_command(served: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    address, url = served
    assert series(url, "kafka_consumergroup_current_offset") == told(capsys, address, "committed")
    assert series(url, "kafka_consumergroup_lag") == told(capsys, address, "lag")
    before = told(capsys, address, "behind_ms")
    seconds = series(url, "kafka_consumergroup_lag_seconds")
    after = told(capsys, address, "behind_ms")
    assert before.keys() == seconds.keys() and min(before.values()) == 0
    assert all(before[key] / 1000 - FRESH_S <= seconds[key] <= after[key] / 1000 for key in seconds)
    assert series(url, "kafka_consumergroups") == {("Empty",): 2, ("PreparingRebalance",): 0, ("CompletingRebalance",): 0, ("Stable",): 2}
    assert series(url, "kafka_consumergroup_members")["scene-pair",] == 2


def test_an_address_that_is_not_to_be_had_is_a_clear_error(tmp_path: Path) -> None:
    command = [*COMMAND, "--data", str(tmp_path / "data"), "--metrics", "203.0.113.1:9308"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "cannot listen on 203.0.113.1:9308" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "complaint"), [(["--metrics", "9308"], "--metrics takes HOST:PORT"), (["--reference", "--metrics", "127.0.0.1:0"], "--metrics")])
def test_what_it_cannot_be_is_refused_at_the_start(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    assert complaint in capsys.readouterr().err
