"""`fiducial groups` and `fiducial lag` on a scene that a broker holds: what they print, what their JSON has, and Kafka's own tool beside them."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from peers.kafka import Kafka, java_tool

from cli.conftest import GROUPS
from cli.scenes import BEGUN_MS, SECOND_MS
from fiducial.cli import GROUPS_EXAMPLES, LAG_EXAMPLES, main
from fiducial.cli.cluster import Node

#: The clock, for all that is reckoned here.
NOW_MS = BEGUN_MS + 100 * SECOND_MS

LAG = """\
scene-left: Empty, classic, lag 5, 1m 39s behind
  TOPIC          PARTITION  COMMITTED  LOG END  LAG  BEHIND  CLIENT  HOST  NOTE
  scene-refunds          0          1        6    5  1m 39s  -       -

scene-other: Stable, classic, no committed offsets

scene-pair: Stable, classic, lag 6, 1m 36s behind, 2 partitions unknown
  TOPIC          PARTITION  COMMITTED  LOG END  LAG  BEHIND  CLIENT  HOST       NOTE
  scene-orders           0          4       10    6  1m 36s  first   127.0.0.1
  scene-orders           1          5        5    0      0s  first   127.0.0.1
  scene-orders           2          -        0    -       -  second  127.0.0.1  nothing is committed
  scene-orders         all                        6  1m 36s
  scene-refunds          0          -        6    -       -  second  127.0.0.1  nothing is committed

scene-simple: Empty, classic, lag 18, 1m 40s behind
  TOPIC          PARTITION  COMMITTED  LOG END  LAG  BEHIND  CLIENT  HOST  NOTE
  scene-cut              0          2       10    8  1m 35s  -       -     the log begins at 5
  scene-orders           0          0       10   10  1m 40s  -       -
  scene-refunds          0         99        6    0      0s  -       -     beyond the end of the log

4 groups: lag 29, 1m 40s behind, 2 partitions unknown
"""

MEMBERS = """\
scene-left: Empty, classic, consumer, 0 members, coordinator 1

scene-other: Stable, classic, connect/range, 1 member, coordinator 1
  MEMBER       INSTANCE  CLIENT  HOST       PARTITIONS
  worker-UUID  -         worker  127.0.0.1  not readable

scene-pair: Stable, classic, consumer/range, 2 members, coordinator 1
  MEMBER       INSTANCE  CLIENT  HOST       PARTITIONS
  first-UUID   -         first   127.0.0.1  scene-orders 0-1
  second-UUID  -         second  127.0.0.1  scene-orders 2; scene-refunds 0

scene-simple: Empty, classic, 0 members, coordinator 1
"""

#: The highest versions of Apache Kafka 2.0, by the numbers of its APIs.
KAFKA_2_0 = {1: 8, 2: 3, 3: 6, 9: 4, 15: 2, 16: 2}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is what the scene needs."""
    monkeypatch.setattr("time.time_ns", lambda: NOW_MS * 10**6)


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """What a command prints that succeeds."""
    assert main(command) == 0
    said = capsys.readouterr()
    assert not said.err
    return said.out


