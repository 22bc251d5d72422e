"""The configuration in force: what a topic sets itself, else what its broker sets, else the default; and what that means for a log.

A broker's setting can come from its file (or command line), or have been changed while it ran, for this broker or for the whole cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from immutables import Map

from fiducial.models.log import LogConfig
from fiducial.models.rules import rule
from fiducial.models.settings import (
    BROKER,
    DYNAMIC,
    HIDDEN,
    TOPIC,
    UNTOLD,
    WITHOUT_DEFAULT,
    Definition,
    Kind,
    SettingError,
    shown,
)
from fiducial.models.values import value

if TYPE_CHECKING:
    from fiducial.models.state import Broker
    from fiducial.models.topics import Topic


class Source(IntEnum):
    """Where a value comes from, as DescribeConfigs says it."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_CLUSTER = 3
    FILE = 4
    DEFAULT = 5


@value
class Origin:
    """One value that a configuration has, or would have without those above it."""

    name: str
    text: str
    source: Source


@value
class Entry:
    """A configuration in force, with all that it is chosen from, the strongest first."""

    definition: Definition
    text: str  # as DescribeConfigs shows it
    source: Source
    origins: tuple[Origin, ...]

    @property
    def name(self) -> str:
        """The configuration's name."""
        return self.definition.name


@rule("WIRE-CONFIG-2")
def broker_origins(broker: Broker, name: str) -> tuple[Origin, ...]:
    """Where a setting of the broker may come from, the strongest first: this broker, the cluster, the file, the default.

    One that has no default of its own and is set would come from other settings, of other names.
    """
    texts = broker.topics.broker_configs
    found: list[Origin] = []
    for resource, source in ((str(broker.cluster.broker_id), Source.DYNAMIC_BROKER), ("", Source.DYNAMIC_CLUSTER)):
        if name in texts.get(resource, {}):
            found.append(Origin(name, texts[resource][name], source))
    if name in broker.settings.given:
        found.append(Origin(name, broker.settings.given[name], Source.FILE))
    if BROKER[name].default or BROKER[name].kind in (Kind.LIST, Kind.STRING):
        found.append(Origin(name, BROKER[name].default, Source.DEFAULT))
    if found and name in WITHOUT_DEFAULT:
        others, default = WITHOUT_DEFAULT[name]
        given = broker.settings.given
        found += [Origin(other, given[other], Source.FILE) for other in others if other in given]
        found.append(Origin(others[-1], default, Source.DEFAULT))
    return tuple(found)


@rule("WIRE-CONFIG-3")
def entry_of_topic(broker: Broker, definition: Definition, overrides: Map[str, str]) -> Entry:
    """A configuration of a topic: its own value, or that of the broker's setting of the same meaning."""
    origins: tuple[Origin, ...] = ()
    if definition.name in overrides:
        origins = (Origin(definition.name, shown(definition, overrides[definition.name]), Source.TOPIC),)
    if definition.synonym:
        origins += broker_origins(broker, definition.synonym)
    if not origins:
        text = broker.settings.in_ms.get(definition.synonym, definition.default)
        return Entry(definition, shown(definition, text), Source.DEFAULT, ())
    return Entry(definition, shown(definition, origins[0].text), origins[0].source, origins)


def entries_of_topic(broker: Broker, overrides: Map[str, str]) -> tuple[Entry, ...]:
    """Every configuration of a topic, by name; hidden ones only if they are set."""
    hidden = tuple(definition for definition in HIDDEN.values() if definition.name in overrides)
    definitions = sorted((*TOPIC.values(), *hidden), key=lambda definition: definition.name)
    return tuple(entry_of_topic(broker, definition, overrides) for definition in definitions)


def entries_of_broker(broker: Broker) -> tuple[Entry, ...]:
    """Every setting of this broker."""
    found = []
    for name, definition in sorted((name, one) for name, one in BROKER.items() if name not in UNTOLD):
        origins = broker_origins(broker, name)
        text = shown(definition, origins[0].text) if origins else ""
        found.append(Entry(definition, text, origins[0].source if origins else Source.DEFAULT, origins))
    return tuple(found)


# Judging


@rule("WIRE-CONFIG-4")
def fault_of_topic(broker: Broker, texts: Mapping[str, str | None]) -> str | None:
    """What is wrong with a set of configurations for a topic, None if nothing is."""
    for name, text in texts.items():
        definition = TOPIC.get(name) or HIDDEN.get(name)
        if definition is None:
            return f"there is no topic configuration {name!r}"
        if text is None:
            return f"{name} needs a value"
        fault = fault_of(definition, text)
        if fault is not None:
            return fault
    overrides = Map({name: text for name, text in texts.items() if text is not None})
    least, most = (
        int(entry_of_topic(broker, TOPIC[name], overrides).text) for name in ("min.compaction.lag.ms", "max.compaction.lag.ms")
    )
    if least > most:
        return "min.compaction.lag.ms is above max.compaction.lag.ms"
    return None


def fault_of(definition: Definition, text: str) -> str | None:
    """What is wrong with one value, None if nothing is."""
    try:
        definition.parsed(text)
    except SettingError as error:
        return str(error)
    return None


def fault_of_broker(texts: Mapping[str, str | None]) -> str | None:
    """What is wrong with a set of changed settings of the broker; only some can be changed while it runs."""
    for name, text in texts.items():
        if name not in DYNAMIC:
            return f"there is no setting {name!r} that can be changed while the broker runs"
        if text is None:
            return f"{name} needs a value"
        fault = fault_of(DYNAMIC[name], text)
        if fault is not None:
            return fault
    return None


# What it means for a log

CODEC_IDS = {"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NO_LEVEL = 0


@rule("WIRE-CONFIG-5", "WIRE-CONFIG-6")
def log_config(broker: Broker, topic: Topic) -> LogConfig:
    """The configuration in force, as a log uses it."""

    def of(name: str) -> Any:
        definition = TOPIC[name]
        return definition.parsed(entry_of_topic(broker, definition, topic.overrides).text)

    codec = of("compression.type")
    hidden = topic.overrides.get("internal.segment.bytes")
    return LogConfig(
        max_message_bytes=of("max.message.bytes"),
        segment_bytes=int(hidden) if hidden is not None else of("segment.bytes"),
        segment_ms=of("segment.ms"),
        segment_jitter_ms=of("segment.jitter.ms"),
        segment_index_bytes=of("segment.index.bytes"),
        index_interval_bytes=of("index.interval.bytes"),
        retention_ms=of("retention.ms"),
        retention_bytes=of("retention.bytes"),
        deletes="delete" in of("cleanup.policy"),
        compacts="compact" in of("cleanup.policy"),
        append_time=of("message.timestamp.type") == "LogAppendTime",
        timestamp_before_max_ms=of("message.timestamp.before.max.ms"),
        timestamp_after_max_ms=of("message.timestamp.after.max.ms"),
        compression=None if codec == "producer" else CODEC_IDS[codec],
        compression_level=of(f"compression.{codec}.level") if codec in ("gzip", "lz4", "zstd") else NO_LEVEL,
        flush_messages=of("flush.messages"),
        flush_ms=of("flush.ms"),
    )
