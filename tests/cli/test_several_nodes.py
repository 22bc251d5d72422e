"""A cluster of two nodes: each group is asked of the node that coordinates it, each log of the node that leads it, whichever is reached first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from conftest import not_run
from peers.kafka import Kafka, PeerUnavailable

from cli.scenes import BEGUN_MS, PATIENCE_S, PAUSE_S, SECOND_MS, Scene
from fiducial.cli import main
from fiducial.cli.cluster import Cluster, Node

#: Their records are in different partitions of __consumer_offsets, whose number is that of the groups.
GROUPS = ("two-a", "two-b", "two-c", "two-d")


class Joiner(Kafka):
    """A second node, which has its controller in the first."""

    def __init__(self, first: Kafka) -> None:
        super().__init__(**first.config)
        self.first = first

    def properties(self) -> dict[str, str]:
        voter = f"1@{self.first.host}:{self.first.controller_port}"
        own = {"process.roles": "broker", "node.id": "2", "controller.quorum.voters": voter, "listeners": f"PLAINTEXT://{self.bootstrap}"}
        return {**super().properties(), **own}


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Kafka, Kafka]]:
    """Two nodes; every group has read half of what is in both partitions of a topic, one of which each node leads."""
    with ExitStack() as stack:
        try:
            first = stack.enter_context(Kafka(**{"offsets.topic.num.partitions": str(len(GROUPS))}))
            second = stack.enter_context(Joiner(first))
        except PeerUnavailable as reason:
            not_run(f"Apache Kafka: {reason}")
        give_up = time.monotonic() + PATIENCE_S
        while not knows_both(first):
            assert time.monotonic() < give_up
            time.sleep(PAUSE_S)
        with Scene(first.bootstrap) as scene:
            scene.topic("two", 2)
            for partition in (0, 1):
                scene.produce("two", partition, 10)
            for group in GROUPS:
                scene.commit(group, {("two", 0): 5, ("two", 1): 5})
        yield first, second


def knows_both(kafka: Kafka) -> bool:
    """Does the cluster have both nodes?"""
    with Cluster(kafka.bootstrap) as cluster:
        return len(cluster.addresses) == 2


def test_every_node_of_a_cluster_is_asked_for_what_is_its_own(
    nodes: tuple[Kafka, Kafka], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: (BEGUN_MS + 60 * SECOND_MS) * 10**6)
    told = []
    for node in nodes:
        for command in ("groups", "lag"):
            assert main([command, node.bootstrap, *GROUPS, "-o", "json"]) == 0
        groups, lag = map(json.loads, capsys.readouterr().out.splitlines())
        assert {one["coordinator"] for one in groups["groups"]} == {1, 2}
        assert [[one["lag"] for one in group["topics"][0]["partitions"]] for group in lag["groups"]] == [[5, 5]] * len(GROUPS)
        assert {one["behind_ms"] for group in lag["groups"] for one in group["topics"][0]["partitions"]} == {55 * SECOND_MS}
        told.append((groups["groups"], lag["groups"]))
    assert told[0] == told[1]


def test_a_node_that_is_not_to_be_had_is_named(nodes: tuple[Kafka, Kafka], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = nodes
    found = Cluster.reached

    def with_a_node_elsewhere(cluster: Cluster, addresses: list[tuple[str, int]]) -> Node:
        node = found(cluster, addresses)
        monkeypatch.setattr(node, "ask", lambda message, ask=node.ask: moved(ask(message)))
        return node

    def moved(answer: object) -> object:
        for broker in getattr(answer, "brokers", ()):
            if broker.node_id == 2:
                object.__setattr__(broker, "port", 1)
        return answer

    monkeypatch.setattr(Cluster, "reached", with_a_node_elsewhere)
    assert main(["groups", first.bootstrap]) == 1
    assert capsys.readouterr().err == "fiducial groups: node 2 says of itself that it is at an address where it is not to be had: 127.0.0.1:1 cannot be reached: Connection refused\n"
