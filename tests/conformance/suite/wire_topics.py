"""Topics: how they are created, grow, and are deleted (WIRE-TOPIC)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, Step, Topic, case, fetch, list_offsets, produce
from fiducial.conformance.suite.wire_requests import (
    NEW,
    TWO_PARTITIONS,
    by_id,
    create,
    delete,
    describe,
    grow,
    identified,
    metadata,
    new,
    of,
    to,
    topics,
)
from fiducial.conformance.symbols import UNKNOWN_ID, Batch, Node, OldIdOf
from fiducial.models import messages as m

SOUND = Batch()
INTERNAL = "__share_group_state"
#: From this version on topics can be deleted, and asked about, by id.
DELETE_BY_ID, METADATA_BY_ID = 6, 12
TOO_LARGE = 32_767
#: No broker's id is by so much larger than that of the broker that is judged.
NO_SUCH_BROKER = 100_000


def creating(id: str, *story: Step, **more: Any) -> Case:
    """A story about CreateTopics, in every version, and what there is in the end."""
    called = [name for name, _ in more.get("topics", NEW)]
    return case(id, *story, metadata(*called), **{"topics": NEW, "sweep": m.CreateTopicsRequest, **more})


def growing(id: str, *story: Step, **more: Any) -> Case:
    """A story about CreatePartitions, in every version, and what there is in the end."""
    called = [name for name, _ in more.get("topics", TWO_PARTITIONS)]
    return case(id, *story, metadata(*called), **{"topics": TWO_PARTITIONS, "sweep": m.CreatePartitionsRequest, **more})


def deleting(id: str, *story: Step, **more: Any) -> Case:
    """A story about DeleteTopics, in every version, and what there is in the end."""
    called = [name for name, _ in more.get("topics", topics(a=Topic()))]
    return case(id, *story, metadata(*called), **{"topics": topics(a=Topic()), "sweep": m.DeleteTopicsRequest, **more})


BAD_NAMES = {
    "empty": "", "dot": ".", "two-dots": "..", "slash": "a/b", "blank": "a b", "colon": "a:b", "not-ascii": "caf\u00e9", "nul": "a\x00b", "line-break": "a\n",
}  # fmt: skip
#: Of each fault that a topic to be created can have, one.
FAULTS: dict[str, dict[str, Any]] = {
    "unknown-configuration": {"no_such_config": "1"},
    "of-another-type": {"retention_ms": "soon"},
    "out-of-range": {"segment_bytes": "14"},
    "null": {"retention_ms": None},
    "null-beside-a-value": {"retention_ms": "1", "retention_bytes": None},
    "lags-at-odds": {"min_compaction_lag_ms": "10", "max_compaction_lag_ms": "5"},
    "no-such-codec": {"compression_type": "none"},
    "a-policy-in-upper-case": {"cleanup_policy": "Delete"},
    "tiered": {"remote_storage_enable": "true"},
}
ASSIGNED: dict[str, dict[int, tuple[Any, ...]]] = {
    "gap": {0: (Node(),), 2: (Node(),)}, "not-from-0": {1: (Node(),)}, "no-broker": {0: ()}, "broker-twice": {0: (Node(), Node())},
    "unknown-broker": {0: (Node(NO_SUCH_BROKER),)}, "negative-broker": {0: (-1,)}, "negative-index": {-1: (Node(),)},
}  # fmt: skip
COUNTS = {"none": 0, "negative": -2, "most-negative": -(2**31)}
FACTORS = {"none": 0, "negative": -2}


def twice(name: str, first: str, last: str) -> m.CreatableTopic:
    """A topic that gives a configuration two values."""
    return m.CreatableTopic(new().name, 1, 1, (), (m.CreatableTopicConfig(name, first), m.CreatableTopicConfig(name, last)))


#: Seven thousand partitions are not too many for one request, but twice as many are.
MANY = 7_000

CREATION = (
    creating("WIRE-TOPIC-2/longest", create(new()), topics=(("a", Topic(partitions=0, characters=249)),)),
    creating("WIRE-TOPIC-2/every-kind-of-character", create(new("aZ09._-")), topics=topics("aZ09._-")),
    creating("WIRE-TOPIC-3/named-twice", create(new(), new("b"), new(partitions=2)), topics=topics("a", "b")),
    creating("WIRE-TOPIC-3/three-times-and-otherwise-wrong", create(*[new(partitions=0)] * 3), also=("WIRE-TOPIC-18",)),
    creating("WIRE-TOPIC-4/by-its-name", create(new("__cluster_metadata"), new()), also=("WIRE-TOPIC-18",)),
    creating("WIRE-TOPIC-5/too-long", create(new()), topics=(("a", Topic(partitions=0, characters=250)),)),
    *(creating(f"WIRE-TOPIC-5/{slug}", create(new(name), new())) for slug, name in BAD_NAMES.items()),
    creating("WIRE-TOPIC-6/exists", create(new()), topics=TWO_PARTITIONS, also=("WIRE-TOPIC-18",)),
    creating("WIRE-TOPIC-6/whatever-else", create(new(partitions=0, factor=0, no_such_config="1")), topics=TWO_PARTITIONS),
    creating("WIRE-TOPIC-7/dot-and-underscore", create(new("x_y.z"), new("b")), topics=topics("x_y.z", "b", **{"x.y_z": Topic()})),
    creating("WIRE-TOPIC-7/before-its-configuration", create(new("x_y", no_such_config="1")), topics=topics("x_y", **{"x.y": Topic()})),
    *(creating(f"WIRE-TOPIC-8/{slug}", create(new(**configs), new("b")), topics=topics("a", "b")) for slug, configs in FAULTS.items()),
    creating("WIRE-TOPIC-8/twice-the-last-is-sound", create(twice("retention.ms", "soon", "77")), describe(of("a", "retention.ms"))),
    creating("WIRE-TOPIC-8/twice-the-last-is-bad", create(twice("retention.ms", "77", "soon"))),
    creating("WIRE-TOPIC-8/before-its-assignment", create(new(assigned=ASSIGNED["gap"], no_such_config="1"))),
    creating("WIRE-TOPIC-9/partitions-too", create(new(partitions=1, factor=-1, assigned={0: (Node(),)}))),
    creating("WIRE-TOPIC-9/factor-too", create(new(partitions=-1, factor=1, assigned={0: (Node(),)}))),
    creating("WIRE-TOPIC-9/whatever-the-assignment", create(new(partitions=0, factor=0, assigned=ASSIGNED["gap"]))),
    *(creating(f"WIRE-TOPIC-10/{slug}", create(new(partitions=-1, factor=-1, assigned=assigned))) for slug, assigned in ASSIGNED.items()),
    creating(
        "WIRE-TOPIC-10/index-twice",
        create(m.CreatableTopic(new().name, -1, -1, (m.CreatableReplicaAssignment(0, (0,)),) * 2)),
    ),
    creating("WIRE-TOPIC-10/in-any-order", create(new(partitions=-1, factor=-1, assigned={1: (Node(),), 0: (Node(),)})), also=("WIRE-TOPIC-16",)),
    *(creating(f"WIRE-TOPIC-11/{slug}", create(new(factor=factor), new("b")), topics=topics("a", "b")) for slug, factor in FACTORS.items()),
    creating("WIRE-TOPIC-11/before-the-partitions", create(new(partitions=0, factor=0))),
    *(creating(f"WIRE-TOPIC-12/{slug}", create(new(partitions=count), new("b")), topics=topics("a", "b")) for slug, count in COUNTS.items()),
    creating("WIRE-TOPIC-12/before-too-many-replicas", create(new(partitions=0, factor=TOO_LARGE))),
    creating("WIRE-TOPIC-13/too-many", create(new(factor=TOO_LARGE), new("b")), topics=topics("a", "b")),
    *(
        creating(f"WIRE-TOPIC-14/create-within-{slug}", create(new(), new("b", partitions=0), timeout_ms=timeout_ms), topics=topics("a", "b"))
        for slug, timeout_ms in {"no-time": 0, "negative-time": -1}.items()
    ),
    creating("WIRE-TOPIC-14/create-what-stands-twice", create(new(), new(), timeout_ms=0)),
    creating("WIRE-TOPIC-15/one-topic", create(new(partitions=10_000), new("b", partitions=0), validate_only=True), topics=topics("a", "b")),
    creating("WIRE-TOPIC-15/two-topics", create(new(partitions=MANY), new("b", partitions=MANY), validate_only=True), topics=topics("a", "b")),
    creating(
        "WIRE-TOPIC-15/whatever-the-fault",
        create(new(partitions=MANY), new("a/b", partitions=MANY), new("b", partitions=1), validate_only=True),
        topics=topics("a", "b"),
    ),
    creating("WIRE-TOPIC-15/what-stands-twice-is-not-counted", create(*[new(partitions=MANY)] * 2, new("b"), validate_only=True), topics=topics("a", "b")),
    creating("WIRE-TOPIC-15/not-too-many", create(new(partitions=9_999), validate_only=True), also=("WIRE-TOPIC-42",)),
    creating("WIRE-TOPIC-16/as-many-as-it-says", create(new(partitions=3))),
    creating("WIRE-TOPIC-16/the-broker-s", create(new(partitions=-1, factor=-1)), needs_one_node=True),
    creating(
        "WIRE-TOPIC-17/as-it-was-sent",
        create(new(cleanup_policy=" compact , delete ", retention_ms=" +077 ", preallocate="TRUE", max_message_bytes="300")),
        describe(of("a", "cleanup.policy", "retention.ms", "preallocate", "max.message.bytes")),
        also=("WIRE-CONFIG-1", "WIRE-CONFIG-9"),
    ),
    creating("WIRE-TOPIC-17/nothing-is-set", create(new(partitions=2))),
    creating("WIRE-TOPIC-19/dot-and-underscore", create(new("x.y"), new("x_y"), new("b")), topics=topics("x.y", "x_y", "b")),
    creating("WIRE-TOPIC-19/the-earlier-is-refused", create(new("x.y", partitions=0), new("x_y")), topics=topics("x.y", "x_y")),
)

DELETION = (
    deleting("WIRE-TOPIC-22/neither", delete(m.DeleteTopicState(None), m.DeleteTopicState(None), "a", version=DELETE_BY_ID), sweep=None),
    deleting("WIRE-TOPIC-22/both", delete(by_id("a", "a"), version=DELETE_BY_ID), sweep=None),
    deleting("WIRE-TOPIC-22/both-and-unknown", delete(by_id(UNKNOWN_ID, "b"), by_id("a"), version=DELETE_BY_ID), topics=topics("b", a=Topic()), sweep=None),
    deleting("WIRE-TOPIC-23/name-twice", delete("a", "b", "a"), topics=topics(a=Topic(), b=Topic())),
    deleting("WIRE-TOPIC-23/id-twice", delete(by_id("a"), by_id("a"), version=DELETE_BY_ID), sweep=None),
    deleting("WIRE-TOPIC-23/unknown-name-twice", delete("b", "b", "a"), topics=topics("b", a=Topic())),
    deleting("WIRE-TOPIC-23/name-twice-and-id-once", delete("a", by_id("a"), "a", version=DELETE_BY_ID), sweep=None),
    deleting("WIRE-TOPIC-24/never-given", delete(by_id(UNKNOWN_ID), by_id("a"), version=DELETE_BY_ID), also=("WIRE-TOPIC-27",), sweep=None),
    deleting("WIRE-TOPIC-24/given-before", delete("a"), delete(by_id(OldIdOf("a")), version=DELETE_BY_ID), sweep=None),
    deleting("WIRE-TOPIC-25/no-topic", delete("b", "a"), topics=topics("b", a=Topic()), also=("WIRE-TOPIC-27",)),
    *(deleting(f"WIRE-TOPIC-25/{slug}", delete(name)) for slug, name in BAD_NAMES.items()),
    deleting("WIRE-TOPIC-26/name-and-id", delete("a", by_id("a"), version=DELETE_BY_ID), sweep=None),
    deleting("WIRE-TOPIC-26/beside-another", delete(by_id("a"), "b", "a", version=DELETE_BY_ID), topics=topics(a=Topic(), b=Topic()), sweep=None),
    deleting("WIRE-TOPIC-27/by-name", delete("a", "b"), topics=topics(a=Topic(), b=Topic()), also=("WIRE-TOPIC-43",)),
    deleting("WIRE-TOPIC-27/by-id", delete(by_id("a"), version=DELETE_BY_ID), produce(SOUND), sweep=None, also=("WIRE-TOPIC-43",)),
    *(
        deleting(f"WIRE-TOPIC-14/delete-within-{slug}", delete("a", "b", timeout_ms=timeout_ms), topics=topics("b", a=Topic()))
        for slug, timeout_ms in {"no-time": 0, "negative-time": -1}.items()
    ),
    deleting("WIRE-TOPIC-14/delete-what-stands-twice", delete("a", "a", timeout_ms=0)),
)

GROWTH = (
    growing("WIRE-TOPIC-30/named-twice", grow(to(3), to(4), to(2, "b")), topics=topics(a=Topic(), b=Topic())),
    growing("WIRE-TOPIC-31/no-topic", grow(to(2, "b"), to(3)), topics=topics("b", a=Topic()), also=("WIRE-TOPIC-35",)),
    *(growing(f"WIRE-TOPIC-31/{slug}", grow(to(2, name))) for slug, name in BAD_NAMES.items()),
    *(
        growing(f"WIRE-TOPIC-32/{slug}", grow(to(count), to(2, "b")), topics=topics(a=Topic(partitions=2), b=Topic()), also=("WIRE-TOPIC-35",))
        for slug, count in {"as-many": 2, "fewer": 1, "none": 0, "negative": -1}.items()
    ),
    growing("WIRE-TOPIC-32/before-its-assignment", grow(to(2, assigned=()))),
    *(
        growing(f"WIRE-TOPIC-33/{slug}", grow(to(2 + count), validate_only=True))
        for slug, count in {"too-many": 10_001, "not-too-many": 10_000}.items()
    ),
    growing("WIRE-TOPIC-33/behind-too-many", grow(to(10_003), to(2, "b"), validate_only=True), topics=topics(a=Topic(), b=Topic()), is_info=True),
    *(
        growing(f"WIRE-TOPIC-34/{slug}", grow(to(4, assigned=assigned)), also=("WIRE-TOPIC-35",))
        for slug, assigned in {
            "too-few": ((Node(),),), "too-many": ((Node(),),) * 3, "no-broker": ((Node(),), ()), "broker-twice": ((Node(),), (Node(), Node())),
            "unknown-broker": ((Node(NO_SUCH_BROKER),), (Node(),)), "negative-broker": ((-1,), (Node(),)), "sound": ((Node(),), (Node(),)),
        }.items()
    ),
    *(
        growing(f"WIRE-TOPIC-14/grow-within-{slug}", grow(to(3), to(2, "b"), timeout_ms=timeout_ms), topics=topics("b", a=Topic()))
        for slug, timeout_ms in {"no-time": 0, "negative-time": -1}.items()
    ),
    growing("WIRE-TOPIC-14/grow-what-stands-twice", grow(to(3), to(3), timeout_ms=0)),
    growing("WIRE-TOPIC-42/grow", grow(to(3), to(1, "b"), validate_only=True), list_offsets(index=2), topics=topics("b", a=Topic(partitions=2))),
    growing(
        "WIRE-TOPIC-43/new-partitions",
        produce(SOUND),
        grow(to(3)),
        list_offsets(index=1),
        list_offsets(index=2),
        produce(SOUND),
        produce(SOUND, index=2),
        fetch(index=2),
        fetch(),
        topics=topics(a=Topic()),
        needs_one_node=True,
    ),
)  # fmt: skip

LIVES = (
    creating(
        "WIRE-TOPIC-40/made-anew",
        create(new(partitions=2)),
        list_offsets(),
        produce(SOUND),
        delete("a"),
        create(new()),
        list_offsets(),
        fetch(),
        metadata(identified(OldIdOf("a")), version=METADATA_BY_ID),
        metadata(identified("a"), version=METADATA_BY_ID),
        needs_one_node=True,
    ),
    creating("WIRE-TOPIC-42/create", create(new(partitions=2, retention_ms="7"), new("b", partitions=0), validate_only=True), topics=topics("a", "b")),
    creating(
        "WIRE-TOPIC-43/new-topic",
        create(new(partitions=2)),
        list_offsets(index=1),
        produce(SOUND, index=1),
        fetch(index=1),
        fetch(),
        needs_one_node=True,
    ),
    case(
        "WIRE-TOPIC-41/made-by-hand",
        create(new(INTERNAL)),
        metadata(INTERNAL),
        grow(to(2, INTERNAL)),
        metadata(INTERNAL),
        delete(INTERNAL),
        metadata(INTERNAL),
        topics=(),
        sweep=m.CreateTopicsRequest,
        is_destructive=True,
        needs_one_node=True,
    ),
)

CASES: tuple[Case, ...] = (*CREATION, *DELETION, *GROWTH, *LIVES)