def data(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """The JSON that it prints, which is one line."""
    (line,) = printed(capsys, *command, "-o", "json").splitlines()
    return json.loads(line)


def without_ids(text: str) -> str:
    """A table in which no made-up id is, and all columns are as wide as without them."""
    uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    return uuid.sub("UUID", text).replace(" " * 32, "")


@pytest.mark.usefixtures("clock")
def test_lag_is_told_by_partition_topic_and_group(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "lag", bootstrap, *GROUPS) == LAG


def test_groups_that_are_named_are_told_with_their_members(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert without_ids(printed(capsys, "groups", bootstrap, *GROUPS)) == MEMBERS


def test_all_groups_are_listed(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = [line.split() for line in printed(capsys, "groups", bootstrap).splitlines()]
    assert head == ["GROUP", "TYPE", "STATE", "PROTOCOL", "MEMBERS", "COORDINATOR"]
    assert [row for row in rows if row[0] in GROUPS] == [
        ["scene-left", "classic", "Empty", "consumer", "0", "1"],
        ["scene-other", "classic", "Stable", "connect/range", "1", "1"],
        ["scene-pair", "classic", "Stable", "consumer/range", "2", "1"],
        ["scene-simple", "classic", "Empty", "-", "0", "1"],
    ]


@pytest.mark.usefixtures("clock")
def test_json_has_the_numbers_of_the_table(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = data(capsys, "lag", bootstrap, *GROUPS)
    assert (told["lag"], told["behind_ms"], told["unknown_partitions"]) == (29, 100 * SECOND_MS, 2)
    pair = next(one for one in told["groups"] if one["group"] == "scene-pair")
    orders, refunds = pair["topics"]
    assert (orders["topic"], orders["lag"], orders["behind_ms"], orders["unknown_partitions"]) == ("scene-orders", 6, 96 * SECOND_MS, 1)
    first = dict(orders["partitions"][0])
    assert re.fullmatch(r"first-[0-9a-f-]{36}", first.pop("member_id"))
    assert first == {
        "partition": 0, "committed": 4, "log_start": 0, "log_end": 10, "lag": 6, "behind_ms": 96 * SECOND_MS, "client_id": "first", "host": "127.0.0.1", "note": "",
    }  # fmt: skip
    assert (refunds["lag"], refunds["partitions"][0]["committed"], refunds["partitions"][0]["lag"]) == (None, None, None)


def names_in(node: Any) -> set[str]:
    """All names of fields in some JSON."""
    if isinstance(node, list):
        return set().union(*map(names_in, node))
    return set(node).union(*map(names_in, node.values())) if isinstance(node, dict) else set()


@pytest.mark.parametrize(("command", "page"), [("groups", GROUPS_EXAMPLES), ("lag", LAG_EXAMPLES)])
def test_every_field_of_the_json_stands_in_the_help_and_none_else(command: str, page: str, bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    shape = page[page.index("JSON (") : page.index("Exit status")]
    assert names_in(data(capsys, command, bootstrap, *GROUPS)) == set(re.findall(r'"(\w+)"', shape))


@pytest.mark.usefixtures("clock")
def test_a_broker_of_another_age_tells_the_same(bootstrap: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [data(capsys, command, bootstrap, *GROUPS) for command in ("groups", "lag")]
    whole = Node.version

    def of_old(node: Node, kind: type) -> int:
        node.served |= {key: (0, highest) for key, highest in KAFKA_2_0.items()}
        return whole(node, kind)

    monkeypatch.setattr(Node, "version", of_old)
    assert [data(capsys, command, bootstrap, *GROUPS) for command in ("groups", "lag")] == now


def test_a_group_that_is_not_there_is_an_error(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("groups", "lag"):
        assert main([command, bootstrap, "scene-left", "scene-nobody"]) == 1
        said = capsys.readouterr()
        assert said.err == f"fiducial {command}: there is no group scene-nobody\n" and not said.out


def test_the_first_address_that_answers_will_do(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = data(capsys, "groups", f"127.0.0.1:1,{bootstrap}", "scene-left")
    assert [one["group"] for one in told["groups"]] == ["scene-left"]


def test_watching_ends_with_ctrl_c_and_no_sooner(bootstrap: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    others_sleep = time.sleep

    def sleep(seconds: float) -> None:
        if seconds != 7.5:
            return others_sleep(seconds)
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt
        return None

    monkeypatch.setattr("time.sleep", sleep)
    assert main(["groups", bootstrap, "scene-left", "-o", "json", "--watch", "7.5"]) == 130
    first, *others = capsys.readouterr().out.splitlines()
    assert json.loads(first)["groups"][0]["group"] == "scene-left" and others == [first, first]


# Beside Kafka's own tool

TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
TOLD_BY_BOTH = ("scene-left", "scene-pair", "scene-simple")


def told_by_kafka(kafka: Kafka) -> list[list[str]]:
    """What Kafka's tool prints of these groups: group, topic, partition, committed, log end, lag, member, host, client."""
    groups = [part for group in TOLD_BY_BOTH for part in ("--group", group)]
    done = java_tool(TOOL, "--bootstrap-server", kafka.bootstrap, "--describe", *groups)
    return sorted(row for line in done.stdout.splitlines() if (row := line.split()) and row[0] in TOLD_BY_BOTH)


def told_here(told: Any) -> list[list[str]]:
    """The same of our JSON."""
    rows = []
    for group in told["groups"]:
        for topic in group["topics"]:
            for one in topic["partitions"]:
                host = one["host"] and f"/{one['host']}"
                cells = (one["committed"], one["log_end"], one["lag"], one["member_id"], host, one["client_id"])
                rows.append([group["group"], topic["topic"], str(one["partition"]), *("-" if cell is None else str(cell) for cell in cells)])
    return sorted(rows)


def test_kafkas_own_tool_tells_the_same(kafka: Kafka, at_kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours = told_by_kafka(kafka), told_here(data(capsys, "lag", at_kafka, *TOLD_BY_BOTH))
    beyond = next(row for row in theirs if row[:3] == ["scene-simple", "scene-refunds", "0"])
    assert beyond[5] == "-93"  # where more is committed than there is, it tells a negative lag
    beyond[5] = "0"
    assert ours == theirs
