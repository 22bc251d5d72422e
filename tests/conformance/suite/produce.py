"""Produce requests: what spoils one, and what spoils a part of it (LOG-PRODUCE)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, Topic, case, data, fetch, produce, produce_to
from fiducial.conformance.symbols import Batch, Record, Records
from fiducial.models import messages as m
from fiducial.models.values import ZERO_UUID, changed

SOUND, FAULTY = Batch(), Batch(fault="wrong checksum")
TWO = Batch((Record(), Record()))
OLD_FORMAT = Batch(fault="magic 1")
TRANSACTIONAL = Batch(fault="transactional bit")

TWO_PARTITIONS = (("a", Topic(partitions=2)),)
TWO_TOPICS = (("a", Topic()), ("b", Topic()))
ABSENT = (("a", Topic()), ("absent", Topic(partitions=0)))


def parts(topic: str, *partitions: tuple[int, Batch]) -> m.TopicProduceData:
    """A topic with several partitions in a Produce request."""
    first = data(None, topic)
    told: Any = tuple(m.PartitionProduceData(index, Records((batch,))) for index, batch in partitions)  # type: ignore[arg-type]
    return changed(first, partition_data=told)


def with_zero_id(topic: m.TopicProduceData) -> m.TopicProduceData:
    """The topic with no id, where it goes by one."""
    return changed(topic, topic_id=ZERO_UUID)


CASES: tuple[Case, ...] = (
    *(
        case(f"LOG-PRODUCE-1/{slug}", produce(SOUND, acks=acks), produce(SOUND), fetch())
        for slug, acks in {"acks-2": 2, "negative-acks": -2, "most-acks": 32_767}.items()
    ),
    case("LOG-PRODUCE-2/no-such-partition", produce(SOUND, index=1), produce(SOUND, index=-1), produce(SOUND), fetch()),
    case("LOG-PRODUCE-2/no-such-topic", produce(SOUND, topic="absent"), produce(SOUND), topics=ABSENT, also=("LOG-PRODUCE-3",)),
    case("LOG-PRODUCE-3/zero-id", produce_to(with_zero_id(data(Records()))), fetch(), also=("LOG-PRODUCE-2",)),
    case(
        "LOG-PRODUCE-5/good-beside-bad",
        produce_to(parts("a", (0, FAULTY), (1, SOUND), (7, SOUND)), parts("b", (0, SOUND))),
        fetch(),
        fetch(index=1),
        fetch(topic="b"),
        topics=(("a", Topic(partitions=2)), ("b", Topic())),
    ),
    case("LOG-PRODUCE-6/partition-named-twice", produce_to(parts("a", (0, SOUND), (0, TWO))), fetch()),
    case("LOG-PRODUCE-6/a-refusal-is-overruled", produce_to(parts("a", (0, OLD_FORMAT), (0, TWO))), fetch(), is_info=True),
    case("LOG-PRODUCE-6/topic-named-twice", produce_to(data(Records()), data(Records((TWO,)))), fetch()),
    case(
        "LOG-PRODUCE-7/topic-named-twice",
        produce_to(parts("a", (0, SOUND)), parts("b", (0, SOUND)), parts("a", (1, SOUND))),
        topics=(("a", Topic(partitions=2)), ("b", Topic())),
    ),
    case(
        "LOG-PRODUCE-8/transactional-bit",
        produce_to(data(Records(), "b"), data(Records((TRANSACTIONAL,)))),
        produce(SOUND),
        fetch(),
        fetch(topic="b"),
        topics=TWO_TOPICS,
    ),
    case("LOG-PRODUCE-9/nothing-is-wrong", produce(SOUND, acks=0), produce(SOUND), fetch()),
    case("LOG-PRODUCE-9/something-is-wrong", produce(FAULTY, acks=0), produce(SOUND), fetch()),
    case(
        "LOG-PRODUCE-9/good-beside-bad",
        produce_to(parts("a", (0, FAULTY), (1, SOUND)), acks=0),
        fetch(),
        fetch(index=1),
        topics=TWO_PARTITIONS,
    ),
    case(
        "LOG-PRODUCE-10/no-coordinator",
        produce(Batch(producer=0, fault="transactional bit"), transactional_id="fiducial-conform"),
        produce(SOUND, transactional_id="fiducial-conform"),
        fetch(),
        producers=1,
    ),
    case("LOG-PRODUCE-11/no-timeout", produce_to(data(Records()), timeout_ms=0), fetch()),
    case("LOG-PRODUCE-11/negative-timeout", produce_to(data(Records()), timeout_ms=-1), fetch()),
    case("LOG-PRODUCE-12/no-transaction", produce(SOUND, transactional_id="fiducial-conform"), fetch()),
)
