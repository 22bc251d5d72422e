"""Topics: what they can be called, how they are created, grow and go, and which error wins where several apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from samples import Bench, alter_request, batch, falls_through

from fiducial.models import topics
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error
from fiducial.models.events import Forget, Persist
from fiducial.models.messages import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicResult,
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
    CreateTopicsRequest,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from fiducial.models.rules import Ladder
from fiducial.models.values import ZERO_UUID

NO_ID = b"x" * 16

# Topics


@pytest.mark.rule("WIRE-TOPIC-1")
def test_topics_are_what_their_records_say() -> None:
    bench, replayed = Bench(), topics.Topics()
    steps: tuple[tuple[Any, int], ...] = (
        (create(topic("a", 2, retention_ms="5000"), topic("b"), topic("c")), 7),
        (grow(("a", 3)), 3),
        (alter_request(2, "a", ("retention.ms", 1, None), ("segment.ms", 0, "9")), 1),
        (alter_request(4, "", ("log.retention.ms", 0, "7")), 1),
        (alter_request(4, "1", ("log.retention.ms", 0, "8"), ("log.segment.bytes", 0, "2000000")), 1),
        (alter_request(4, "1", ("log.retention.ms", 1, None)), 1),
        (delete("b"), 6),
    )
    for request, version in steps:
        bench.ask(request, version)
        for effect in bench.effects:
            if isinstance(effect, Persist):
                replayed = topics.evolve(replayed, effect.record)
    assert replayed == bench.broker.topics
    assert {name: (one.partitions, dict(one.overrides)) for name, one in replayed.by_name.items()} == {
        "a": (3, {"segment.ms": "9"}),
        "c": (1, {}),
    }
    assert dict(replayed.by_id) == {one.topic_id: name for name, one in replayed.by_name.items()}
    assert {name: dict(texts) for name, texts in replayed.broker_configs.items()} == {
        "": {"log.retention.ms": "7"},
        "1": {"log.segment.bytes": "2000000"},
    }


@pytest.mark.rule("WIRE-TOPIC-2", "WIRE-TOPIC-5")
def test_names() -> None:
    valid = ("a", "A.b_c-9", "a" * 249, "...", "_", "-")
    invalid = ("", ".", "..", "a" * 250, "a/b", "a b", "é", "a\n")
    assert errors(Bench(), *(topic(name) for name in valid)) == [(name, Error.NONE) for name in valid]
    assert errors(Bench(), *(topic(name) for name in invalid)) == [(name, Error.INVALID_TOPIC_EXCEPTION) for name in invalid]


@pytest.mark.rule("WIRE-TOPIC-40")
def test_a_topic_made_anew_is_another_topic() -> None:
    bench = Bench("a")
    bench.produce("a", batch(5))
    old = bench.id_of("a")
    bench.ask(delete("a"), 6)
    bench.create("a")
    assert bench.id_of("a") not in (old, ZERO_UUID)
    assert {(topic_id[6] >> 4, topic_id[8] >> 6) for topic_id in (old, bench.id_of("a"))} == {(4, 0b10)}
    assert (bench.partition("a").log.end, bench.partition("a").leader_epoch) == (0, 0)


@pytest.mark.rule("WIRE-TOPIC-41")
def test_internal_topics_are_known_by_name() -> None:
    names = ("__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata", "a", "__a")
    assert [name for name in names if topics.is_internal(name)] == list(names[:3])


@pytest.mark.rule("WIRE-TOPIC-42")
def test_a_request_that_only_validates_changes_nothing() -> None:
    bench = Bench("a")
    before = bench.broker
    first, taken = created(bench, topic("b", 2), topic("a"), validate_only=True)
    second, _ = created(bench, topic("b", 2), topic("a"), validate_only=True)
    assert (first.error_code, first.num_partitions, taken.error_code) == (0, 2, Error.TOPIC_ALREADY_EXISTS)
    assert len({first.topic_id, second.topic_id, ZERO_UUID}) == 3
    assert bench.ask(grow(("a", 5), validate_only=True), 3).results == (CreatePartitionsTopicResult("a", 0, None),)
    assert (bench.broker.topics, bench.broker.partitions) == (before.topics, before.partitions)
    assert not any(isinstance(effect, Persist) for effect in bench.effects)


@pytest.mark.rule("WIRE-TOPIC-43")
def test_what_is_answered_is_there() -> None:
    bench = Bench("a", "b", partitions=2)
    bench.produce("a", batch(3), index=1)
    here = bench.partition("a", 1)
    bench.ask(grow(("a", 5)), 3)
    assert bench.partition("a", 1) == here
    for index in range(5):
        bench.produce("a", batch(), index=index)
    gone = bench.id_of("a")
    bench.ask(delete("a"), 6)
    assert Forget(gone) in bench.effects
    assert set(bench.broker.partitions) == {(bench.id_of("b"), 0), (bench.id_of("b"), 1)}


# Creating


def topic(
    name: str = "new", partitions: int = 1, factor: int = 1, placed: Sequence[tuple[int, tuple[int, ...]]] = (), **config: str | None
) -> CreatableTopic:
    """A topic to create; configuration names with _ for dots, `placed` as (partition, brokers)."""
    return CreatableTopic(
        name,
        partitions,
        factor,
        tuple(CreatableReplicaAssignment(index, brokers) for index, brokers in placed),
        tuple(CreatableTopicConfig(key.replace("_", "."), text) for key, text in config.items()),
    )


def create(*wanted: CreatableTopic, timeout_ms: int = 1000, validate_only: bool = False) -> CreateTopicsRequest:
    return CreateTopicsRequest(wanted, timeout_ms, validate_only)


def created(bench: Bench, *wanted: CreatableTopic, **how: Any) -> tuple[CreatableTopicResult, ...]:
    results: tuple[CreatableTopicResult, ...] = bench.ask(create(*wanted, **how), 7).topics
    return results


def errors(bench: Bench, *wanted: CreatableTopic, **how: Any) -> list[tuple[str, int]]:
    return [(result.name, result.error_code) for result in created(bench, *wanted, **how)]


BAD_PLACE = ((0, (9,)),)
CREATION = {
    "WIRE-TOPIC-3": Error.INVALID_REQUEST,
    "WIRE-TOPIC-4": Error.INVALID_REQUEST,
    "WIRE-TOPIC-5": Error.INVALID_TOPIC_EXCEPTION,
    "WIRE-TOPIC-6": Error.TOPIC_ALREADY_EXISTS,
    "WIRE-TOPIC-7": Error.INVALID_TOPIC_EXCEPTION,
    "WIRE-TOPIC-8": Error.INVALID_CONFIG,
    "WIRE-TOPIC-9": Error.INVALID_REQUEST,
    "WIRE-TOPIC-10": Error.INVALID_REPLICA_ASSIGNMENT,
    "WIRE-TOPIC-11": Error.INVALID_REPLICATION_FACTOR,
    "WIRE-TOPIC-12": Error.INVALID_PARTITIONS,
    "WIRE-TOPIC-13": Error.INVALID_REPLICATION_FACTOR,
    "WIRE-TOPIC-19": Error.INVALID_TOPIC_EXCEPTION,
}


@pytest.mark.rule("WIRE-TOPIC-3", "WIRE-TOPIC-4", "WIRE-TOPIC-5", "WIRE-TOPIC-6", "WIRE-TOPIC-7", "WIRE-TOPIC-8")
@pytest.mark.rule("WIRE-TOPIC-9", "WIRE-TOPIC-10", "WIRE-TOPIC-11", "WIRE-TOPIC-12", "WIRE-TOPIC-13", "WIRE-TOPIC-19")
@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ((topic("__cluster_metadata", 0, 0),) * 2, (3, 4, 11, 12)),
        ((topic("bad/name", 1, -1, BAD_PLACE, retention_ms="x"),) * 2, (3, 5, 8, 9, 10)),
        ((topic("__cluster_metadata", -1, -1, BAD_PLACE, retention_ms="x"),), (4, 8, 10)),
        ((topic("there", 0, 0, retention_ms="x"),), (6, 7, 8, 11, 12)),
        ((topic("a.b", -1, 1, BAD_PLACE, retention_ms="x"),), (7, 8, 9, 10)),
        ((topic("x.y"), topic("x_y", 0, 2, retention_ms="x")), (8, 12, 13, 19)),
        ((topic("x.y"), topic("x_y", 1, -1, BAD_PLACE)), (9, 10, 19)),
    ],
)
def test_a_fault_wins_over_those_below_it(wanted: tuple[CreatableTopic, ...], numbers: tuple[int, ...]) -> None:
    bench = Bench("there", "a_b")

    def refusal() -> tuple[tuple[str, ...], int]:
        rules = bench.refused(create(*wanted, validate_only=True), 7)
        return rules, created(bench, *wanted, validate_only=True)[-1].error_code

    rules = [f"WIRE-TOPIC-{number}" for number in numbers]
    falls_through(refusal, *((rule, CREATION[rule]) for rule in rules))


@pytest.mark.rule("WIRE-TOPIC-3", "WIRE-TOPIC-6")
def test_each_topic_is_judged_alone() -> None:
    bench = Bench("there")
    assert errors(bench, topic("there"), topic("a"), topic("b"), topic("a")) == [
        ("there", Error.TOPIC_ALREADY_EXISTS),
        ("a", Error.INVALID_REQUEST),
        ("b", Error.NONE),
    ]
    assert set(bench.broker.topics.by_name) == {"there", "b"}


@pytest.mark.rule("WIRE-TOPIC-19")
def test_of_two_names_too_much_alike_the_first_that_can_be_is_created() -> None:
    bench = Bench()
    assert errors(bench, topic("a.b", 0), topic("a_b"), topic("a.b.c"), topic("a_b.c")) == [
        ("a.b", Error.INVALID_PARTITIONS),
        ("a_b", Error.NONE),
        ("a.b.c", Error.NONE),
        ("a_b.c", Error.INVALID_TOPIC_EXCEPTION),
    ]


@pytest.mark.rule("WIRE-TOPIC-8")
@pytest.mark.parametrize(
    ("texts", "error"),
    [
        ([("retention.ms", "x"), ("retention.ms", "5")], Error.NONE),
        ([("retention.ms", "5"), ("retention.ms", "x")], Error.INVALID_CONFIG),
        ([("retention.ms", None), ("retention.ms", "5")], Error.INVALID_CONFIG),
        ([("no.such.config", "5")], Error.INVALID_CONFIG),
    ],
)
def test_of_a_configuration_given_twice_the_last_value_counts(texts: list[tuple[str, str | None]], error: Error) -> None:
    bench = Bench()
    configs = tuple(CreatableTopicConfig(*entry) for entry in texts)
    assert errors(bench, CreatableTopic("a", 1, 1, configs=configs)) == [("a", error)]
    if error == Error.NONE:
        assert dict(bench.broker.topics.by_name["a"].overrides) == {"retention.ms": "5"}


@pytest.mark.rule("WIRE-TOPIC-8")
def test_what_sets_nothing_is_created_though_the_brokers_settings_are_at_odds() -> None:
    bench = Bench(settings={"log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "5"})
    assert errors(bench, topic("a"), topic("b", retention_ms="5"), topic("c", max_compaction_lag_ms="10")) == [
        ("a", Error.NONE),
        ("b", Error.INVALID_CONFIG),
        ("c", Error.NONE),
    ]


@pytest.mark.rule("WIRE-TOPIC-9", "WIRE-TOPIC-10", "WIRE-TOPIC-16")
@pytest.mark.parametrize(
    ("placed", "error"),
    [
        (((0, (1,)),), Error.NONE),
        (((1, (1,)), (0, (1,))), Error.NONE),
        (((1, (1,)), (2, (1,))), Error.INVALID_REPLICA_ASSIGNMENT),
        (((0, (1,)), (0, (1,))), Error.INVALID_REPLICA_ASSIGNMENT),
        (((0, ()),), Error.INVALID_REPLICA_ASSIGNMENT),
        (((0, (1, 1)),), Error.INVALID_REPLICA_ASSIGNMENT),
        (((0, (1,)), (1, (2,))), Error.INVALID_REPLICA_ASSIGNMENT),
        (((0, (-1,)),), Error.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_assignments_by_hand(placed: Sequence[tuple[int, tuple[int, ...]]], error: Error) -> None:
    (result,) = created(Bench(), topic("a", -1, -1, placed))
    assert (result.error_code, result.num_partitions) == (error, -1 if error else len(placed))
    for counts in ((-1, 1), (len(placed), -1), (0, -1), (-1, 0), (-1, 2)):
        assert errors(Bench(), topic("a", *counts, placed)) == [("a", Error.INVALID_REQUEST)]


@pytest.mark.rule("WIRE-TOPIC-11", "WIRE-TOPIC-12", "WIRE-TOPIC-13")
@pytest.mark.parametrize(
    ("partitions", "factor", "error"),
    [
        (1, -1, Error.NONE),
        (1, 0, Error.INVALID_REPLICATION_FACTOR),
        (1, -2, Error.INVALID_REPLICATION_FACTOR),
        (1, 2, Error.INVALID_REPLICATION_FACTOR),
        (-1, 1, Error.NONE),
        (0, 1, Error.INVALID_PARTITIONS),
        (-2, 1, Error.INVALID_PARTITIONS),
    ],
)
def test_counts(partitions: int, factor: int, error: Error) -> None:
    assert errors(Bench(), topic("a", partitions, factor)) == [("a", error)]


@pytest.mark.rule("WIRE-TOPIC-13")
def test_an_assignment_by_hand_wins_over_the_brokers_replication_factor() -> None:
    bench = Bench(settings={"default.replication.factor": "2"})
    assert errors(bench, topic("a", -1, -1, ((0, (1,)),))) == [("a", Error.NONE)]


@pytest.mark.rule("WIRE-TOPIC-13", "WIRE-TOPIC-16")
@pytest.mark.parametrize("version", range(2, 8))
def test_counts_that_are_not_given_are_the_brokers(version: int) -> None:
    bench = Bench(settings={"num.partitions": "3", "default.replication.factor": "2"})
    results = bench.ask(create(topic("a", -1, 1), topic("b", 2, 1), topic("c", 1, -1)), version).topics
    assert [result.error_code for result in results] == [0, 0, Error.INVALID_REPLICATION_FACTOR]
    assert {name: one.partitions for name, one in bench.broker.topics.by_name.items()} == {"a": 3, "b": 2}


@pytest.mark.rule("WIRE-TOPIC-14")
@pytest.mark.parametrize("timeout_ms", [0, -1])
def test_nothing_is_done_for_who_does_not_wait(timeout_ms: int) -> None:
    bench = Bench("a")
    before = bench.broker
    late = Error.REQUEST_TIMED_OUT
    wanted = (topic("b"), topic("b"), topic("a/b"), topic("c", 10_001))
    assert errors(bench, *wanted, timeout_ms=timeout_ms) == [("b", late), ("b", late), ("a/b", late), ("c", late)]
    assert bench.refused(create(*wanted, timeout_ms=timeout_ms), 7) == ("WIRE-TOPIC-14",) * 4
    growing = grow(("a", 2), ("a", 2), ("b", 2), timeout_ms=timeout_ms)
    assert bench.ask(growing, 3).results == tuple(CreatePartitionsTopicResult(name, late, None) for name in ("a", "a", "b"))
    assert bench.refused(growing, 3) == ("WIRE-TOPIC-14",) * 3
    assert bench.refused(create(topic("x"), topic("x"), timeout_ms=timeout_ms), 7) == ("WIRE-TOPIC-3",)
    assert bench.refused(create(topic("__cluster_metadata"), timeout_ms=timeout_ms), 7) == ("WIRE-TOPIC-4",)
    assert bench.refused(grow(("a", 2), ("a", 3), timeout_ms=timeout_ms), 3) == ("WIRE-TOPIC-30",)
    assert bench.refused(delete("a", "a", timeout_ms=timeout_ms), 6) == ("WIRE-TOPIC-23",)
    assert bench.refused(delete(("a", NO_ID), timeout_ms=timeout_ms), 6) == ("WIRE-TOPIC-22",)
    gone = bench.ask(delete("a", NO_ID, "a", timeout_ms=timeout_ms), 6).responses
    assert gone == tuple(DeletableTopicResult(name, topic_id, late, None) for name, topic_id in (("a", ZERO_UUID), (None, NO_ID), ("a", ZERO_UUID)))
    assert bench.broker == before
    assert errors(bench, topic("b"), timeout_ms=1) == [("b", Error.NONE)]


@pytest.mark.rule("WIRE-TOPIC-15")
@pytest.mark.parametrize(
    ("wanted", "is_too_much"),
    [
        ([topic("a", 9_999)], False),
        ([topic("a", 10_000)], True),
        ([topic("a", 9_998, retention_ms="5")], False),
        ([topic("a", 9_999, retention_ms="5")], True),
        ([topic("a", 5_000), topic("b", 4_998)], False),
        ([topic("a", 5_000), topic("b", 4_999)], True),
        ([topic("a", 9_998), topic("b", -1, -1, ((0, (1,)),))], True),
        ([topic("a", 9_996), topic("b", -1)], True),
        ([topic("a", 9_995), topic("b", -1)], False),
        ([topic("a", 9_998), topic("a/b", 2)], False),
        ([topic("a", 9_998), topic("a/b", 3)], True),
        ([topic("a", 10_001), topic("b", -5)], True),
        ([topic("a", 9_998), topic("b", 10_001), topic("b", 10_001)], False),
        ([topic("a", 9_998), topic("__cluster_metadata", 10_001)], False),
        ([topic("__cluster_metadata", 1), topic("a", 10_000)], True),
    ],
)
def test_a_request_for_too_much_is_refused_as_a_whole(wanted: list[CreatableTopic], is_too_much: bool) -> None:
    bench = Bench(settings={"num.partitions": "3"})
    given = [error for _, error in errors(bench, *wanted, validate_only=True)]
    if is_too_much:
        assert given == [Error.POLICY_VIOLATION] * len(wanted)
    else:
        assert given[0] == Error.NONE and Error.POLICY_VIOLATION not in given


@pytest.mark.rule("WIRE-TOPIC-15", "WIRE-TOPIC-14")
def test_too_much_wins_over_every_fault_of_a_topic_and_loses_to_time() -> None:
    bench = Bench("there")
    wanted = (topic("n", 10_001), topic("a"), topic("a"), topic("there"), topic("a/b", 0, 0, retention_ms="x"))
    assert {error for _, error in errors(bench, *wanted)} == {Error.POLICY_VIOLATION}
    assert len(errors(bench, *wanted)) == len(wanted)
    assert {error for _, error in errors(bench, *wanted, timeout_ms=0)} == {Error.REQUEST_TIMED_OUT}
    assert set(bench.broker.topics.by_name) == {"there"}


@pytest.mark.rule("WIRE-TOPIC-17")
def test_the_answer_shows_what_was_created() -> None:
    bench = Bench(settings={"log.segment.bytes": "2000000"})
    (result,) = created(bench, topic("a", 2, -1, cleanup_policy=" compact , delete ", preallocate="TRUE"))
    assert (result.topic_id, result.error_code, result.error_message) == (bench.id_of("a"), 0, None)
    assert (result.num_partitions, result.replication_factor, result.topic_config_error_code) == (2, 1, 0)
    assert result.configs is not None
    names = [config.name for config in result.configs]
    assert len(names) == 33 and names == sorted(names)
    shown = {config.name: (config.value, config.config_source) for config in result.configs}
    assert shown["cleanup.policy"] == (" compact , delete ", 1) and shown["preallocate"] == ("TRUE", 1)
    assert shown["segment.bytes"] == ("2000000", 4) and shown["retention.ms"] == ("604800000", 5)
    assert not any(config.read_only or config.is_sensitive for config in result.configs)
    bench.ask(alter_request(Resource.BROKER, "", ("log.preallocate", Operation.SET, " TRUE")), 1)
    (by_the_cluster,) = created(bench, topic("b"))
    assert [config.value for config in by_the_cluster.configs or () if config.name == "preallocate"] == [" TRUE"]
    (in_hours,) = created(Bench(settings={"log.retention.hours": "1"}), topic("c"))
    assert [(one.value, one.config_source) for one in in_hours.configs or () if one.name == "retention.ms"] == [("3600000", 4)]


@pytest.mark.rule("WIRE-TOPIC-18")
def test_the_answer_for_what_is_not_created_shows_nothing() -> None:
    bench = Bench()
    (bad,) = created(bench, topic("a/b", 3))
    (late,) = created(bench, topic("a", 3), timeout_ms=0)
    assert bad.error_message and late.error_message is None
    for result in (bad, late):
        assert (result.topic_id, result.num_partitions, result.replication_factor, result.configs) == (ZERO_UUID, -1, -1, ())


@pytest.mark.rule("WIRE-TOPIC-18")
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (lambda: (topic("a/b"),), "a name has 1 to 249 of the characters"),
        (lambda: (topic("x.y"),), "it exists already"),
        (lambda: (topic("x_y"),), "its name differs from that of 'x.y' only in '.' and '_'"),
        (lambda: (topic("a", retention_ms="abc"),), "retention.ms is of type long, which 'abc' is not"),
        (lambda: (topic("a", segment_bytes="1"),), "segment.bytes accepts 1048576 or more, which '1' is not"),
        (lambda: (topic("a", retention_ms=None),), "retention.ms needs a value"),
        (lambda: (topic("a", nonsense="1"),), "there is no topic configuration 'nonsense'"),
        (lambda: (topic("a", factor=3),), "the replication factor is larger than the number of brokers, which is 1"),
        (lambda: (topic("a", 0),), "the number of partitions is 1 or more"),
        (lambda: (topic("a", 10_001),), "one request makes at most 10000 partitions"),
    ],
)
def test_why_a_topic_is_not_created_is_said_in_words(wanted: Callable[[], tuple[CreatableTopic, ...]], words: str) -> None:
    (result,) = created(Bench("x.y"), *wanted())
    assert (result.error_message or "").startswith(f"cannot create topic {result.name!r}: {words}")


@pytest.mark.parametrize("ladder", [topics.CREATE_CHECK, topics.SIZE_CHECK, topics.DELETE_CHECK, topics.GROW_CHECK], ids=lambda ladder: ladder.name)
def test_every_refusal_has_words(ladder: Ladder) -> None:
    told_apart = {"WIRE-TOPIC-7", "WIRE-TOPIC-8", "WIRE-TOPIC-31", "WIRE-TOPIC-32"}  # in which the words depend on more, or there are none
    assert {rung.rule for rung in ladder.rungs} <= {*topics.WHY_NOT, *told_apart}


# Deleting


def delete(*wanted: str | bytes | tuple[str | None, bytes], timeout_ms: int = 1000) -> DeleteTopicsRequest:
    """A request for these names, ids, and pairs of both."""

    def state(one: str | bytes | tuple[str | None, bytes]) -> DeleteTopicState:
        if isinstance(one, tuple):
            return DeleteTopicState(*one)
        return DeleteTopicState(one) if isinstance(one, str) else DeleteTopicState(None, one)

    return DeleteTopicsRequest(tuple(state(one) for one in wanted), (), timeout_ms)


def deleted(bench: Bench, *wanted: str | bytes | tuple[str | None, bytes]) -> list[tuple[str | None, bytes, int]]:
    """Name, id and error of each answer; messages come with errors."""
    results = bench.ask(delete(*wanted), 6).responses
    assert all(bool(result.error_message) == bool(result.error_code) for result in results)
    return [(result.name, result.topic_id, result.error_code) for result in results]


@pytest.mark.rule("WIRE-TOPIC-27")
def test_topics_are_deleted_by_name_and_by_id() -> None:
    bench = Bench("a", "b", "__consumer_offsets")
    a, b, internal = (bench.id_of(name) for name in ("a", "b", "__consumer_offsets"))
    assert deleted(bench, "a", b, "__consumer_offsets") == [("a", a, 0), ("b", b, 0), ("__consumer_offsets", internal, 0)]
    assert not bench.broker.topics.by_name and not bench.broker.partitions


@pytest.mark.rule("WIRE-TOPIC-24", "WIRE-TOPIC-25", "WIRE-TOPIC-27")
def test_what_is_unknown_is_not_deleted() -> None:
    bench = Bench("a")
    unknown = Error.UNKNOWN_TOPIC_OR_PARTITION
    assert deleted(bench, "b", "a/b", "", NO_ID) == [
        ("b", ZERO_UUID, unknown),
        ("a/b", ZERO_UUID, unknown),
        ("", ZERO_UUID, unknown),
        (None, NO_ID, Error.UNKNOWN_TOPIC_ID),
    ]
    old = bench.id_of("a")
    deleted(bench, "a")
    bench.create("a")
    assert deleted(bench, old) == [(None, old, Error.UNKNOWN_TOPIC_ID)]


@pytest.mark.rule("WIRE-TOPIC-22", "WIRE-TOPIC-23", "WIRE-TOPIC-26")
def test_topics_are_asked_for_once_by_name_or_by_id() -> None:
    bench, bad = Bench("a", "b"), Error.INVALID_REQUEST
    a, b = bench.id_of("a"), bench.id_of("b")
    before = bench.broker
    both, neither = ("a", a), (None, ZERO_UUID)
    assert deleted(bench, both, both, neither, neither) == [("a", a, bad), ("a", a, bad), (None, ZERO_UUID, bad), (None, ZERO_UUID, bad)]
    assert deleted(bench, "a", "a", b, b) == [("a", ZERO_UUID, bad), (None, b, bad)]
    assert deleted(bench, "a", a, b, "b") == [("a", a, bad), ("b", b, bad)]
    assert deleted(bench, "a", a, a) == [("a", a, bad), (None, a, bad)]
    assert deleted(bench, "a", "a", a, a) == [("a", ZERO_UUID, bad), (None, a, bad)]
    assert bench.broker == before
    assert deleted(bench, "a", "a", a, both) == [("a", ZERO_UUID, bad), ("a", a, 0), ("a", a, bad)]


@pytest.mark.rule("WIRE-TOPIC-23")
@pytest.mark.parametrize("version", range(1, 6))
def test_old_versions_only_name(version: int) -> None:
    bench = Bench("a", "b")
    results = bench.ask(DeleteTopicsRequest((), ("a", "b", "a", "c"), 1000), version).responses
    assert [(result.name, result.error_code) for result in results] == [("a", 42), ("b", 0), ("c", 3)]
    assert set(bench.broker.topics.by_name) == {"a"}


@pytest.mark.rule("WIRE-TOPIC-22", "WIRE-TOPIC-23", "WIRE-TOPIC-24", "WIRE-TOPIC-25", "WIRE-TOPIC-26")
def test_a_fault_of_a_deletion_wins_over_those_below_it() -> None:
    bench = Bench("a")
    for wanted, *expected in (
        ((NO_ID, NO_ID), (23, Error.INVALID_REQUEST), (24, Error.UNKNOWN_TOPIC_ID), (25, Error.UNKNOWN_TOPIC_OR_PARTITION)),
        (("b", "b"), (23, Error.INVALID_REQUEST), (25, Error.UNKNOWN_TOPIC_OR_PARTITION)),
        ((("b", NO_ID),), (22, Error.INVALID_REQUEST), (25, Error.UNKNOWN_TOPIC_OR_PARTITION)),
        (((None, ZERO_UUID),), (22, Error.INVALID_REQUEST), (24, Error.UNKNOWN_TOPIC_ID)),
    ):

        def refusal(asked: Any = wanted) -> tuple[tuple[str, ...], int]:
            return bench.refused(delete(*asked), 6), deleted(bench, *asked)[0][2]

        falls_through(refusal, *((f"WIRE-TOPIC-{number}", error) for number, error in expected))


@pytest.mark.rule("WIRE-TOPIC-20", "WIRE-TOPIC-21")
@pytest.mark.parametrize("version", range(1, 7))
@pytest.mark.parametrize("timeout_ms", [1000, 0])
def test_where_deletion_is_off_each_entry_is_told_so(version: int, timeout_ms: int) -> None:
    bench = Bench("a", settings={"delete.topic.enable": "false"})
    error = Error.TOPIC_DELETION_DISABLED if version >= 3 else Error.INVALID_REQUEST
    names = ("a", "a", "b", "a/b")
    request = delete(*names, timeout_ms=timeout_ms) if version >= 6 else DeleteTopicsRequest((), names, timeout_ms)
    results = bench.ask(request, version).responses
    assert results == tuple(DeletableTopicResult(name, ZERO_UUID, error, None) for name in names)
    assert bench.refused(request, version) == ("WIRE-TOPIC-20" if version >= 3 else "WIRE-TOPIC-21",) * 4
    assert "a" in bench.broker.topics.by_name


# Adding partitions


def grow(
    *wanted: tuple[str, int] | tuple[str, int, Sequence[tuple[int, ...]]], timeout_ms: int = 1000, validate_only: bool = False
) -> CreatePartitionsRequest:
    """A request to grow topics, as (name, count) or (name, count, brokers of each new partition)."""
    asked = []
    for name, count, *places in wanted:
        placed = tuple(CreatePartitionsAssignment(brokers) for brokers in places[0]) if places else None
        asked.append(CreatePartitionsTopic(name, count, placed))
    return CreatePartitionsRequest(tuple(asked), timeout_ms, validate_only)


def growth(bench: Bench, *wanted: Any) -> list[tuple[str, int]]:
    return [(result.name, result.error_code) for result in bench.ask(grow(*wanted), 3).results]


@pytest.mark.rule("WIRE-TOPIC-30", "WIRE-TOPIC-31", "WIRE-TOPIC-32")
def test_topics_only_grow() -> None:
    bench = Bench("a", "b", "c", "__consumer_offsets", partitions=2)
    assert growth(bench, ("a", 3), ("b", 2), ("c", 3), ("q", 3), ("a/b", 3), ("", 3), ("c", 4), ("__consumer_offsets", 3)) == [
        ("a", Error.NONE),
        ("b", Error.INVALID_PARTITIONS),
        ("c", Error.INVALID_REQUEST),
        ("q", Error.UNKNOWN_TOPIC_OR_PARTITION),
        ("a/b", Error.UNKNOWN_TOPIC_OR_PARTITION),
        ("", Error.UNKNOWN_TOPIC_OR_PARTITION),
        ("__consumer_offsets", Error.NONE),
    ]
    for count in (1, 0, -1):
        assert growth(bench, ("b", count)) == [("b", Error.INVALID_PARTITIONS)]
    assert {name: one.partitions for name, one in bench.broker.topics.by_name.items()} == {"a": 3, "b": 2, "c": 2, "__consumer_offsets": 3}


@pytest.mark.rule("WIRE-TOPIC-33")
def test_a_request_adds_no_more_than_10_000_partitions() -> None:
    bench, much = Bench("a", "b", "c"), Error.INVALID_PARTITIONS

    def validated(*wanted: tuple[str, int]) -> list[int]:
        return [result.error_code for result in bench.ask(grow(*wanted, validate_only=True), 3).results]

    assert validated(("a", 10_001)) == [0]
    assert validated(("a", 10_002)) == [much]
    assert validated(("a", 5_001), ("b", 5_001), ("c", 2)) == [0, 0, much]
    assert validated(("a", 10_002), ("b", 2)) == [much, 0]


@pytest.mark.rule("WIRE-TOPIC-34")
@pytest.mark.parametrize(
    ("places", "error"),
    [
        ([(1,), (1,)], Error.NONE),
        ([], Error.INVALID_REPLICA_ASSIGNMENT),
        ([(1,)], Error.INVALID_REPLICA_ASSIGNMENT),
        ([(1,), (1,), (1,)], Error.INVALID_REPLICA_ASSIGNMENT),
        ([(1,), ()], Error.INVALID_REPLICA_ASSIGNMENT),
        ([(1,), (2,)], Error.INVALID_REPLICA_ASSIGNMENT),
        ([(1, 1), (1,)], Error.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_an_assignment_covers_each_new_partition(places: list[tuple[int, ...]], error: Error) -> None:
    assert growth(Bench("a"), ("a", 3, places)) == [("a", error)]


@pytest.mark.rule("WIRE-TOPIC-30", "WIRE-TOPIC-31", "WIRE-TOPIC-32", "WIRE-TOPIC-33", "WIRE-TOPIC-34")
def test_a_fault_of_a_growth_wins_over_those_below_it() -> None:
    bench = Bench("a")
    few, much, place = (32, Error.INVALID_PARTITIONS), (33, Error.INVALID_PARTITIONS), (34, Error.INVALID_REPLICA_ASSIGNMENT)
    for wanted, *expected in (
        ((("a", 1, [(9,)]),) * 2, (30, Error.INVALID_REQUEST), few, place),
        ((("q", 1, [(9,)]),) * 2, (30, Error.INVALID_REQUEST), (31, Error.UNKNOWN_TOPIC_OR_PARTITION)),
        ((("a", 10_002, [(9,)]),), place, much),
    ):

        def refusal(asked: Any = wanted) -> tuple[tuple[str, ...], int]:
            return bench.refused(grow(*asked), 3), growth(bench, *asked)[0][1]

        falls_through(refusal, *((f"WIRE-TOPIC-{number}", error) for number, error in expected))


@pytest.mark.rule("WIRE-TOPIC-35")
def test_the_answer_for_what_does_not_grow_says_why() -> None:
    grown, few, unknown = Bench("a", "b").ask(grow(("a", 2), ("b", 1), ("q", 2)), 3).results
    assert grown == CreatePartitionsTopicResult("a", 0, None)
    assert few.error_message
    assert unknown.error_message is None
