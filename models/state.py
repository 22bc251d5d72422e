"""The state of one broker: the values of its protocols, side by side."""

from __future__ import annotations

import hashlib

from immutables import Map

from fiducial.models.fetch import Parked
from fiducial.models.group_requests import Groups
from fiducial.models.idempotence import ProducerIds
from fiducial.models.partition import Partition
from fiducial.models.sessions import Sessions
from fiducial.models.settings import Settings
from fiducial.models.topics import Topics
from fiducial.models.values import EMPTY, Uuid, value


@value
class Cluster:
    """Who this broker is."""

    cluster_id: str  # 22 characters, base64url
    broker_id: int
    host: str
    port: int
    rack: str | None = None


@value
class Chance:
    """Randomness as state: the same seed gives the same ids."""

    seed: int
    draws: int = 0

    def uuid(self) -> tuple[Uuid, Chance]:
        """A random (version 4) UUID, and the source after it."""
        drawn = bytearray(hashlib.sha256(f"{self.seed}/{self.draws}".encode()).digest()[:16])
        drawn[6] = drawn[6] & 0x0F | 0x40
        drawn[8] = drawn[8] & 0x3F | 0x80
        return bytes(drawn), Chance(self.seed, self.draws + 1)


@value
class Broker:
    """Durable: topics, partitions, producer_ids, and of groups what their records say. Volatile, lost on restart by design: sessions, parked."""

    cluster: Cluster
    settings: Settings
    topics: Topics
    producer_ids: ProducerIds
    sessions: Sessions
    parked: Parked
    chance: Chance
    partitions: Map[tuple[Uuid, int], Partition] = EMPTY
    groups: Groups = Groups()
