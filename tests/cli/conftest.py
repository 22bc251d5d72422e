"""A scene at a broker: who is in which group, and what was read, the same for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import serving
from peers.kafka import Kafka

from cli.scenes import Scene, assignment

#: Of what the scene makes.
GROUPS = ("scene-left", "scene-other", "scene-pair", "scene-simple")


@pytest.fixture(scope="session", params=["kafka", "fast", "reference"])
def bootstrap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the scene is: at each broker in turn."""
    if request.param == "kafka":
        yield request.getfixturevalue("at_kafka")
        return
    options = ["--reference"] if request.param == "reference" else ["--data", str(tmp_path_factory.mktemp("scene") / "data")]
    with serving(*options, "--set", "group.initial.rebalance.delay.ms=0") as address, Scene(address.bootstrap) as scene:
        make(scene)
        yield address.bootstrap


@pytest.fixture(scope="session")
def at_kafka(kafka: Kafka) -> Iterator[str]:
    """Where it is at Apache Kafka."""
    with Scene(kafka.bootstrap) as scene:
        make(scene)
        yield kafka.bootstrap


def make(scene: Scene) -> None:
    """Three topics; a group of two members, one whose member has left, one of offsets alone, and one that is not of consumers."""
    scene.topic("scene-orders", 3)
    scene.topic("scene-refunds", 1)
    scene.topic("scene-cut", 1)
    scene.produce("scene-orders", 0, 10)
    scene.produce("scene-orders", 1, 5)
    scene.produce("scene-refunds", 0, 4)
    scene.produce("scene-refunds", 0, 2)
    scene.produce("scene-cut", 0, 10)
    scene.delete_records("scene-cut", 0, 5)
    ids, generation = scene.join("scene-pair", {"first": assignment({"scene-orders": [0, 1]}), "second": assignment({"scene-orders": [2], "scene-refunds": [0]})})
    scene.commit("scene-pair", {("scene-orders", 0): 4, ("scene-orders", 1): 5}, ids[0], generation)
    (member_id,), generation = scene.join("scene-left", {"gone": assignment({"scene-refunds": [0]})})
    scene.commit("scene-left", {("scene-refunds", 0): 1}, member_id, generation)
    scene.leave("scene-left", member_id)
    scene.commit("scene-simple", {("scene-cut", 0): 2, ("scene-refunds", 0): 99, ("scene-orders", 0): 0})
    scene.join("scene-other", {"worker": assignment({"scene-orders": [1]})}, "connect")
