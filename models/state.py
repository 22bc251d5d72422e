"""The state of one broker: the values of its protocols, side by side."""

from __future__ import annotations

from _blake2 import blake2b  # hashlib's own, without OpenSSL beside it: an eighth of the broker's memory

import attrs
from immutables import Map

from fiducial.models.fetch import Parked
from fiducial.models.group_requests import Groups
from fiducial.models.idempotence import ProducerIds
from fiducial.models.partition import Partition
from fiducial.models.rules import rule
from fiducial.models.sessions import Sessions
from fiducial.models.settings import Settings
from fiducial.models.topics import Topics
from fiducial.models.values import EMPTY, Uuid, value


@value
class Cluster:
    """Who this broker is, and where clients find it that come by its first listener; and those that come by another."""

    cluster_id: str  # 22 characters, base64url
    broker_id: int
    host: str
    port: int
    rack: str | None = None
    others: tuple[tuple[str, int], ...] = ()  # host and port, by the listeners behind the first
    log_dir: str = "memory"  # what the one directory of logs is called

    @rule("WIRE-META-16")
    def endpoint(self, listener: int) -> tuple[str, int]:
        """Where clients find it that come by this listener: host and port."""
        return ((self.host, self.port), *self.others)[listener]


#: Bytes of a seed: nobody guesses so many.
SEED_BYTES = 32
#: What the six bits stand for that base64url writes as "-".
DASH = 62


@value
class Chance:
    """Randomness as state: the same seed gives the same ids, and who has not the seed cannot reckon one from others: a keyed hash of a counter."""

    seed: int = attrs.field(repr=False)
    draws: int = 0

    @rule("WIRE-TOPIC-44", "WIRE-TOPIC-45")
    def uuid(self) -> tuple[Uuid, Chance]:
        """A random (version 4) UUID whose text does not begin with "-", and the source after it."""
        drawn = bytearray(blake2b(self.draws.to_bytes(8), key=self.seed.to_bytes(SEED_BYTES), digest_size=16).digest())
        drawn[6] = drawn[6] & 0x0F | 0x40
        drawn[8] = drawn[8] & 0x3F | 0x80
        after = Chance(self.seed, self.draws + 1)
        return after.uuid() if drawn[0] >> 2 == DASH else (bytes(drawn), after)


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
