"""Configurations: how they are told and changed, and that a log works by them (WIRE-CONFIG)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, Step, Topic, case, fetch, produce
from fiducial.conformance.suite.batches import holding
from fiducial.conformance.suite.wire_requests import (
    Alterable,
    alter,
    append,
    by,
    change,
    create,
    describe,
    metadata,
    new,
    of,
    put,
    replace,
    subtract,
    take,
    topics,
)
from fiducial.conformance.suite.wire_topics import BAD_NAMES, NO_SUCH_BROKER
from fiducial.conformance.symbols import Batch, NodeName
from fiducial.models import messages as m
from fiducial.models.config_requests import Resource
from fiducial.models.values import changed

SOUND = Batch()
TWO = topics("absent", a=Topic(), b=Topic())
#: A topic that sets some things for itself.
SETS = topics("absent", a=Topic((("retention.ms", "77"), ("cleanup.policy", "compact"))), b=Topic())
#: No resource is of these types.
STRANGE_TYPES = {"none": 0, "one": 1, "between": 3, "beyond": 64, "negative": -1}
STRANGE_BROKERS = {"another": NodeName(NO_SUCH_BROKER), "no-number": "one"}
#: Settings of a broker: a boolean, a number, a double, and a text.
OF_EACH_TYPE = ("auto.create.topics.enable", "log.retention.bytes", "log.cleaner.min.cleanable.ratio", "compression.type")
#: A setting of the broker that no answer of another case depends on; and its topics' name for it.
SETTING, FOLLOWS = "log.cleaner.delete.retention.ms", "delete.retention.ms"


def describing(id: str, *story: Step, **more: Any) -> Case:
    """A story about DescribeConfigs, in every version."""
    return case(id, *story, **{"topics": SETS, "sweep": m.DescribeConfigsRequest, **more})


def altering(id: str, *story: Step, **more: Any) -> Case:
    """A story about IncrementalAlterConfigs, in every version, and what the topics set in the end."""
    return case(id, *story, describe(of("a"), of("b", "retention.ms")), **{"topics": SETS, "sweep": m.IncrementalAlterConfigsRequest, **more})


def replacing(id: str, *story: Step, **more: Any) -> Case:
    """The same about AlterConfigs."""
    return altering(id, *story, **{"sweep": m.AlterConfigsRequest, **more})


TEXTS: dict[str, dict[str, Any]] = {
    "blanks": {"retention_ms": " 5 ", "cleanup_policy": " compact , delete ", "compression_type": " gzip "},
    "signs-and-zeros": {"retention_ms": "+5", "retention_bytes": "-0", "segment_ms": "007"},
    "booleans-in-any-case": {"preallocate": "TRUE", "unclean_leader_election_enable": "False"},
    "doubles": {"min_cleanable_dirty_ratio": "2.5e-1"},
    "no-number": {"min_cleanable_dirty_ratio": "NaN"},
    "entries-twice": {"cleanup_policy": "delete,compact,delete"},
    "no-entries": {"cleanup_policy": ""},
    "throttled": {"leader_replication_throttled_replicas": "0:1,1:1", "follower_replication_throttled_replicas": "*"},
    "largest-and-smallest": {"retention_bytes": "-9223372036854775808", "flush_ms": "9223372036854775807", "max_message_bytes": "2147483647"},
}  # fmt: skip
NO_TEXTS = {
    "hexadecimal": ("retention.ms", "0x10"), "a-fraction": ("retention.ms", "5.0"), "nothing": ("retention.ms", ""), "a-blank": ("retention.ms", "1 0"),
    "beyond-64-bits": ("retention.bytes", "9223372036854775808"), "beyond-32-bits": ("max.message.bytes", "2147483648"), "no-boolean": ("preallocate", "yes"),
    "no-double": ("min.cleanable.dirty.ratio", "half"), "an-empty-entry": ("cleanup.policy", "delete,,compact"), "no-policy": ("cleanup.policy", "keep"),
    "no-throttle": ("leader.replication.throttled.replicas", "0-1"),
}  # fmt: skip
#: Of configurations with limits, the values that are just taken, and those that are just not.
LIMITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "compression.gzip.level": (("1", "9", "-1"), ("0", "10", "-2")), "compression.lz4.level": (("1", "17"), ("0", "18")),
    "compression.zstd.level": (("-131072", "22"), ("-131073", "23")), "delete.retention.ms": (("0",), ("-1",)), "file.delete.delay.ms": (("0",), ("-1",)),
    "flush.messages": (("1",), ("0",)), "flush.ms": (("0",), ("-1",)), "index.interval.bytes": (("0",), ("-1",)), "local.retention.bytes": (("-2",), ("-3",)),
    "local.retention.ms": (("-2",), ("-3",)), "max.compaction.lag.ms": (("1",), ("0",)), "max.message.bytes": (("0",), ("-1",)),
    "message.timestamp.after.max.ms": (("0",), ("-1",)), "message.timestamp.before.max.ms": (("0",), ("-1",)),
    "message.timestamp.type": (("CreateTime", "LogAppendTime"), ("createtime", "")), "min.cleanable.dirty.ratio": (("0", "1"), ("-0.1", "1.1")),
    "min.compaction.lag.ms": (("0",), ("-1",)), "min.insync.replicas": (("1",), ("0",)), "retention.ms": (("-1",), ("-2",)),
    "segment.bytes": (("1048576",), ("1048575",)), "segment.index.bytes": (("4",), ("3",)), "segment.jitter.ms": (("0",), ("-1",)), "segment.ms": (("1",), ("0",)),
}  # fmt: skip

READ = (
    *(
        case(
            f"WIRE-CONFIG-1/{slug}",
            create(new(**configs)),
            describe(of("a", *(name.replace("_", ".") for name in configs))),
            topics=topics("a"),
            sweep=m.DescribeConfigsRequest,
            also=("WIRE-CONFIG-9",),
        )
        for slug, configs in TEXTS.items()
    ),
    *(altering(f"WIRE-CONFIG-1/{slug}", alter(change(put(name, text))), also=("WIRE-CONFIG-27",)) for slug, (name, text) in NO_TEXTS.items()),
    describing(
        "WIRE-CONFIG-3/its-own-wins",
        describe(of("a", "retention.ms", "retention.bytes", "cleanup.policy"), of("b", "retention.ms", "cleanup.policy"), synonyms=True),
    ),
    *(
        altering(
            f"WIRE-CONFIG-4/{name.replace('.', '-')}",
            *(alter(change(put(name, text), name="b")) for text in (*taken, *refused)),
            describe(of("b", name)),
            sweep=None,
            also=("WIRE-CONFIG-27",),
        )
        for name, (taken, refused) in LIMITS.items()
    ),
    altering(
        "WIRE-CONFIG-25/not-of-a-topic",
        *(alter(change(put(name, "1"))) for name in ("message.format.version", "num.partitions", "no.such.config")),
        also=("WIRE-CONFIG-4",),
    ),
    altering(
        "WIRE-CONFIG-4/lags-at-odds",
        alter(change(put("min.compaction.lag.ms", "10"), put("max.compaction.lag.ms", "5"))),
        alter(change(put("max.compaction.lag.ms", "5"))),
        alter(change(put("min.compaction.lag.ms", "10"))),
    ),
    altering("WIRE-CONFIG-4/hidden", alter(change(put("internal.segment.bytes", "100000"))), also=("WIRE-CONFIG-15",)),
    describing(
        "WIRE-CONFIG-9/lists",
        describe(of("a", "cleanup.policy", "leader.replication.throttled.replicas")),
        topics=topics(a=Topic((("cleanup.policy", " delete,compact ,delete"),))),
    ),
    case(
        "WIRE-CONFIG-5/sizes",
        create(new(max_message_bytes="300")),
        describe(of("a", "max.message.bytes")),
        produce(holding(500)),
        alter(change(put("max.message.bytes", "1000"))),
        describe(of("a", "max.message.bytes")),
        produce(holding(500), until=True),  # what is shown already may not be used yet
        fetch(),
        topics=topics("a"),
        sweep=m.IncrementalAlterConfigsRequest,
        needs_one_node=True,
        also=("WIRE-CONFIG-32",),
    ),
    case("WIRE-CONFIG-6/more-than-there-are", produce(SOUND), fetch(), topics=topics(a=Topic((("min.insync.replicas", "2"),)))),
)

DESCRIBED = (
    *(
        describing(f"WIRE-CONFIG-10/{slug}", describe(of("a", "retention.ms"), of("a", "retention.ms", kind=kind), of(NodeName(), kind=Resource.BROKER)))
        for slug, kind in STRANGE_TYPES.items()
    ),
    *(
        describing(f"WIRE-CONFIG-11/{slug}", describe(of("", kind=kind)))
        for slug, kind in {"client-metrics": Resource.CLIENT_METRICS, "group": Resource.GROUP}.items()
    ),
    *(describing(f"WIRE-CONFIG-12/{slug}", describe(of(name), of("a", "retention.ms"))) for slug, name in BAD_NAMES.items()),
    describing("WIRE-CONFIG-13/no-topic", describe(of("absent"), of("a", "retention.ms")), also=("WIRE-CONFIG-17",)),
    *(
        describing(f"WIRE-CONFIG-14/{slug}", describe(of(name, kind=Resource.BROKER), of(name, kind=Resource.BROKER_LOGGER), of("a", "retention.ms")))
        for slug, name in STRANGE_BROKERS.items()
    ),
    describing("WIRE-CONFIG-15/topic", describe(of("a")), describe(of("b")), also=("WIRE-CONFIG-16",)),
    describing(
        "WIRE-CONFIG-15/broker",
        describe(of(NodeName(), "message.max.bytes", "log.retention.bytes", "num.partitions", "never.any.setting", kind=Resource.BROKER)),
    ),
    describing("WIRE-CONFIG-16/synonyms-and-documentation", describe(of("a"), of("b", "retention.ms"), synonyms=True, documentation=True)),
    describing(
        "WIRE-CONFIG-16/of-the-broker",
        describe(of(NodeName(), *OF_EACH_TYPE, kind=Resource.BROKER), synonyms=True),
    ),
    describing("WIRE-CONFIG-17/as-often-as-asked", describe(of("b", "retention.ms"), of("a", "retention.ms"), of("absent"), of("a", "retention.bytes"))),
    describing("WIRE-CONFIG-18/names", describe(of("a", "retention.ms", "no.such.config", "retention.ms", "cleanup.policy"))),
    describing("WIRE-CONFIG-18/empty-list", describe(m.DescribeConfigsResource(Resource.TOPIC, of("a").resource_name, ()))),
)

LONG_AGO = put("retention.ms", "88")

CHANGES = (
    altering("WIRE-CONFIG-20/named-twice", alter(change(LONG_AGO), change(LONG_AGO, name="b"), change(put("retention.bytes", "5")))),
    replacing("WIRE-CONFIG-20/replaced-twice", replace(by(retention_ms="88"), by(retention_ms="88")), is_info=True, deadline_s=2.0),
    altering("WIRE-CONFIG-21/set-twice", alter(change(LONG_AGO, put("retention.ms", "89")), change(LONG_AGO, name="b"))),
    altering("WIRE-CONFIG-21/set-and-taken", alter(change(LONG_AGO, take("retention.ms")))),
    replacing("WIRE-CONFIG-21/replaced-twice", replace(changed(by(), configs=(m.AlterConfigsRequestAlterableConfig("retention.ms", "1"),) * 2))),
    *(
        altering(f"WIRE-CONFIG-22/{slug}", alter(change(one), change(LONG_AGO, name="b")))
        for slug, one in {"set": put("retention.ms", None), "append": append("cleanup.policy", None), "subtract": subtract("cleanup.policy", None)}.items()
    ),
    replacing("WIRE-CONFIG-22/replaced", replace(by(retention_ms=None), by("b", retention_ms="5"))),
    *(altering(f"WIRE-CONFIG-10/changed-{slug}", alter(change(LONG_AGO, kind=kind), change(LONG_AGO, name="b"))) for slug, kind in STRANGE_TYPES.items()),
    *(
        altering(f"WIRE-CONFIG-14/changed-{slug}", alter(change(put(SETTING, "5"), name=name, kind=Resource.BROKER), change(LONG_AGO, name="b")))
        for slug, name in STRANGE_BROKERS.items()
    ),
    *(  # Kafka's controller steps down over it
        altering(f"WIRE-CONFIG-23/{slug}", alter(change(Alterable("retention.ms", operation, "5"))), is_destructive=True)
        for slug, operation in {"four": 4, "negative": -1}.items()
    ),
    *(
        altering(f"WIRE-CONFIG-26/{slug}", alter(change(one)))
        for slug, one in {"append": append("retention.ms", "77"), "subtract": subtract("retention.ms", "5")}.items()
    ),
    altering("WIRE-CONFIG-34/incremental", alter(change(LONG_AGO, name=""))),
    replacing("WIRE-CONFIG-34/replaced", replace(by("", retention_ms="5"))),
    *(altering(f"WIRE-CONFIG-12/changed-{slug}", alter(change(LONG_AGO, name=name))) for slug, name in BAD_NAMES.items() if name),
    *(
        altering(f"WIRE-CONFIG-11/changed-{slug}", alter(change(name="", kind=kind)), alter(change(put("no.such.config", "5"), name="", kind=kind)))
        for slug, kind in {"client-metrics": Resource.CLIENT_METRICS, "group": Resource.GROUP}.items()
    ),
    *(
        altering(f"WIRE-CONFIG-24/{slug}", alter(change(put("no.such.config", "5"), name=name, kind=kind)), sweep=None)
        for slug, name, kind in (
            ("logger", NodeName(), Resource.BROKER_LOGGER), ("client-metrics", "a", Resource.CLIENT_METRICS), ("group", "a", Resource.GROUP),
        )
    ),
    altering("WIRE-CONFIG-25/set", alter(change(put("no.such.config", "5")))),
    altering("WIRE-CONFIG-25/taken", alter(change(take("no.such.config")))),
    altering("WIRE-CONFIG-27/one-of-two", alter(change(LONG_AGO, put("segment.bytes", "14"))), also=("WIRE-CONFIG-30",)),
    replacing("WIRE-CONFIG-27/replaced", replace(by(retention_ms="5", segment_bytes="14"))),
    altering("WIRE-CONFIG-13/changed", alter(change(LONG_AGO, name="absent"), change(LONG_AGO, name="b")), metadata("absent")),
    altering("WIRE-CONFIG-13/wrong-in-itself", alter(change(put("segment.bytes", "14"), name="absent"))),
    altering("WIRE-CONFIG-30/set-and-taken", alter(change(LONG_AGO, take("cleanup.policy"), put("retention.bytes", "5")))),
    altering("WIRE-CONFIG-30/taken-though-not-set", alter(change(take("segment.bytes"), LONG_AGO))),
    altering("WIRE-CONFIG-30/nothing", alter(change())),
    *(
        altering(f"WIRE-CONFIG-31/{slug}", *(alter(change(one, name="b")) for one in some), describe(of("b", "cleanup.policy")))
        for slug, some in {
            "append-to-what-is-in-force": (append("cleanup.policy", "compact"),),
            "append-what-is-there": (append("cleanup.policy", "delete"), append("cleanup.policy", "compact,delete,compact")),
            "subtract": (append("cleanup.policy", "compact"), subtract("cleanup.policy", "delete")),
            "subtract-what-is-not-there": (subtract("cleanup.policy", "compact"),),
            "subtract-all": (subtract("cleanup.policy", "delete,compact"),),
        }.items()
    ),
    altering("WIRE-CONFIG-32/each-by-itself", alter(change(LONG_AGO, name="b"), change(LONG_AGO, name="absent"), change(put("segment.bytes", "14")))),
    altering("WIRE-CONFIG-32/only-validated", alter(change(LONG_AGO), change(put("segment.bytes", "14"), name="b"), validate_only=True)),
    replacing("WIRE-CONFIG-32/only-validated-replaced", replace(by(retention_ms="88"), validate_only=True)),
    replacing("WIRE-CONFIG-33/some", replace(by(retention_bytes="5"), by("b", retention_ms="6"))),
    replacing("WIRE-CONFIG-33/nothing", replace(by(), by("absent"))),
    replacing("WIRE-CONFIG-35/logger", replace(by(NodeName(), Resource.BROKER_LOGGER), by("b", retention_ms="5"))),
)


IT = NodeName()


def set_broker(text: str, whose: Any = IT, name: str = SETTING) -> Step:
    """A setting of the broker, or by the empty name of the cluster, gets a value."""
    return alter(change(put(name, text), name=whose, kind=Resource.BROKER))


def unset_broker(whose: Any = IT) -> Step:
    """The setting loses its value."""
    return alter(change(take(SETTING), name=whose, kind=Resource.BROKER))


def at_the_broker(id: str, *story: Step, **more: Any) -> Case:
    """A story that changes a setting of the broker, which others see."""
    undo = unset_broker().body, unset_broker("").body
    return case(id, *story, **{"topics": TWO, "sweep": m.IncrementalAlterConfigsRequest, "is_destructive": True, "afterwards": undo, **more})


BOTH = describe(of(NodeName(), SETTING, kind=Resource.BROKER), of("", SETTING, kind=Resource.BROKER), of("a", FOLLOWS), synonyms=True)

BROKERS = (
    at_the_broker(
        "WIRE-CONFIG-2/broker-before-cluster",
        BOTH,
        set_broker("1000", ""),
        BOTH,
        set_broker("2000"),
        BOTH,
        alter(change(put(FOLLOWS, "3000"))),
        BOTH,
        unset_broker(),
        BOTH,
        unset_broker(""),
        BOTH,
        also=("WIRE-CONFIG-3", "WIRE-CONFIG-16"),
    ),
    *(
        at_the_broker(f"WIRE-CONFIG-28/{slug}", set_broker(text), set_broker(text, ""), BOTH)
        for slug, text in {"of-another-type": "soon", "out-of-range": "-1"}.items()
    ),
    *(
        at_the_broker(f"WIRE-CONFIG-29/{slug}", set_broker(text, name=name), BOTH, afterwards=(alter(change(take(name), name=IT, kind=Resource.BROKER)).body,))
        for slug, name, text in (("fixed", "num.partitions", "5"), ("unknown", "no.such.setting", "5"))
    ),
)


def listing(*kinds: int, **step: Any) -> Step:
    """A ListConfigResources request."""
    return Step(m.ListConfigResourcesRequest(kinds), **step)


LISTED = (
    *(
        case(f"WIRE-CONFIG-40/{slug}", listing(Resource.TOPIC, kind, version=1), topics=TWO, sweep=None)
        for slug, kind in {"none": 0, "beyond": 64, "negative": -1}.items()
    ),
    *(
        case(f"WIRE-CONFIG-41/{slug}", listing(*kinds), topics=TWO, sweep=m.ListConfigResourcesRequest)
        for slug, kinds in {"all": (), "topics-twice": (Resource.TOPIC,) * 2, "brokers": (Resource.BROKER, Resource.BROKER_LOGGER)}.items()
    ),
)

CASES: tuple[Case, ...] = (*READ, *DESCRIBED, *CHANGES, *BROKERS, *LISTED)
