"""Configurations: how values are read and shown, which of them is in force, and what the requests about them refuse."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest
from immutables import Map
from samples import Bench, alter_request, batch, falls_through

from fiducial.models import config_requests, configs, settings
from fiducial.models.configs import Source
from fiducial.models.errors import Error
from fiducial.models.events import Persist
from fiducial.models.messages import (
    AlterConfigsRequest,
    AlterConfigsRequestAlterableConfig,
    AlterConfigsRequestResource,
    ConfigResource,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsSynonym,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from fiducial.models.rules import Ladder
from fiducial.models.settings import (
    BROKER_ONLY,
    DYNAMIC,
    HIDDEN,
    TOPIC,
    UNTOLD,
    Kind,
    SettingError,
    advertised,
    listeners_of,
    parse,
)
from fiducial.models.values import changed

TOPIC_TYPE, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3

# Values


def accepted(kind: Kind, *texts: str) -> list[Any]:
    """What each text is read as, None for one that is refused."""
    found: list[Any] = []
    for text in texts:
        try:
            found.append(settings.read(kind, text))
        except ValueError:
            found.append(None)
    return found


@pytest.mark.rule("WIRE-CONFIG-1")
def test_how_text_is_read() -> None:
    assert accepted(Kind.BOOLEAN, "true", " TRUE ", "False", "yes", "1", "", "t") == [True, True, False, None, None, None, None]
    assert accepted(Kind.INT, "5", "+5", " 5 ", "-5", "007", "\t5\n") == [5, 5, 5, -5, 7, 5]
    assert accepted(Kind.INT, "0x10", "5.0", "", "1_0", "５", "--5", "- 5", "5L") == [None] * 8
    for kind, limit in ((Kind.SHORT, 2**15), (Kind.INT, 2**31), (Kind.LONG, 2**63)):
        assert accepted(kind, str(-limit - 1), str(-limit), str(limit - 1), str(limit)) == [None, -limit, limit - 1, None]
    assert accepted(Kind.DOUBLE, "0.5", " 5e-1 ", "1", ".5", "-1.E+1") == [0.5, 0.5, 1.0, 0.5, -10.0]
    assert accepted(Kind.DOUBLE, "", "nan", "0,5", "1_0", "0.5f", "0x1p-2", "infinity") == [None] * 7
    assert str(settings.read(Kind.DOUBLE, " NaN ")) == "nan"
    assert accepted(Kind.LIST, " a , b,a ", "", " ", ",a") == [("a", "b", "a"), (), (), ("", "a")]
    assert accepted(Kind.STRING, " a b ", "") == ["a b", ""]


@pytest.mark.rule("WIRE-CONFIG-9", "WIRE-CONFIG-3")
def test_values_are_shown_as_they_were_read() -> None:
    given = {
        "cleanup.policy": (" compact , delete,compact ", "compact,delete"),
        "retention.ms": (" +5 ", "5"),
        "preallocate": ("TRUE", "true"),
        "unclean.leader.election.enable": (" False ", "false"),
        "min.cleanable.dirty.ratio": ("1", "1.0"),
        "compression.type": (" lz4 ", "lz4"),
    }
    bench = Bench("a")
    for name, (text, _) in given.items():
        assert alter(bench, TOPIC_TYPE, "a", (name, SET, text)) == 0
    assert {name: value(bench, "a", name) for name in given} == {name: shown for name, (_, shown) in given.items()}
    assert {name: synonyms(bench, "a", name)[0] for name in given} == {name: (name, shown, 1) for name, (_, shown) in given.items()}
    assert value(Bench("a", min_cleanable_dirty_ratio="NaN"), "a", "min.cleanable.dirty.ratio") == "NaN"
    assert alter(bench, BROKER, "1", ("log.preallocate", SET, " TRUE")) == 0
    own = describe(bench, BROKER, "1")["log.preallocate"]
    assert (own.value, own.synonyms[0].value, synonyms(bench, "a", "preallocate")[1]) == ("true", " TRUE", ("log.preallocate", " TRUE", 2))


def table(heading: str) -> list[list[str]]:
    """The rows of a table of spec/wire.md, by the line above it."""
    text = resources.files("fiducial").joinpath("spec", "wire.md").read_text(encoding="utf-8")
    rows = text.partition(f"\n{heading}\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.rule("WIRE-CONFIG-4", "WIRE-CONFIG-7")
def test_the_tables_of_the_specification_are_those_of_the_code() -> None:
    topics = [[one.name, one.kind.name.lower(), one.default, one.accepted, one.synonym] for one in (*TOPIC.values(), *HIDDEN.values())]
    assert table("The configurations of a topic:") == topics
    brokers = [[one.name, one.kind.name.lower(), one.default, one.accepted, one.doc] for one in BROKER_ONLY.values()]
    assert table("The broker's settings that can only be given at its start:") == brokers


LONG = 2**63 - 1
LIMITS: dict[str, tuple[list[object], list[object]]] = {
    "cleanup.policy": (["compact", "delete", "delete,compact", ""], ["Delete", "none", "compact;delete"]),
    "compression.gzip.level": ([-1, 1, 9], [-2, 0, 10]),
    "compression.lz4.level": ([1, 17], [0, 18, -1]),
    "compression.type": (["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"], ["none", "LZ4", ""]),
    "compression.zstd.level": ([-131072, 0, 22], [-131073, 23]),
    "delete.retention.ms": ([0, LONG], [-1]),
    "file.delete.delay.ms": ([0, LONG], [-1]),
    "flush.messages": ([1, LONG], [0]),
    "flush.ms": ([0, LONG], [-1]),
    "follower.replication.throttled.replicas": (["*", "", "0:1,1:1", "00:1", "0:1,,0:1", "*,"], ["x", "0:1:2", "*,0:1", "0:", "5", "0:-1", "１:1"]),
    "index.interval.bytes": ([0, 2**31 - 1], [-1, 2**31]),
    "leader.replication.throttled.replicas": (["*", "0:1"], ["a:b"]),
    "local.retention.bytes": ([-2, -1, 0], [-3]),
    "local.retention.ms": ([-2, -1, 0], [-3]),
    "max.compaction.lag.ms": ([1, LONG], [0]),
    "max.message.bytes": ([0, 2**31 - 1], [-1]),
    "message.timestamp.after.max.ms": ([0, LONG], [-1]),
    "message.timestamp.before.max.ms": ([0, LONG], [-1]),
    "message.timestamp.type": (["CreateTime", "LogAppendTime"], ["createtime", ""]),
    "min.cleanable.dirty.ratio": ([0, 0.5, 1, "NaN"], [-0.1, 1.0001]),
    "min.compaction.lag.ms": ([0, LONG], [-1]),
    "min.insync.replicas": ([1, 2], [0]),
    "preallocate": (["true"], ["yes"]),
    "remote.log.copy.disable": (["true"], ["no"]),
    "remote.log.delete.on.disable": (["true"], ["no"]),
    "remote.storage.enable": (["false"], ["true"]),
    "retention.bytes": ([-(2**63), -5, LONG], [2**63]),
    "retention.ms": ([-1, 0, LONG], [-2]),
    "segment.bytes": ([2**20, 2**31 - 1], [2**20 - 1]),
    "segment.index.bytes": ([4], [3]),
    "segment.jitter.ms": ([0], [-1]),
    "segment.ms": ([1], [0]),
    "unclean.leader.election.enable": (["true"], ["no"]),
    "internal.segment.bytes": ([0, 1, -1], ["x"]),
}


@pytest.mark.rule("WIRE-CONFIG-4")
def test_what_a_topic_accepts() -> None:
    broker = Bench().broker
    assert set(LIMITS) == {*TOPIC, *HIDDEN}
    for name, (good, bad) in LIMITS.items():
        for one in good:
            assert configs.fault_of_topic(broker, {name: str(one)}) is None, (name, one)
        for one in (*bad, None):
            assert configs.fault_of_topic(broker, {name: one if one is None else str(one)}), (name, one)
    for unknown in ("message.downconversion.enable", "message.format.version", "num.partitions", "log.retention.ms", "Retention.ms", ""):
        assert configs.fault_of_topic(broker, {unknown: "1"}), unknown


@pytest.mark.rule("WIRE-CONFIG-4")
def test_compaction_lags_agree_as_they_are_in_force() -> None:
    least, most = "min.compaction.lag.ms", "max.compaction.lag.ms"
    plain, odd = Bench().broker, Bench(settings={"log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "8"}).broker
    assert configs.fault_of_topic(plain, {least: "5", most: "5"}) is None
    assert configs.fault_of_topic(plain, {least: "6", most: "5"})
    assert configs.fault_of_topic(odd, {})
    assert configs.fault_of_topic(odd, {most: "9"}) is configs.fault_of_topic(odd, {least: "8"}) is None
    assert configs.fault_of_topic(odd, {"retention.ms": "5"})


NAMED = {"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,Outside:ssl,INSIDE:PLAINTEXT"}


@pytest.mark.rule("WIRE-META-15")
def test_where_clients_are_told_to_go() -> None:
    def told(told_of: str, *places: tuple[str, str, int]) -> tuple[tuple[str, int], ...]:
        settings = parse({"advertised.listeners": told_of, **NAMED})
        return advertised(settings, listeners_of(settings, places))

    here, everywhere, outside = ("PLAINTEXT", "192.0.2.1", 9092), ("PLAINTEXT", "0.0.0.0", 9092), ("outside", "::", 9093)
    assert told("", here) == (("192.0.2.1", 9092),)
    assert told("PLAINTEXT://kafka.example.org:9192", here) == told("plaintext://kafka.example.org:9192", everywhere) == (("kafka.example.org", 9192),)
    assert told("PLAINTEXT://[2001:db8::1]:1", here) == (("2001:db8::1", 1),)
    assert told("", here, ("INSIDE", "192.0.2.2", 9093)) == (("192.0.2.1", 9092), ("192.0.2.2", 9093))
    both = "OUTSIDE://kafka.example.org:19093,PLAINTEXT://kafka:9092"
    assert told(both, everywhere, outside) == (("kafka", 9092), ("kafka.example.org", 19093))
    assert told(both, outside, everywhere) == (("kafka.example.org", 19093), ("kafka", 9092))
    for wrong, places, complaint in (
        (both, [everywhere], "tells of OUTSIDE, and there is no such listener, but PLAINTEXT"),
        ("PLAINTEXT://kafka:9092", [everywhere, outside], "does not tell of OUTSIDE"),
        ("", [everywhere], "set advertised.listeners=PLAINTEXT://HOST:PORT"),
        ("", [outside], "set advertised.listeners=OUTSIDE://HOST:PORT"),
    ):
        with pytest.raises(SettingError, match=complaint):
            told(wrong, *places)
    for bad in ("kafka:9092", "://kafka:9092", "PLAINTEXT://kafka", "PLAINTEXT://:9092", "PLAINTEXT://kafka:0", "PLAINTEXT://kafka:65536",
                "PLAINTEXT://0.0.0.0:9092", "PLAINTEXT://[::]:9092", "PLAINTEXT://a:1,plaintext://b:2"):  # fmt: skip
        with pytest.raises(SettingError, match=r"advertised\.listeners accepts"):
            told(bad, here)


@pytest.mark.rule("WIRE-META-17")
def test_listeners_can_be_told_apart() -> None:
    def spoken(*places: tuple[str, str, int], **settings: str) -> list[tuple[str, str]]:
        return [(one.name, one.protocol) for one in listeners_of(parse({name.replace("_", "."): text for name, text in settings.items()}), places)]

    assert spoken(("PLAINTEXT", "a", 1), ("ssl", "a", 2)) == [("PLAINTEXT", "PLAINTEXT"), ("SSL", "SSL")]
    assert spoken(("outside", "a", 1), ("Inside", "a", 2), listener_security_protocol_map=NAMED["listener.security.protocol.map"]) == [
        ("OUTSIDE", "SSL"),
        ("INSIDE", "PLAINTEXT"),
    ]
    assert spoken(("PLAINTEXT", "a", 0), ("SSL", "a", 0)) and spoken(("PLAINTEXT", "0.0.0.0", 1), ("SSL", "::", 1))
    for places, complaint in (
        ([("PLAINTEXT", "a", 1), ("plaintext", "a", 2)], "two listeners are called PLAINTEXT"),
        ([("PLAINTEXT", "a", 1), ("SSL", "a", 1)], "PLAINTEXT and SSL both listen at port 1"),
        ([("PLAINTEXT", "0.0.0.0", 1), ("SSL", "127.0.0.1", 1)], "both listen at port 1"),
        ([("PLAINTEXT", "a", 1), ("SSL", "::1", 1)], "both listen at port 1"),
        ([("INSIDE", "a", 1)], "how do clients speak at INSIDE"),
    ):
        with pytest.raises(SettingError, match=complaint):
            spoken(*places)
    with pytest.raises(SettingError, match="how do clients speak at PLAINTEXT"):
        spoken(("PLAINTEXT", "a", 1), listener_security_protocol_map="SSL:SSL")
    for bad in ("PLAINTEXT", "A:SASL_SSL", ":SSL"):
        with pytest.raises(SettingError, match=r"listener\.security\.protocol\.map accepts"):
            spoken(listener_security_protocol_map=bad)


@pytest.mark.rule("WIRE-CONFIG-7")
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"no.such.setting": "1"}, "no.such.setting"),
        ({"retention.ms": "1"}, "retention.ms"),
        ({"num.network.threads": "0"}, "num.network.threads accepts 1 or more"),
        ({"num.partitions": "0"}, "num.partitions accepts 1 or more"),
        ({"queued.max.request.bytes": "much"}, "queued.max.request.bytes is of type long"),
        ({"num.partitions": "many"}, "num.partitions is of type int"),
        ({"log.segment.bytes": "5"}, "log.segment.bytes"),
        ({"delete.topic.enable": "maybe"}, "delete.topic.enable"),
    ],
)
def test_a_broker_does_not_start_with_a_setting_that_it_does_not_have(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingError, match=re.escape(complaint)):
        settings.parse(given)


@pytest.mark.rule("WIRE-CONFIG-7")
def test_settings_are_what_they_say() -> None:
    given = {
        "auto.create.topics.enable": "false", "broker.id": "7", "connections.max.idle.ms": "70", "default.replication.factor": "2",
        "delete.topic.enable": "false", "fetch.max.bytes": "2000", "log.retention.check.interval.ms": "71",
        "max.incremental.fetch.session.cache.slots": "72", "max.request.partition.size.limit": "73", "num.network.threads": "78", "num.partitions": "74",
        "producer.id.expiration.ms": "75", "queued.max.request.bytes": "79", "socket.request.max.bytes": "76", "log.retention.ms": "77",
    }  # fmt: skip
    assert settings.parse(given) == settings.Settings(Map(given), False, 7, 70, 2, False, 2000, 71, 72, 73, 78, 74, 75, 79, 76)
    assert settings.parse({}) == settings.Settings()


@pytest.mark.rule("WIRE-CONFIG-8")
@pytest.mark.parametrize(
    ("given", "retention_ms", "segment_ms"),
    [
        ({}, "604800000", "604800000"),
        ({"log.retention.hours": "2", "log.roll.hours": "3"}, "7200000", "10800000"),
        ({"log.retention.hours": "2", "log.retention.minutes": "5"}, "300000", "604800000"),
        ({"log.retention.minutes": "5", "log.retention.ms": "7", "log.roll.hours": "3", "log.roll.ms": "8"}, "7", "8"),
        ({"log.retention.hours": "-1"}, "-1", "604800000"),
        ({"log.retention.minutes": "-5"}, "-1", "604800000"),
        ({"log.retention.minutes": "0"}, "0", "604800000"),
    ],
)
def test_hours_and_minutes_stand_for_milliseconds(given: dict[str, str], retention_ms: str, segment_ms: str) -> None:
    bench = Bench("a", settings=given)
    assert (value(bench, "a", "retention.ms"), value(bench, "a", "segment.ms")) == (retention_ms, segment_ms)
    assert bench.partition("a").config.retention_ms == int(retention_ms)


@pytest.mark.rule("WIRE-CONFIG-8", "WIRE-CONFIG-2")
def test_what_comes_of_hours_is_shown_as_a_default() -> None:
    bench = Bench("a", settings={"log.retention.hours": "2"})
    assert (describe(bench, TOPIC_TYPE, "a")["retention.ms"].config_source, synonyms(bench, "a", "retention.ms")) == (Source.DEFAULT, [])
    assert describe(bench, BROKER, "1")["log.retention.ms"].value is None
    assert alter(bench, BROKER, "1", ("log.retention.ms", SET, "7")) == 0
    hours = [("log.retention.hours", "2", 4), ("log.retention.hours", "168", 5)]
    assert synonyms(bench, "a", "retention.ms") == [("log.retention.ms", "7", 2), *hours]


# Which value is in force


def describe(bench: Bench, kind: int, name: str, *keys: str) -> dict[str, DescribeConfigsResourceResult]:
    """Every configuration of a resource that is described without an error."""
    resource = DescribeConfigsResource(kind, name, keys or None)
    (result,) = bench.ask(DescribeConfigsRequest((resource,), True, True), 4).results
    assert (result.error_code, result.error_message, result.resource_type, result.resource_name) == (0, "", kind, name)
    return {config.name: config for config in result.configs}


def value(bench: Bench, topic: str, name: str) -> str | None:
    return describe(bench, TOPIC_TYPE, topic, name)[name].value


def synonyms(bench: Bench, topic: str, name: str) -> list[tuple[str, str | None, int]]:
    found = describe(bench, TOPIC_TYPE, topic, name)[name]
    return [(one.name, one.value, one.source) for one in found.synonyms]


def alter(bench: Bench, kind: int, name: str, *operations: tuple[str, int, str | None]) -> int:
    """The error of a change of one resource."""
    (response,) = bench.ask(alter_request(kind, name, *operations), 1).responses
    assert (response.resource_type, response.resource_name) == (kind, name)
    assert bool(response.error_message) == bool(response.error_code)
    error: int = response.error_code
    return error


@pytest.mark.rule("WIRE-CONFIG-2", "WIRE-CONFIG-3")
def test_the_strongest_setting_wins() -> None:
    bench = Bench("a", settings={"log.segment.bytes": "2000000"})
    places = [("log.segment.bytes", "2000000", Source.FILE), ("log.segment.bytes", "1073741824", Source.DEFAULT)]
    assert synonyms(bench, "a", "segment.bytes") == places
    for kind, name, config, text, source in (
        (BROKER, "", "log.segment.bytes", "3000000", Source.DYNAMIC_CLUSTER),
        (BROKER, "1", "log.segment.bytes", "4000000", Source.DYNAMIC_BROKER),
        (TOPIC_TYPE, "a", "segment.bytes", "5000000", Source.TOPIC),
    ):
        assert alter(bench, kind, name, (config, SET, text)) == 0
        places.insert(0, (config, text, source))
        found = describe(bench, TOPIC_TYPE, "a")["segment.bytes"]
        assert (found.value, found.config_source) == (text, source)
        assert synonyms(bench, "a", "segment.bytes") == places
    own = describe(bench, BROKER, "1")["log.segment.bytes"]
    assert [(one.name, one.value, one.source) for one in own.synonyms] == places[1:]
    assert (own.value, own.config_source) == ("4000000", Source.DYNAMIC_BROKER)
    assert [int(source) for source in Source] == [1, 2, 3, 4, 5]


@pytest.mark.rule("WIRE-CONFIG-3")
def test_what_has_no_setting_of_the_broker_or_none_by_default() -> None:
    bench = Bench("a", remote_log_copy_disable="true", retention_ms="5")
    assert synonyms(bench, "a", "remote.log.copy.disable") == [("remote.log.copy.disable", "true", 1)]
    assert synonyms(bench, "a", "remote.log.delete.on.disable") == []
    assert synonyms(bench, "a", "retention.ms") == [("retention.ms", "5", 1)]
    bench.ask(alter_request(BROKER, "", ("log.retention.ms", SET, "7")), 1)
    in_another_unit = ("log.retention.hours", "168", 5)
    assert synonyms(bench, "a", "retention.ms") == [("retention.ms", "5", 1), ("log.retention.ms", "7", 3), in_another_unit]
    assert synonyms(bench, "a", "segment.ms") == []
    found = describe(bench, TOPIC_TYPE, "a", "segment.ms", "remote.log.delete.on.disable", "leader.replication.throttled.replicas")
    assert {name: (one.value, one.config_source) for name, one in found.items()} == {
        "segment.ms": ("604800000", 5),
        "remote.log.delete.on.disable": ("false", 5),
        "leader.replication.throttled.replicas": ("", 5),
    }


@pytest.mark.rule("WIRE-CONFIG-5", "WIRE-CONFIG-32")
def test_what_is_configured_is_what_a_log_does() -> None:
    given: dict[str, tuple[str, str, object]] = {
        "max.message.bytes": ("2001", "max_message_bytes", 2001),
        "segment.bytes": ("2000002", "segment_bytes", 2000002),
        "segment.ms": ("2003", "segment_ms", 2003),
        "segment.jitter.ms": ("2004", "segment_jitter_ms", 2004),
        "segment.index.bytes": ("2005", "segment_index_bytes", 2005),
        "index.interval.bytes": ("2006", "index_interval_bytes", 2006),
        "retention.ms": ("2007", "retention_ms", 2007),
        "retention.bytes": ("2008", "retention_bytes", 2008),
        "message.timestamp.type": ("LogAppendTime", "append_time", True),
        "message.timestamp.before.max.ms": ("2009", "timestamp_before_max_ms", 2009),
        "message.timestamp.after.max.ms": ("2010", "timestamp_after_max_ms", 2010),
        "flush.messages": ("2011", "flush_messages", 2011),
        "flush.ms": ("2012", "flush_ms", 2012),
        "internal.segment.bytes": ("2013", "segment_bytes", 2013),
    }
    for name, (text, field, expected) in given.items():
        bench = Bench("a", "b")
        plain = bench.partition("b").config
        assert alter(bench, TOPIC_TYPE, "a", (name, SET, text)) == 0
        assert bench.partition("a").config == changed(plain, **{field: expected}), name
        assert bench.partition("b").config == plain
        if name in TOPIC:
            assert alter(bench, BROKER, "", (TOPIC[name].synonym, SET, text)) == 0
            assert bench.partition("b").config == bench.partition("a").config


@pytest.mark.rule("WIRE-CONFIG-5")
def test_policies_and_codecs_of_a_log() -> None:
    for policy, expected in (("", (False, False)), ("delete", (True, False)), ("compact", (False, True)), ("compact,delete", (True, True))):
        config = Bench("a", cleanup_policy=policy).partition("a").config
        assert (config.deletes, config.compacts) == expected
    for codec, compression in {
        "producer": (None, 0),
        "uncompressed": (0, 0),
        "gzip": (1, 7),
        "snappy": (2, 0),
        "lz4": (3, 8),
        "zstd": (4, 6),
    }.items():
        bench = Bench("a", compression_type=codec, compression_gzip_level="7", compression_lz4_level="8", compression_zstd_level="6")
        config = bench.partition("a").config
        assert (config.compression, config.compression_level) == compression


@pytest.mark.rule("WIRE-CONFIG-6")
def test_one_replica_is_enough_where_there_is_one() -> None:
    bench = Bench("a", min_insync_replicas="2")
    bench.produce("a", batch())
    assert bench.partition("a").log.high_watermark == 1
    assert bench.partition("a").config == Bench("a").partition("a").config


@pytest.mark.parametrize(
    ("kind", "name", "operations", "words"),
    [
        (TOPIC_TYPE, "a", (("retention.ms", SET, "abc"),), "'a': retention.ms is of type long, which 'abc' is not"),
        (TOPIC_TYPE, "a", (("segment.bytes", SET, "1"),), "'a': segment.bytes accepts 1048576 or more, which '1' is not"),
        (TOPIC_TYPE, "a", (("nonsense", SET, "1"), ("retention.ms", SET, "1")), "'a': there is no configuration 'nonsense'"),
        (TOPIC_TYPE, "a", (("nonsense", DELETE, None),), "'a': there is no configuration 'nonsense'"),
        (TOPIC_TYPE, "a", (("min.compaction.lag.ms", SET, "9"), ("max.compaction.lag.ms", SET, "8")), "'a': min.compaction.lag.ms is above max.compaction.lag.ms"),
        (TOPIC_TYPE, "q", (("retention.ms", SET, "1"),), "'q': there is no such topic"),
        (BROKER, "1", (("broker.id", SET, "3"),), "'1': there is no setting 'broker.id' that can be changed while the broker runs"),
        (BROKER, "", (("log.retention.ms", SET, "abc"),), "'': log.retention.ms is of type long, which 'abc' is not"),
        (BROKER, "2", (("log.retention.ms", SET, "1"),), "'2': this is another broker"),
        (GROUP, "g", (("consumer.session.timeout.ms", SET, "1"),), "'g': it has no configurations here that can be changed"),
    ],
)
def test_why_a_configuration_is_not_changed_is_said_in_words(kind: int, name: str, operations: tuple[tuple[str, int, str | None], ...], words: str) -> None:
    (response,) = Bench("a").ask(alter_request(kind, name, *operations), 1).responses
    assert response.error_message == words


@pytest.mark.parametrize("ladder", [config_requests.DESCRIBE_CHECK, config_requests.CHANGE_CHECK], ids=lambda ladder: ladder.name)
def test_every_refusal_of_a_resource_has_words(ladder: Ladder) -> None:
    told_apart = {"WIRE-CONFIG-25", "WIRE-CONFIG-27", "WIRE-CONFIG-28", "WIRE-CONFIG-29"}  # in which the words name what is at fault
    assert {rung.rule for rung in ladder.rungs} <= {*config_requests.WHY_NOT, *told_apart}


# DescribeConfigs


def described(bench: Bench, *resources: tuple[int, str]) -> list[tuple[int, str, int, str | None]]:
    request = DescribeConfigsRequest(tuple(DescribeConfigsResource(*resource, None) for resource in resources), False, False)
    return [(one.resource_type, one.resource_name, one.error_code, one.error_message) for one in bench.ask(request, 4).results]


@pytest.mark.rule("WIRE-CONFIG-10", "WIRE-CONFIG-11", "WIRE-CONFIG-12", "WIRE-CONFIG-13", "WIRE-CONFIG-14")
@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (0, "a", Error.INVALID_REQUEST), (1, "a", Error.INVALID_REQUEST), (3, "a", Error.INVALID_REQUEST), (64, "1", Error.INVALID_REQUEST),
        (-1, "1", Error.INVALID_REQUEST), (LOGGER, "", Error.INVALID_REQUEST), (METRICS, "", Error.INVALID_REQUEST),
        (GROUP, "", Error.INVALID_REQUEST), (TOPIC_TYPE, "", Error.INVALID_TOPIC_EXCEPTION), (TOPIC_TYPE, "a/b", Error.INVALID_TOPIC_EXCEPTION),
        (TOPIC_TYPE, "q", Error.UNKNOWN_TOPIC_OR_PARTITION), (BROKER, "2", Error.INVALID_REQUEST), (BROKER, "x", Error.INVALID_REQUEST),
        (LOGGER, "2", Error.INVALID_REQUEST), (LOGGER, "x", Error.INVALID_REQUEST), (TOPIC_TYPE, "a", Error.NONE), (BROKER, "1", Error.NONE),
        (BROKER, "", Error.NONE), (LOGGER, "1", Error.NONE), (METRICS, "any", Error.NONE), (GROUP, "any", Error.NONE),
    ],
)  # fmt: skip
def test_which_resource_is_meant(kind: int, name: str, error: Error) -> None:
    ((*named, code, message),) = described(Bench("a"), (kind, name))
    assert (named, code) == ([kind, name], error)
    assert bool(message) == (error not in (Error.NONE, Error.UNKNOWN_TOPIC_OR_PARTITION)) and message is not None


@pytest.mark.rule("WIRE-CONFIG-10", "WIRE-CONFIG-11", "WIRE-CONFIG-12", "WIRE-CONFIG-13", "WIRE-CONFIG-14")
def test_a_fault_of_a_resource_wins_over_those_below_it() -> None:
    bench, bad = Bench(), Error.INVALID_REQUEST
    for kind, name, *expected in (
        (0, "", (10, bad), (11, bad)),
        (LOGGER, "", (11, bad), (14, bad)),
        (TOPIC_TYPE, "a/b", (12, Error.INVALID_TOPIC_EXCEPTION), (13, Error.UNKNOWN_TOPIC_OR_PARTITION)),
    ):

        def refusal(kind: int = kind, name: str = name) -> tuple[tuple[str, ...], int]:
            request = DescribeConfigsRequest((DescribeConfigsResource(kind, name),), False, False)
            return bench.refused(request, 4), described(bench, (kind, name))[0][2]

        falls_through(refusal, *((f"WIRE-CONFIG-{number}", error) for number, error in expected))


@pytest.mark.rule("WIRE-CONFIG-15")
def test_which_configurations_a_resource_has() -> None:
    bench = Bench("a")
    assert list(describe(bench, TOPIC_TYPE, "a")) == sorted(TOPIC)
    bench.create("b", internal_segment_bytes="5")
    assert set(describe(bench, TOPIC_TYPE, "b")) == {*TOPIC, "internal.segment.bytes"}
    assert list(describe(bench, BROKER, "1")) == sorted({*BROKER_ONLY, *DYNAMIC} - UNTOLD)
    assert describe(bench, BROKER, "") == {}
    for kind in (LOGGER, METRICS, GROUP):
        assert describe(bench, kind, "1") == {}
    alter(bench, BROKER, "1", ("log.retention.ms", SET, "5"))
    alter(bench, BROKER, "", ("message.max.bytes", SET, "7"), ("log.retention.ms", SET, " 6"))
    found = describe(bench, BROKER, "")
    assert [(one.name, one.value, one.config_source, one.read_only) for one in found.values()] == [
        ("log.retention.ms", " 6", 3, False),
        ("message.max.bytes", "7", 3, False),
    ]
    assert found["log.retention.ms"].synonyms == (DescribeConfigsSynonym("log.retention.ms", " 6", 3),)


@pytest.mark.rule("WIRE-CONFIG-16")
def test_what_is_told_of_a_configuration() -> None:
    bench = Bench("a", retention_ms="5")
    own = describe(bench, TOPIC_TYPE, "a")
    doc = TOPIC["retention.ms"].doc
    synonym = DescribeConfigsSynonym("retention.ms", "5", 1)
    assert own["retention.ms"] == DescribeConfigsResourceResult("retention.ms", "5", False, 1, False, (synonym,), 5, doc)
    assert {kind: sum(one.config_type == kind for one in own.values()) for kind in range(1, 8)} == {1: 5, 2: 2, 3: 8, 4: 0, 5: 14, 6: 1, 7: 3}
    asked = DescribeConfigsResource(TOPIC_TYPE, "a", ("retention.ms",))
    (plain,) = bench.ask(DescribeConfigsRequest((asked,), False, False), 4).results[0].configs
    assert (plain.synonyms, plain.documentation) == ((), None)
    broker = describe(bench, BROKER, "1")
    assert (broker["log.retention.ms"].value, broker["log.retention.ms"].read_only) == (None, False)
    assert (broker["num.partitions"].value, broker["num.partitions"].read_only) == ("1", True)
    assert (own["leader.replication.throttled.replicas"].value, own["segment.jitter.ms"].value) == ("", "0")


@pytest.mark.rule("WIRE-CONFIG-17")
def test_each_resource_is_answered_as_often_as_it_is_asked_about() -> None:
    found = described(Bench("a"), (TOPIC_TYPE, "a"), (BROKER, "x"), (TOPIC_TYPE, "q"), (TOPIC_TYPE, "a"))
    assert [entry[:3] for entry in found] == [(2, "a", 0), (4, "x", 42), (2, "q", 3), (2, "a", 0)]
    assert [entry[3] for entry in (found[0], found[2], found[3])] == ["", "", ""] and found[1][3]


@pytest.mark.rule("WIRE-CONFIG-10", "WIRE-CONFIG-17")
def test_an_unknown_type_refuses_all_that_is_asked_about() -> None:
    found = described(Bench("a"), (TOPIC_TYPE, "a"), (3, "a"), (TOPIC_TYPE, "q"))
    assert [entry[:3] for entry in found] == [(2, "a", 42), (3, "a", 42), (2, "q", 42)]


@pytest.mark.rule("WIRE-CONFIG-18")
def test_names_choose_configurations() -> None:
    bench = Bench("a")
    assert list(describe(bench, TOPIC_TYPE, "a", "segment.ms", "nonsense", "retention.ms", "segment.ms")) == ["retention.ms", "segment.ms"]
    for keys, count in ((None, 33), ((), 33), (("nonsense",), 0), (("retention.ms", "retention.ms"), 1)):
        request = DescribeConfigsRequest((DescribeConfigsResource(TOPIC_TYPE, "a", keys),), False, False)
        assert len(bench.ask(request, 4).results[0].configs) == count


# Changing

CHANGE = {
    20: Error.INVALID_REQUEST, 21: Error.INVALID_REQUEST, 22: Error.INVALID_REQUEST, 10: Error.INVALID_REQUEST, 11: Error.INVALID_REQUEST,
    34: Error.INVALID_REQUEST, 14: Error.INVALID_REQUEST, 35: Error.INVALID_REQUEST, 23: Error.INVALID_REQUEST, 26: Error.INVALID_CONFIG,
    12: Error.INVALID_TOPIC_EXCEPTION, 24: Error.INVALID_REQUEST, 29: Error.INVALID_REQUEST, 25: Error.INVALID_CONFIG,
    27: Error.INVALID_CONFIG, 28: Error.INVALID_REQUEST, 13: Error.UNKNOWN_TOPIC_OR_PARTITION,
}  # fmt: skip


def replace_request(*resources: tuple[int, str, dict[str, str | None]], validate_only: bool = False) -> AlterConfigsRequest:
    """An AlterConfigs request."""
    wanted = tuple(
        AlterConfigsRequestResource(kind, name, tuple(AlterConfigsRequestAlterableConfig(*entry) for entry in texts.items()))
        for kind, name, texts in resources
    )
    return AlterConfigsRequest(wanted, validate_only)


def both(*requests: IncrementalAlterConfigsRequest, validate_only: bool = False) -> IncrementalAlterConfigsRequest:
    """Several requests as one."""
    return IncrementalAlterConfigsRequest(tuple(resource for one in requests for resource in one.resources), validate_only)


BAD, TWICE, NO_VALUE = ("retention.ms", SET, "x"), ("retention.ms", SET, "y"), ("segment.ms", SET, None)
UNKNOWN, NO_LIST, NO_OPERATION = ("no.such", SET, "x"), ("preallocate", APPEND, "x"), ("flush.ms", 9, "x")
FIXED, BAD_SETTING = ("num.partitions", SET, "x"), ("log.retention.ms", SET, "x")


@pytest.mark.rule("WIRE-CONFIG-10", "WIRE-CONFIG-11", "WIRE-CONFIG-12", "WIRE-CONFIG-13", "WIRE-CONFIG-14", "WIRE-CONFIG-20")
@pytest.mark.rule("WIRE-CONFIG-21", "WIRE-CONFIG-22", "WIRE-CONFIG-23", "WIRE-CONFIG-24", "WIRE-CONFIG-25", "WIRE-CONFIG-26")
@pytest.mark.rule("WIRE-CONFIG-27", "WIRE-CONFIG-28", "WIRE-CONFIG-29", "WIRE-CONFIG-34", "WIRE-CONFIG-35")
@pytest.mark.parametrize(
    ("request_", "version", "numbers"),
    [
        (both(*[alter_request(0, "", BAD, TWICE, NO_VALUE, NO_OPERATION, NO_LIST)] * 2), 1, (20, 21, 22, 10, 23, 26, 11)),
        (both(*[alter_request(TOPIC_TYPE, "", NO_OPERATION, NO_LIST)] * 2), 1, (20, 23, 26, 34, 12)),
        (alter_request(TOPIC_TYPE, "a/b", TWICE, BAD, NO_VALUE, NO_OPERATION, NO_LIST, UNKNOWN), 1, (21, 22, 23, 26, 12, 25)),
        (alter_request(TOPIC_TYPE, "a/b", UNKNOWN), 1, (12, 25)),
        (alter_request(TOPIC_TYPE, "a/b", BAD), 1, (12, 27, 13)),
        (alter_request(TOPIC_TYPE, "q", BAD), 1, (27, 13)),
        (alter_request(METRICS, "", NO_OPERATION, NO_LIST), 1, (23, 26, 11, 24)),
        (alter_request(LOGGER, "2", NO_OPERATION, NO_LIST), 1, (14, 23, 24)),
        (alter_request(GROUP, "g", UNKNOWN), 1, (24, 25)),
        (replace_request((LOGGER, "2", {"x": "y"})), 2, (14, 35, 24)),
        (alter_request(BROKER, "2", NO_OPERATION, ("log.retention.ms", APPEND, "x"), FIXED), 1, (14, 23, 26, 29, 25)),
        (alter_request(BROKER, "2", FIXED, BAD_SETTING), 1, (14, 29, 25, 28)),
    ],
)
def test_a_fault_of_a_change_wins_over_those_below_it(request_: Any, version: int, numbers: tuple[int, ...]) -> None:
    bench = Bench("a")
    before = bench.broker

    def refusal() -> tuple[tuple[str, ...], int]:
        return tuple(set(bench.refused(request_, version))), bench.ask(request_, version).responses[0].error_code

    falls_through(refusal, *((f"WIRE-CONFIG-{number}", CHANGE[number]) for number in numbers))
    assert bench.broker == before


@pytest.mark.rule("WIRE-CONFIG-20", "WIRE-CONFIG-32")
def test_resources_are_independent_and_named_once() -> None:
    bench = Bench("a", "b", "c")
    five = ("retention.ms", SET, "5")
    resources = [alter_request(TOPIC_TYPE, name, five) for name in ("a", "b", "q", "a")] + [alter_request(BROKER, "a", five)]
    responses = bench.ask(both(*resources), 1).responses
    assert [(one.resource_name, one.error_code) for one in responses] == [("a", 42), ("b", 0), ("q", 3), ("a", 42), ("a", 42)]
    assert [value(bench, name, "retention.ms") for name in ("a", "b", "c")] == ["604800000", "5", "604800000"]
    legacy = bench.ask(replace_request((TOPIC_TYPE, "c", {}), (TOPIC_TYPE, "b", {}), (TOPIC_TYPE, "c", {})), 2).responses
    assert [(one.resource_name, one.error_code) for one in legacy] == [("c", 42), ("b", 0), ("c", 42)]
    assert bench.ask(both(), 1).responses == ()


@pytest.mark.rule("WIRE-CONFIG-21", "WIRE-CONFIG-22", "WIRE-CONFIG-23", "WIRE-CONFIG-25", "WIRE-CONFIG-26", "WIRE-CONFIG-27", "WIRE-CONFIG-30")
@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ([], Error.NONE),
        ([("retention.ms", SET, "7")], Error.NONE),
        ([("segment.ms", DELETE, None)], Error.NONE),
        ([("segment.ms", DELETE, "5")], Error.NONE),
        ([("retention.ms", SET, "7"), ("retention.ms", DELETE, None)], Error.INVALID_REQUEST),
        ([("retention.ms", SET, None)], Error.INVALID_REQUEST),
        ([("cleanup.policy", APPEND, None)], Error.INVALID_REQUEST),
        ([("cleanup.policy", SUBTRACT, None)], Error.INVALID_REQUEST),
        ([("retention.ms", 4, "7")], Error.INVALID_REQUEST),
        ([("retention.ms", -1, "7")], Error.INVALID_REQUEST),
        ([("no.such", SET, "7")], Error.INVALID_CONFIG),
        ([("no.such", DELETE, None)], Error.INVALID_CONFIG),
        ([("no.such", APPEND, "7")], Error.INVALID_CONFIG),
        ([("log.retention.ms", SET, "7")], Error.INVALID_CONFIG),
        ([("retention.ms", APPEND, "7")], Error.INVALID_CONFIG),
        ([("retention.ms", SUBTRACT, "7")], Error.INVALID_CONFIG),
        ([("compression.type", APPEND, "lz4")], Error.INVALID_CONFIG),
        ([("retention.ms", SET, "7"), ("segment.ms", SET, "0")], Error.INVALID_CONFIG),
        ([("cleanup.policy", APPEND, "nonsense")], Error.INVALID_CONFIG),
        ([("min.compaction.lag.ms", SET, "9"), ("max.compaction.lag.ms", SET, "5")], Error.INVALID_CONFIG),
    ],
)
def test_changes_of_a_topic(operations: list[tuple[str, int, str | None]], error: Error) -> None:
    bench = Bench("a", retention_ms="5", cleanup_policy="compact")
    before = bench.broker.topics
    assert alter(bench, TOPIC_TYPE, "a", *operations) == error
    if error:
        assert bench.broker.topics == before and not any(isinstance(effect, Persist) for effect in bench.effects)


@pytest.mark.rule("WIRE-CONFIG-28", "WIRE-CONFIG-29", "WIRE-CONFIG-14", "WIRE-CONFIG-26")
@pytest.mark.parametrize("name", ["1", ""])
@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (("log.retention.ms", SET, "7"), Error.NONE),
        (("log.retention.ms", DELETE, None), Error.NONE),
        (("log.cleanup.policy", APPEND, "compact"), Error.NONE),
        (("log.retention.ms", SET, "x"), Error.INVALID_REQUEST),
        (("log.segment.bytes", SET, "5"), Error.INVALID_REQUEST),
        (("log.cleanup.policy", APPEND, "nonsense"), Error.INVALID_REQUEST),
        (("log.retention.ms", APPEND, "5"), Error.INVALID_CONFIG),
        (("num.partitions", APPEND, "5"), Error.INVALID_CONFIG),
        (("num.partitions", SET, "5"), Error.INVALID_REQUEST),
        (("num.partitions", DELETE, None), Error.INVALID_REQUEST),
        (("no.such", SET, "5"), Error.INVALID_REQUEST),
        (("retention.ms", SET, "5"), Error.INVALID_REQUEST),
    ],
)
def test_changes_of_the_broker(name: str, operation: tuple[str, int, str | None], error: Error) -> None:
    bench = Bench("a")
    before = bench.broker.topics
    assert alter(bench, BROKER, name, operation) == error
    assert alter(bench, BROKER, "2", operation) == Error.INVALID_REQUEST
    if error:
        assert bench.broker.topics == before


@pytest.mark.rule("WIRE-CONFIG-24", "WIRE-CONFIG-35")
@pytest.mark.parametrize("kind", [LOGGER, METRICS, GROUP])
def test_where_nothing_can_be_changed(kind: int) -> None:
    bench = Bench()
    assert alter(bench, kind, "1", ("interval.ms", SET, "5")) == alter(bench, kind, "1", ("interval.ms", DELETE, None)) == Error.INVALID_REQUEST
    assert alter(bench, kind, "1") == Error.NONE
    (legacy,) = bench.ask(replace_request((kind, "1", {})), 2).responses
    assert legacy.error_code == (Error.INVALID_REQUEST if kind == LOGGER else Error.NONE)
    assert not bench.effects[:-1]


@pytest.mark.rule("WIRE-CONFIG-30")
def test_a_resource_is_changed_whole() -> None:
    bench = Bench("a", retention_ms="5", segment_ms="6")
    operations = (("segment.ms", DELETE, None), ("flush.ms", SET, "7"), ("cleanup.policy", APPEND, "compact"), ("segment.jitter.ms", DELETE, None))
    assert alter(bench, TOPIC_TYPE, "a", *operations) == 0
    assert dict(bench.broker.topics.by_name["a"].overrides) == {"retention.ms": "5", "flush.ms": "7", "cleanup.policy": "delete,compact"}
    changes = [effect.record for effect in bench.effects if isinstance(effect, Persist)]
    assert [(one.is_topic, one.resource, one.name, one.text) for one in changes] == [
        (True, "a", "cleanup.policy", "delete,compact"),
        (True, "a", "flush.ms", "7"),
        (True, "a", "segment.ms", None),
    ]


@pytest.mark.rule("WIRE-CONFIG-31")
def test_lists_are_changed_from_the_resources_own_value_or_the_default() -> None:
    bench = Bench("a")
    throttled = "leader.replication.throttled.replicas"
    for name, operation, text, expected in (
        ("cleanup.policy", APPEND, "compact", "delete,compact"),
        ("cleanup.policy", APPEND, "compact", "delete,compact"),
        ("cleanup.policy", SUBTRACT, "nonsense", "delete,compact"),
        ("cleanup.policy", SUBTRACT, " delete , compact ", "delete,compact"),
        ("cleanup.policy", SUBTRACT, "delete,compact", ""),
        ("cleanup.policy", APPEND, "", ""),
        ("cleanup.policy", APPEND, " compact , delete ,compact", " compact , delete ,compact"),
        (throttled, APPEND, "0:1,2:1,0:1", "0:1,2:1"),
        (throttled, APPEND, "1:1,", "0:1,2:1,1:1"),
        (throttled, SUBTRACT, "2:1,,", "0:1,1:1"),
        (throttled, APPEND, ",", "0:1,1:1"),
        (throttled, APPEND, "", "0:1,1:1,"),
    ):
        assert alter(bench, TOPIC_TYPE, "a", (name, operation, text)) == 0
        assert bench.broker.topics.by_name["a"].overrides[name] == expected
    assert alter(bench, TOPIC_TYPE, "a", ("cleanup.policy", APPEND, "")) == Error.INVALID_CONFIG
    cluster, own = (BROKER, ""), (BROKER, "1")
    assert alter(bench, *cluster, ("log.cleanup.policy", SET, "compact")) == 0
    assert alter(bench, *own, ("log.cleanup.policy", APPEND, "delete")) == 0
    assert bench.broker.topics.broker_configs["1"]["log.cleanup.policy"] == "delete"
    assert alter(bench, *own, ("log.cleanup.policy", SET, "compact")) == 0
    bench.create("b")
    assert alter(bench, TOPIC_TYPE, "b", ("cleanup.policy", SUBTRACT, "compact")) == 0
    assert bench.broker.topics.by_name["b"].overrides["cleanup.policy"] == "delete"


@pytest.mark.rule("WIRE-CONFIG-32")
def test_changes_take_effect_at_once_unless_they_are_only_validated() -> None:
    bench = Bench("a", "b", partitions=2)
    change = alter_request(TOPIC_TYPE, "a", ("retention.ms", SET, "5"))
    before = bench.broker
    for request, version in (
        (changed(change, validate_only=True), 1),
        (replace_request((TOPIC_TYPE, "a", {"retention.ms": "5"}), validate_only=True), 2),
    ):
        (response,) = bench.ask(request, version).responses
        assert response.error_code == 0
        assert bench.broker == before
    bench.ask(change, 1)
    alter(bench, BROKER, "1", ("log.retention.ms", SET, "6"))
    assert [bench.partition(name, index).config.retention_ms for name in ("a", "b") for index in range(2)] == [5, 5, 6, 6]


@pytest.mark.rule("WIRE-CONFIG-33")
def test_the_older_request_replaces() -> None:
    bench = Bench("a", retention_ms="5", segment_ms="6")

    def replaced(kind: int, name: str, **texts: str) -> int:
        given: dict[str, str | None] = {key.replace("_", "."): text for key, text in texts.items()}
        (response,) = bench.ask(replace_request((kind, name, given)), 2).responses
        error: int = response.error_code
        return error

    assert replaced(TOPIC_TYPE, "a", retention_ms="7", flush_ms="8") == 0
    assert dict(bench.broker.topics.by_name["a"].overrides) == {"retention.ms": "7", "flush.ms": "8"}
    assert replaced(TOPIC_TYPE, "a", retention_ms="x") == Error.INVALID_CONFIG
    assert dict(bench.broker.topics.by_name["a"].overrides) == {"retention.ms": "7", "flush.ms": "8"}
    assert replaced(TOPIC_TYPE, "a") == 0
    assert not bench.broker.topics.by_name["a"].overrides
    alter(bench, BROKER, "1", ("log.retention.ms", SET, "5"))
    assert replaced(BROKER, "1", log_segment_bytes="2000000") == 0
    assert dict(bench.broker.topics.broker_configs["1"]) == {"log.segment.bytes": "2000000"}


# ListConfigResources


@pytest.mark.rule("WIRE-CONFIG-40")
@pytest.mark.parametrize("kinds", [(0,), (64,), (2, 1), (-1,)])
def test_an_unknown_type_is_not_listed(kinds: tuple[int, ...]) -> None:
    bench, request = Bench("a"), ListConfigResourcesRequest(kinds)
    assert bench.ask(request, 1) == ListConfigResourcesResponse(error_code=Error.UNSUPPORTED_VERSION)
    assert bench.refused(request, 1) == ("WIRE-CONFIG-40",)


@pytest.mark.rule("WIRE-CONFIG-41")
def test_what_is_listed() -> None:
    bench = Bench("e", "b", "d", "a", "c")
    topics = [ConfigResource(name, 2) for name in "abcde"]
    rest = [ConfigResource("1", 4), ConfigResource("1", 8)]
    for kinds, expected in (
        ((), topics + rest),
        ((2, 2), topics),
        ((8, 2), [*topics, rest[1]]),
        ((4,), rest[:1]),
        ((16, 32), []),
        ((2, 4, 8, 16, 32), topics + rest),
    ):
        assert bench.ask(ListConfigResourcesRequest(kinds), 1) == ListConfigResourcesResponse(0, 0, tuple(expected))
    assert bench.ask(ListConfigResourcesRequest(()), 0) == ListConfigResourcesResponse()
