"""The metadata log: every durable record of the models, as JSON in record batches of Kafka's format; folded again at the start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from fiducial.fastpath.batch import batches, encode
from fiducial.models import idempotence, topics
from fiducial.models.idempotence import ProducerIds, ProducerIdsReserved
from fiducial.models.restarts import BrokerStarted
from fiducial.models.topics import ConfigChanged, PartitionsAdded, TopicCreated, TopicDeleted, Topics

if TYPE_CHECKING:
    from fiducial.fastpath.core import Core

RECORDS = {record.__name__: record for record in (BrokerStarted, ConfigChanged, PartitionsAdded, ProducerIdsReserved, TopicCreated, TopicDeleted)}


def as_json(record: Any) -> dict[str, Any]:
    """A record with its name; ids in hexadecimal."""
    fields = attrs.asdict(record, recurse=False)
    return {"record": type(record).__name__, **{name: one.hex() if isinstance(one, bytes) else one for name, one in fields.items()}}


def of_json(read: dict[str, Any]) -> Any:
    """The record."""
    fields = {name: one for name, one in read.items() if name != "record"}
    if "topic_id" in fields:
        fields["topic_id"] = bytes.fromhex(fields["topic_id"])
    if "overrides" in fields:
        fields["overrides"] = tuple((name, text) for name, text in fields["overrides"])
    return RECORDS[read["record"]](**fields)


def append(core: Core, records: list[Any], now: int) -> None:
    """All of them or none, and on the disk: one record of the log holds what one request did."""
    text = json.dumps([as_json(record) for record in records], separators=(",", ":"))
    core.append_metadata(encode([(now, None, text.encode())]), now)


def read(core: Core) -> Iterator[Any]:
    """Every record, in order."""
    for batch in batches(core.read_metadata()):
        for stored in batch.records():
            assert stored.value is not None
            yield from (of_json(one) for one in json.loads(stored.value))


def deleted(core: Core) -> set[bytes]:
    """The ids of the topics that are no more."""
    return {record.topic_id for record in read(core) if isinstance(record, TopicDeleted)}


def replayed(core: Core) -> tuple[Topics, ProducerIds]:
    """What the records come to."""
    found, ids = topics.Topics(), idempotence.ProducerIds()
    for record in read(core):
        match record:
            case BrokerStarted():
                pass
            case ProducerIdsReserved():
                ids = idempotence.evolve(ids, record)
            case _:
                found = topics.evolve(found, record)
    return found, ids
