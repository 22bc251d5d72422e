"""`fiducial serve --metrics`: the numbers of `fiducial lag`, on a page for Prometheus."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_client import RawClient

from cli.conftest import GROUPS, make
from cli.scenes import Scene
from fiducial.cli import main
from fiducial.conformance.batches import Item, build
from fiducial.conformance.exploration.steps import request_frame
from fiducial.fastpath.metrics import FRESH_S
from fiducial.models import messages as m

#: More than goes by way of memory.
LARGE_BYTES = 500_000
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


@pytest.mark.parametrize("driver", ["epoll", "asyncio"])
def test_every_byte_of_clients_is_counted_of_those_that_are_gone_too(driver: str, tmp_path: Path) -> None:
    command = [*COMMAND, "--metrics", "127.0.0.1:0", "--driver", driver, "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address, _, url = (process.stdout.readline().strip().rpartition(" ")[2] for _ in range(3))
            host, _, port = address.rpartition(":")
            frames = [request_frame(*request) for request in about_a_large_batch()]
            sent, received = sum(4 + len(frame) for frame in frames), 0
            for asked in (frames[:2], frames[2:]):
                with RawClient(host, int(port)) as client:
                    received += sum(4 + len(client.ask(frame) or b"") for frame in asked)
            assert received > LARGE_BYTES  # a slice of a file
            with RawClient(host, int(port)) as idle:
                idle.socket.sendall(b"\0\0")  # half of a length
                told = until_told(url, sent + 2)
            assert told == {"connection_count": 1, "incoming_byte_total": sent + 2, "outgoing_byte_total": received}
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def about_a_large_batch() -> list[tuple[int, int, Any]]:
    """Requests that make a topic, fill it, and read it."""
    batch: Any = build([Item(1, content=bytes(LARGE_BYTES))])
    produced = m.ProduceRequest(acks=-1, timeout_ms=1000, topic_data=(m.TopicProduceData("a", partition_data=(m.PartitionProduceData(0, batch),)),))
    fetched = m.FetchRequest(max_bytes=1 << 30, topics=(m.FetchTopic("a", partitions=(m.FetchPartition(0, partition_max_bytes=1 << 30),)),))
    return [(19, 5, m.CreateTopicsRequest((m.CreatableTopic("a", 1, 1),), 1000)), (0, 9, produced), (1, 12, fetched)]


def until_told(url: str, received_bytes: int) -> dict[str, int]:
    """What is told of the traffic, once so much has come."""
    end = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = (re.fullmatch(r"kafka_server_socket_server_metrics_(\w+) (\d+)", line) for line in lines)
        told = {one[1]: int(one[2]) for one in found if one}
        if told["incoming_byte_total"] >= received_bytes or time.monotonic() > end:
            return told
        time.sleep(0.05)


def test_an_address_that_is_not_to_be_had_is_a_clear_error(tmp_path: Path) -> None:
    command = [*COMMAND, "--data", str(tmp_path / "data"), "--metrics", "203.0.113.1:9308"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "cannot listen on 203.0.113.1:9308" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "complaint"), [(["--metrics", "9308"], "--metrics takes HOST:PORT"), (["--reference", "--metrics", "127.0.0.1:0"], "--metrics")])
def test_what_it_cannot_be_is_refused_at_the_start(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    assert complaint in capsys.readouterr().err
