"""A scene at a broker: who is in which group, and what was read, the same for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from peers.kafka import Kafka

from cli.scenes import Scene, assignment

#: Of what the scene makes.
GROUPS = ("scene-left", "scene-other", "scene-pair", "scene-simple")


@pytest.fixture(scope="session")
def bootstrap(kafka: Kafka) -> Iterator[str]:
    """Where the scene is."""
    with Scene(kafka.bootstrap) as scene:
        make(scene)
        yield kafka.bootstrap


def make(scene: Scene) -> None:
    """Two topics; a group of two members, one whose member has left, one of offsets alone, and one whose assignments are not Kafka's."""
    scene.topic("scene-orders", 3)
    scene.topic("scene-refunds", 1)
    scene.produce("scene-orders", 0, 10)
    scene.produce("scene-orders", 1, 5)
    scene.produce("scene-refunds", 0, 4)
    scene.produce("scene-refunds", 0, 2)
    ids, generation = scene.join("scene-pair", {"first": assignment({"scene-orders": [0, 1]}), "second": assignment({"scene-orders": [2], "scene-refunds": [0]})})
    scene.commit("scene-pair", {("scene-orders", 0): 4, ("scene-orders", 1): 5}, ids[0], generation)
    (member_id,), generation = scene.join("scene-left", {"gone": assignment({"scene-refunds": [0]})})
    scene.commit("scene-left", {("scene-refunds", 0): 1}, member_id, generation)
    scene.leave("scene-left", member_id)
    scene.commit("scene-simple", {("scene-refunds", 0): 99, ("scene-orders", 0): 0})
    scene.join("scene-other", {"worker": b"\0\1\2"}, "connect")
