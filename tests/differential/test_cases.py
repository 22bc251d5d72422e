"""What random histories found, as short stories that stay: each is asked of the model, whose answers it says, and of Apache Kafka.

A story is steps, each with the error codes that its answer holds, or what becomes of it instead: "closed", "nothing" for none, "woken" or
"still waiting" for a fetch that waits beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from peers.kafka import Kafka

from differential.targets import ApacheKafka
from fiducial.conformance.exploration.pairs import Pair, World
from fiducial.conformance.exploration.steps import Step
from fiducial.conformance.exploration.targets import Models, Patient
from fiducial.conformance.symbols import Ago, Batch, IdOf, Record, Records, SessionEpoch, SessionId
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error
from fiducial.models.values import ZERO_UUID, changed

OK = "NONE"
PART_BYTES = 1 << 20


@dataclass(frozen=True)
class Case:
    """A story in a world of two-partition topics; each step with what is expected of it."""

    name: str
    rules: tuple[str, ...]
    topics: dict[str, dict[str, str]]
    story: tuple[tuple[Step, set[str]], ...]


CASES: list[Case] = []


def case(name: str, *rules: str, topics: dict[str, dict[str, str]] | None = None) -> Any:
    """Register a story under its name: pairs of a step and what it must come to."""

    def register(*story: tuple[Step, set[str]]) -> None:
        CASES.append(Case(name, rules, topics or {"a": {}}, story))

    return register


# Steps


def newest(body: Any) -> Step:
    """A request in the newest version."""
    return Step(body, next(api.max_version for api in APIS.values() if isinstance(body, api.request)))


def produce(topic: str, *batches: Batch, index: int = 0, **fields: Any) -> Step:
    """Produce to one partition."""
    records: Any = Records(batches or (Batch(),))
    name: Any = IdOf(topic)
    data = m.TopicProduceData(topic, name, (m.PartitionProduceData(index, records),))
    return newest(changed(m.ProduceRequest(acks=-1, timeout_ms=1000, topic_data=(data,)), **fields))


def fetch(*wanted: tuple[str, int, int], part_bytes: int = PART_BYTES, forget: tuple[tuple[str, int], ...] = (), **fields: Any) -> Step:
    """Fetch (topic, partition, offset) entries."""
    last_fetched_epoch = fields.pop("last_fetched_epoch", -1)
    topics = tuple(
        m.FetchTopic(
            topic, identified(topic),
            (m.FetchPartition(index, fetch_offset=offset, partition_max_bytes=part_bytes, last_fetched_epoch=last_fetched_epoch),),
        )
        for topic, index, offset in wanted
    )  # fmt: skip
    forgotten = tuple(m.ForgottenTopic(topic, identified(topic), (index,)) for topic, index in forget)
    return newest(m.FetchRequest(topics=topics, forgotten_topics_data=forgotten, **fields))


def identified(topic: str) -> Any:
    """The id of a topic."""
    return IdOf(topic)


def begin(*wanted: tuple[str, int, int], **fields: Any) -> Step:
    """A full fetch that begins a session."""
    return fetch(*wanted, session_epoch=0, **fields)


def go_on(*wanted: tuple[str, int, int], **fields: Any) -> Step:
    """An incremental fetch in the newest session."""
    return fetch(*wanted, session_id=SessionId(-1), session_epoch=SessionEpoch(-1), **fields)


def beside(step: Step, waiting: Step, min_bytes: int = 1) -> Step:
    """A step during which a fetch waits."""
    return changed(step, waiting=changed(waiting, body=changed(waiting.body, max_wait_ms=60_000, min_bytes=min_bytes)))


def look_up(topic: str, *timestamps: Any, isolation: int = 0) -> Step:
    """ListOffsets of partition 0."""
    parts = tuple(m.ListOffsetsPartition(0, -1, at) for at in timestamps)
    return newest(m.ListOffsetsRequest(-1, isolation, (m.ListOffsetsTopic(topic, parts),)))


def delete_records(topic: str, offset: int) -> Step:
    """DeleteRecords of partition 0."""
    return newest(m.DeleteRecordsRequest((m.DeleteRecordsTopic(topic, (m.DeleteRecordsPartition(0, offset),)),), 30_000))


def create(*topics: m.CreatableTopic, timeout_ms: int = 30_000) -> Step:
    """CreateTopics."""
    return newest(m.CreateTopicsRequest(topics, timeout_ms))


def alter(kind: int, name: str, *changes: tuple[str, int, str | None]) -> Step:
    """IncrementalAlterConfigs of one resource."""
    operations = tuple(m.IncrementalAlterConfigsRequestAlterableConfig(*one) for one in changes)
    resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(kind, name, operations)
    return newest(m.IncrementalAlterConfigsRequest((resource,)))


def describe(*resources: tuple[int, str, tuple[str, ...] | None]) -> Step:
    """DescribeConfigs, with synonyms."""
    return newest(m.DescribeConfigsRequest(tuple(m.DescribeConfigsResource(*one) for one in resources), True))


# Fetching

case("a new session keeps the order of its request", "LOG-SESSION-9", topics={"a": {}, "b": {}})(
    (produce("a"), {OK}),
    (produce("b"), {OK}),
    (begin(("a", 0, 0), ("b", 0, 0), max_bytes=1), {OK}),
    (go_on(max_bytes=1), {OK}),
    (go_on(max_bytes=1), {OK}),
)
case("what there is comes before what there is not, in a new session", "LOG-SESSION-9", topics={"a": {}, "b": {}})(
    (produce("a"), {OK}),
    (produce("b"), {OK}),
    (begin(("a", 7, 0), ("b", 0, 0), ("a", 0, 0), max_bytes=1), {OK, "UNKNOWN_TOPIC_OR_PARTITION"}),
    (go_on(max_bytes=1), {OK, "UNKNOWN_TOPIC_OR_PARTITION"}),
)
case("the end of a divergence is no news", "LOG-SESSION-6", "LOG-FETCH-6")(
    (produce("a"), {OK}),
    (begin(("a", 0, 1)), {OK}),
    (go_on(("a", 0, 5), last_fetched_epoch=0), {OK}),
    (go_on(("a", 0, 1)), {OK}),
    (go_on(("a", 0, 9)), {OK, "OFFSET_OUT_OF_RANGE"}),
    (go_on(("a", 0, 1)), {OK}),
)
case("a session that ends answers what it is asked", "LOG-SESSION-10", "LOG-SESSION-11")(
    (begin(("a", 0, 0)), {OK}),
    (go_on(("a", 0, 0), forget=(("a", 0),)), {OK}),
    (go_on(), {"FETCH_SESSION_ID_NOT_FOUND"}),
)
case("a topic made anew is told from one that is gone", "LOG-SESSION-7", "LOG-FETCH-4")(
    (create(m.CreatableTopic("later", 2, 1)), {OK}),
    (begin(("later", 0, 0), ("later", 1, 0)), {OK}),
    (newest(m.DeleteTopicsRequest((m.DeleteTopicState("later"),), (), 30_000)), {OK}),
    (go_on(), {OK, "UNKNOWN_TOPIC_OR_PARTITION"}),
    (create(m.CreatableTopic("later", 1, 1)), {OK}),
    (go_on(isolation_level=1), {OK, "INCONSISTENT_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"}),
)
case("an unknown partition is no reason to answer", "LOG-FETCH-1", "LOG-FETCH-4", "LOG-FETCH-9")(
    (beside(produce("a"), fetch(("a", 7, 0), ("nowhere", 0, 0), ("a", 0, 0))), {OK, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID", "woken"}),
    (beside(produce("a"), fetch(("a", 7, 0), ("a", 0, 1)), min_bytes=1000), {OK, "still waiting"}),
    (fetch(("a", 7, 0), max_wait_ms=60_000, min_bytes=1), {OK, "UNKNOWN_TOPIC_OR_PARTITION"}),
)
case("a negative limit is refused where there is something to read", "LOG-READ-12", "LOG-FETCH-3", topics={"a": {}, "b": {}})(
    (produce("a"), {OK}),
    (produce("b"), {OK}),
    (fetch(("a", 0, 0), part_bytes=-1), {OK, "INVALID_REQUEST"}),
    (fetch(("a", 0, 1), part_bytes=-1), {OK}),
    (fetch(("a", 0, 2), part_bytes=-1), {OK, "OFFSET_OUT_OF_RANGE"}),
    (fetch(("a", 0, 0), ("b", 0, 0), max_bytes=-1), {OK, "INVALID_REQUEST"}),
)
case("a list of aborted transactions stands for what could be read", "LOG-READ-8", "LOG-FETCH-7", topics={"a": {}, "b": {}})(
    (produce("a", Batch(repeat=3)), {OK}),
    (produce("b", Batch(repeat=3)), {OK}),
    (fetch(("a", 0, 0), ("b", 0, 0), isolation_level=1, max_bytes=100), {OK}),
    (fetch(("a", 0, 0), isolation_level=1, replica_state=m.ReplicaState(-3)), {OK}),
    (fetch(("a", 0, 9), last_fetched_epoch=0, isolation_level=1), {OK}),
)
case("who is no replica is sent to the leader", "LOG-FETCH-10")(
    (fetch(("a", 0, 0), replica_state=m.ReplicaState(5)), {OK, "NOT_LEADER_OR_FOLLOWER"}),
)
case("an isolation level that there is not spoils a request as it was asked", "LOG-READ-10", "LOG-TIME-8")(
    (changed(fetch(("a", 0, 0), ("a", 0, 0), isolation_level=2), api_version=12), {"INVALID_REQUEST"}),
    (look_up("a", -1, -1, isolation=2), {"INVALID_REQUEST"}),
    (look_up("absent", -1, isolation=2), {"INVALID_REQUEST"}),
)
case("an epoch below all that are known ended where the first of them began", "LOG-EPOCH-1")(
    (produce("a"), {OK}),
    *(
        (newest(m.OffsetForLeaderEpochRequest(-1, (m.OffsetForLeaderTopic("a", (m.OffsetForLeaderPartition(0, -1, epoch),)),))), {OK})
        for epoch in (-1, -2, 0, 1)
    ),
)

# Producing

REBUILT = {"a": {"compression.type": "gzip"}, "b": {}}
case("what no client could have made is not made anew", "LOG-BATCH-26", topics=REBUILT)(
    *((produce("a", odd), {"INVALID_RECORD"}) for odd in (Batch((Record(-2),)), Batch(producer=0, epoch=-1), Batch(producer=-7, epoch=-1))),
    (produce("a", Batch(fault="transactional bit"), transactional_id="t"), {"INVALID_RECORD"}),
    *((produce("a", sound), {OK}) for sound in (Batch((Record(-1),)), Batch(producer=-7), Batch((Record(-2),), fault="append time bit, late"))),
    *((produce("b", odd), {OK}) for odd in (Batch((Record(-2),)), Batch(producer=0, epoch=-1), Batch(producer=-7, epoch=-1))),
    (fetch(("a", 0, 0)), {OK}),
    (fetch(("b", 0, 0)), {OK}),
    *((look_up("b", at), {OK}) for at in (-3, 0, -2, Ago(10_000))),
)
case("attributes that nobody knows go where the header's time is set", "LOG-BATCH-23", topics={"a": {"message.timestamp.type": "LogAppendTime"}, "b": {}})(
    *(
        (produce(topic, Batch(fault=fault)), {OK})
        for topic in ("a", "b")
        for fault in ("attributes of the second byte", "unused bits", "delete horizon bit")
    ),
    (fetch(("a", 0, 0)), {OK}),
    (fetch(("b", 0, 0)), {OK}),
)
case("a header that is cut short has a codec all the same", "LOG-BATCH-6", "LOG-BATCH-9")(
    (changed(produce("a", Batch(codec=4, fault="header only")), api_version=3), {"UNSUPPORTED_COMPRESSION_TYPE"}),
    (produce("a", Batch(codec=4, fault="header only")), {"CORRUPT_MESSAGE"}),
)
case("sequences wrap, and five batches are remembered", "IDEM-SEQ-3", "IDEM-SEQ-4", "IDEM-DUP-1")(
    *((produce("a", Batch(producer=0, sequence=sequence % 2**31)), {OK}) for sequence in range(2**31 - 3, 2**31 + 3)),
    (produce("a", Batch(producer=0, sequence=2**31 - 2)), {OK}),
    (produce("a", Batch(producer=0, sequence=2**31 - 3)), {"OUT_OF_ORDER_SEQUENCE_NUMBER"}),
    (look_up("a", -1), {OK}),
)

# Topics

DRAFT = m.CreatableTopic("later", 1, 1)
case("there is no time to be short of where there is nothing to do", "WIRE-TOPIC-14", "WIRE-TOPIC-3", "WIRE-TOPIC-4", "WIRE-TOPIC-22", "WIRE-TOPIC-23", "WIRE-TOPIC-30")(
    (create(DRAFT, DRAFT, timeout_ms=0), {"INVALID_REQUEST"}),
    (create(m.CreatableTopic("__cluster_metadata", 1, 1), timeout_ms=0), {"INVALID_REQUEST"}),
    (create(DRAFT, DRAFT, m.CreatableTopic("other", 1, 1), timeout_ms=0), {"REQUEST_TIMED_OUT"}),
    (newest(m.CreatePartitionsRequest((m.CreatePartitionsTopic("a", 3, None),) * 2, 0)), {"INVALID_REQUEST"}),
    (newest(m.DeleteTopicsRequest((m.DeleteTopicState("a"),) * 2, (), 0)), {"INVALID_REQUEST"}),
    (newest(m.DeleteTopicsRequest((m.DeleteTopicState("a", identified("a")),), (), 0)), {"INVALID_REQUEST"}),
    (newest(m.DeleteTopicsRequest((m.DeleteTopicState("a"),), (), 0)), {"REQUEST_TIMED_OUT"}),
)
case("what the cluster set is shown as it was written", "WIRE-TOPIC-17", "WIRE-CONFIG-9")(
    (alter(Resource.BROKER, "", ("log.preallocate", Operation.SET, " false ")), {OK}),
    (create(changed(DRAFT, configs=(m.CreatableTopicConfig("cleanup.policy", " compact , delete "),))), {OK}),
    (describe((Resource.TOPIC, "later", ("preallocate", "cleanup.policy"))), {OK}),
)

# Groups

UNNAMED = (m.OffsetCommitRequestTopic("", ZERO_UUID, (m.OffsetCommitRequestPartition(0, 1),)),)
case("a topic without a name is no topic without an id", "GROUP-COMMIT-4", "GROUP-COMMIT-7")(
    (changed(newest(m.OffsetCommitRequest("nobody's", topics=UNNAMED)), api_version=9), {"UNKNOWN_TOPIC_OR_PARTITION"}),
    (newest(m.OffsetCommitRequest("nobody's", topics=UNNAMED)), {"UNKNOWN_TOPIC_ID"}),
)

# Configurations

case("one resource of an unknown type spoils a description", "WIRE-CONFIG-10", "WIRE-CONFIG-17")(
    (describe((Resource.TOPIC, "a", None), (3, "a", None)), {"INVALID_REQUEST"}),
    (describe((Resource.TOPIC, "a", None), (Resource.BROKER, "2", None)), {OK, "INVALID_REQUEST"}),
)
case("the operation is judged before an empty name", "WIRE-CONFIG-11", "WIRE-CONFIG-23", "WIRE-CONFIG-26", "WIRE-CONFIG-34")(
    *(
        (alter(kind, "", ("retention.ms", operation, "1")), {error})
        for kind in (Resource.TOPIC, Resource.CLIENT_METRICS, Resource.GROUP)
        for operation, error in ((Operation.SET, "INVALID_REQUEST"), (Operation.SUBTRACT, "INVALID_CONFIG"), (9, "INVALID_REQUEST"))
    ),
)
case("lists are changed as they are written", "WIRE-CONFIG-31")(
    *(
        step
        for operation, text in (
            (Operation.APPEND, "compact"), (Operation.SUBTRACT, " delete , compact "), (Operation.SUBTRACT, "delete,compact"),
            (Operation.APPEND, ""), (Operation.APPEND, " compact , delete ,compact"),
        )
        for step in (
            (alter(Resource.TOPIC, "a", ("cleanup.policy", operation, text)), {OK}),
            (describe((Resource.TOPIC, "a", ("cleanup.policy",))), {OK}),
        )
    ),
    (alter(Resource.TOPIC, "a", ("cleanup.policy", Operation.APPEND, "")), {"INVALID_CONFIG"}),
    (alter(Resource.TOPIC, "a", ("leader.replication.throttled.replicas", Operation.SET, "0:1,,0:1")), {OK}),
    (describe((Resource.TOPIC, "a", ("leader.replication.throttled.replicas",))), {OK}),
)  # fmt: skip
case("a setting in ms has one in another unit behind it", "WIRE-CONFIG-2")(
    (alter(Resource.BROKER, "1", ("log.retention.ms", Operation.SET, "700000000"), ("log.roll.jitter.ms", Operation.SET, "5")), {OK}),
    (describe((Resource.TOPIC, "a", None), (Resource.BROKER, "1", ("log.retention.ms", "log.roll.jitter.ms"))), {OK}),
)


# Asking


def told(pair: Pair, step: Step) -> set[str]:
    """What a step came to, in the words of a case."""
    before = pair.reached.copy()
    assert not (found := pair.ask(step)), found
    words = {"closed", "nothing", "woken", "still waiting"}
    return {what.removeprefix("error ") for what in pair.reached - before if what.startswith("error ") or what in words}


def play(one: Case, theirs: Patient) -> None:
    """Ask the model and another, who must agree, and hear from the model what the case says."""
    pair = Pair(Models(), theirs, World(one.topics), is_strict=isinstance(theirs, Models))
    for number, (step, expected) in enumerate(one.story, 1):
        assert told(pair, step) == expected, f"{number}. {step}"
    assert not pair.has_parted


#: The cases, each under its name and with its rules.
PARAMS = [pytest.param(one, id=one.name, marks=pytest.mark.rule(*one.rules)) for one in CASES]


@pytest.mark.parametrize("one", PARAMS)
def test_the_model_answers_as_the_case_says(one: Case) -> None:
    play(one, Models(seed=2))


@pytest.mark.parametrize("one", PARAMS)
def test_apache_kafka_answers_as_the_case_says(one: Case, kafka: Kafka) -> None:
    theirs = ApacheKafka(kafka.host, kafka.port)
    play(one, theirs)
    theirs.close()


def test_cases_say_error_codes_by_name() -> None:
    names = {error.name for error in Error} | {"closed", "nothing", "woken", "still waiting"}
    assert all(expected <= names for one in CASES for _, expected in one.story)
    assert len({one.name for one in CASES}) == len(CASES)
