"""What can be configured, on the broker and on a topic: names, types, defaults and ranges, all of them Kafka's own.

A setting that is not in these tables is refused: nothing is accepted and then ignored. Values are text, as they are written in a file or in a
request; `Definition.parsed` is the one place where text becomes a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from ipaddress import ip_address
from typing import Any

from immutables import Map

from fiducial.models.groups import GroupConfig
from fiducial.models.rules import rule
from fiducial.models.values import EMPTY, changed, value


class SettingError(ValueError):
    """A setting that does not exist, or whose value is not accepted."""


class Kind(IntEnum):
    """The types of DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7


DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
REPLICA = re.compile(r"([0-9]+:[0-9]+)?")
LISTENER = re.compile(r"([A-Za-z0-9_.-]+)://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
SPOKEN = re.compile(r"([A-Za-z0-9_.-]+):(PLAINTEXT|SSL)", re.IGNORECASE)
#: Addresses at which a broker may listen, and nobody connects to.
EVERYWHERE = ("0.0.0.0", "::", "[::]")
BITS = {Kind.INT: 32, Kind.SHORT: 16, Kind.LONG: 64}


@value
class Definition:
    """One configuration: its name, type, default, what it accepts, and in words."""

    name: str
    kind: Kind
    default: str
    accepts: Callable[[Any], bool]
    accepted: str
    doc: str
    synonym: str = ""  # of a topic's configuration: the broker's setting that it defaults to

    def parsed(self, text: str) -> Any:
        """The value that `text` stands for. SettingError if there is none, or it is out of range."""
        try:
            parsed = read(self.kind, text)
        except ValueError:
            raise SettingError(f"{self.name} is of type {self.kind.name.lower()}, which {text!r} is not") from None
        if not self.accepts(parsed):
            raise SettingError(f"{self.name} accepts {self.accepted}, which {text!r} is not")
        return parsed


@rule("WIRE-CONFIG-1")
def read(kind: Kind, text: str) -> Any:
    """Text as a value of `kind`: booleans in any case, numbers with sign and blanks around, lists by comma."""
    match kind:
        case Kind.BOOLEAN:
            return one_of_two(text.strip().lower())
        case Kind.INT | Kind.SHORT | Kind.LONG:
            if "_" in text or not text.isascii():
                raise ValueError(text)
            number, limit = int(text), 2 ** (BITS[kind] - 1)
            if not -limit <= number < limit:
                raise ValueError(text)
            return number
        case Kind.DOUBLE:
            if text.strip() != "NaN" and not DECIMAL.fullmatch(text.strip()):
                raise ValueError(text)
            return float(text)
        case Kind.LIST:
            return tuple(part.strip() for part in text.split(",")) if text.strip() else ()
        case Kind.STRING:
            return text.strip()


def one_of_two(text: str) -> bool:
    """true or false."""
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


@rule("WIRE-CONFIG-9")
def shown(definition: Definition, text: str) -> str:
    """The value in force as DescribeConfigs writes it."""
    parsed = definition.parsed(text)
    match definition.kind:
        case Kind.BOOLEAN:
            return "true" if parsed else "false"
        case Kind.LIST:
            return ",".join(parsed if definition.accepts is is_throttled_list else dict.fromkeys(parsed))
        case Kind.DOUBLE:
            return "NaN" if parsed != parsed else str(parsed)
        case _:
            return str(parsed)


# What is accepted


def anything(_value: Any) -> bool:
    """No limit but the type's."""
    return True


def at_least(low: int) -> Callable[[Any], bool]:
    """`low` or more."""
    return lambda number: number >= low


def between(low: int, high: int) -> Callable[[Any], bool]:
    """From `low` to `high`, both included."""
    return lambda number: low <= number <= high


def one_of(*choices: str) -> Callable[[Any], bool]:
    """One of these, exactly."""
    return lambda text: text in choices


def some_of(*choices: str) -> Callable[[Any], bool]:
    """Any of these, or none."""
    return lambda parts: all(part in choices for part in parts)


def is_throttled_list(parts: tuple[str, ...]) -> bool:
    """Empty, *, or partition:broker entries, some of which may be empty too."""
    return "".join(parts) == "*" or all(REPLICA.fullmatch(part) for part in parts)


def are_endpoints(parts: tuple[str, ...]) -> bool:
    """Addresses that somebody can connect to, each of another listener."""
    found = [one for part in parts if (one := LISTENER.fullmatch(part)) and one[2] not in EVERYWHERE and 0 < int(one[3]) < 65536]
    return len({one[1].upper() for one in found}) == len(parts)


def are_spoken(parts: tuple[str, ...]) -> bool:
    """What is spoken at each listener."""
    return all(SPOKEN.fullmatch(part) for part in parts)


def is_gzip_level(level: int) -> bool:
    """1 … 9, or -1 for the library's own."""
    return level == -1 or 1 <= level <= 9


def is_ratio(number: float) -> bool:
    """0 … 1; NaN passes, as in Kafka."""
    return not (number < 0 or number > 1)


LONG_MAX = str(2**63 - 1)
CODECS = ("uncompressed", "gzip", "snappy", "lz4", "zstd")


def definition(
    name: str, kind: Kind, default: str, accepts: Callable[[Any], bool], accepted: str, synonym: str, doc: str
) -> Definition:
    """A row of the table below."""
    return Definition(name, kind, default, accepts, accepted, doc, synonym)


#: The configurations of a topic, by name.
TOPIC: Mapping[str, Definition] = {
    row.name: row
    for row in (
        definition("cleanup.policy", Kind.LIST, "delete", some_of("compact", "delete"), "any of compact, delete", "log.cleanup.policy", "What becomes of old segments."),
        definition("compression.gzip.level", Kind.INT, "-1", is_gzip_level, "1 to 9, or -1", "compression.gzip.level", "The level when the broker compresses with gzip."),
        definition("compression.lz4.level", Kind.INT, "9", between(1, 17), "1 to 17", "compression.lz4.level", "The level when the broker compresses with lz4."),
        definition("compression.type", Kind.STRING, "producer", one_of(*CODECS, "producer"), "uncompressed, gzip, snappy, lz4, zstd or producer", "compression.type", "The codec that batches are stored in."),
        definition("compression.zstd.level", Kind.INT, "3", between(-131072, 22), "-131072 to 22", "compression.zstd.level", "The level when the broker compresses with zstd."),
        definition("delete.retention.ms", Kind.LONG, "86400000", at_least(0), "0 or more", "log.cleaner.delete.retention.ms", "How long tombstones are kept."),
        definition("file.delete.delay.ms", Kind.LONG, "60000", at_least(0), "0 or more", "log.segment.delete.delay.ms", "How long the file of a deleted segment stays."),
        definition("flush.messages", Kind.LONG, LONG_MAX, at_least(1), "1 or more", "log.flush.interval.messages", "Records between two forced flushes."),
        definition("flush.ms", Kind.LONG, LONG_MAX, at_least(0), "0 or more", "log.flush.interval.ms", "Time between two forced flushes."),
        definition("follower.replication.throttled.replicas", Kind.LIST, "", is_throttled_list, "*, or partition:broker entries", "", "Replicas that are throttled as followers."),
        definition("index.interval.bytes", Kind.INT, "4096", at_least(0), "0 or more", "log.index.interval.bytes", "Bytes between two entries of the offset index."),
        definition("leader.replication.throttled.replicas", Kind.LIST, "", is_throttled_list, "*, or partition:broker entries", "", "Replicas that are throttled as leaders."),
        definition("local.retention.bytes", Kind.LONG, "-2", at_least(-2), "-2 or more", "log.local.retention.bytes", "Bytes kept here of a tiered log."),
        definition("local.retention.ms", Kind.LONG, "-2", at_least(-2), "-2 or more", "log.local.retention.ms", "Time kept here of a tiered log."),
        definition("max.compaction.lag.ms", Kind.LONG, LONG_MAX, at_least(1), "1 or more", "log.cleaner.max.compaction.lag.ms", "How long a record may stay uncompacted."),
        definition("max.message.bytes", Kind.INT, "1048588", at_least(0), "0 or more", "message.max.bytes", "The largest batch that is taken."),
        definition("message.timestamp.after.max.ms", Kind.LONG, "3600000", at_least(0), "0 or more", "log.message.timestamp.after.max.ms", "How far a record may be ahead of the broker."),
        definition("message.timestamp.before.max.ms", Kind.LONG, LONG_MAX, at_least(0), "0 or more", "log.message.timestamp.before.max.ms", "How far a record may be behind the broker."),
        definition("message.timestamp.type", Kind.STRING, "CreateTime", one_of("CreateTime", "LogAppendTime"), "CreateTime or LogAppendTime", "log.message.timestamp.type", "Whose time records carry."),
        definition("min.cleanable.dirty.ratio", Kind.DOUBLE, "0.5", is_ratio, "0 to 1", "log.cleaner.min.cleanable.ratio", "How dirty a log is before it is compacted."),
        definition("min.compaction.lag.ms", Kind.LONG, "0", at_least(0), "0 or more", "log.cleaner.min.compaction.lag.ms", "How long a record stays uncompacted at least."),
        definition("min.insync.replicas", Kind.INT, "1", at_least(1), "1 or more", "min.insync.replicas", "Replicas that must have a batch before it is acknowledged."),
        definition("preallocate", Kind.BOOLEAN, "false", anything, "true or false", "log.preallocate", "Whether segment files are made at full size."),
        definition("remote.log.copy.disable", Kind.BOOLEAN, "false", anything, "true or false", "", "Whether tiering stops copying."),
        definition("remote.log.delete.on.disable", Kind.BOOLEAN, "false", anything, "true or false", "", "Whether tiered data goes when tiering ends."),
        definition("remote.storage.enable", Kind.BOOLEAN, "false", lambda enabled: not enabled, "false, since tiering is off", "", "Whether the log is tiered."),
        definition("retention.bytes", Kind.LONG, "-1", anything, "any number", "log.retention.bytes", "Bytes that are kept; -1 for all."),
        definition("retention.ms", Kind.LONG, "604800000", at_least(-1), "-1 or more", "log.retention.ms", "Time that is kept; -1 for ever."),
        definition("segment.bytes", Kind.INT, "1073741824", at_least(1 << 20), "1048576 or more", "log.segment.bytes", "The largest segment."),
        definition("segment.index.bytes", Kind.INT, "10485760", at_least(4), "4 or more", "log.index.size.max.bytes", "The largest index."),
        definition("segment.jitter.ms", Kind.LONG, "0", at_least(0), "0 or more", "log.roll.jitter.ms", "By how much a segment may roll early."),
        definition("segment.ms", Kind.LONG, "604800000", at_least(1), "1 or more", "log.roll.ms", "The longest time that a segment spans."),
        definition("unclean.leader.election.enable", Kind.BOOLEAN, "false", anything, "true or false", "unclean.leader.election.enable", "Whether a replica out of sync may lead."),
    )
}  # fmt: skip

#: Taken, but not shown unless it is set: small segments for tests.
HIDDEN: Mapping[str, Definition] = {
    "internal.segment.bytes": definition("internal.segment.bytes", Kind.INT, "", anything, "any number", "", "Overrides segment.bytes, without its minimum.")
}  # fmt: skip

#: The broker's own settings, beside those that topics default to.
BROKER_ONLY: Mapping[str, Definition] = {
    row.name: row
    for row in (
        definition("advertised.listeners", Kind.LIST, "", are_endpoints, "NAME://HOST:PORT of each listener, or nothing", "", "Where clients find this broker, if not where it listens."),
        definition("auto.create.topics.enable", Kind.BOOLEAN, "true", anything, "true or false", "", "Whether Metadata creates topics."),
        definition("broker.id", Kind.INT, "1", at_least(0), "0 or more", "", "This broker's id."),
        definition("connections.max.idle.ms", Kind.LONG, "600000", at_least(1), "1 or more", "", "When a silent connection is closed."),
        definition("default.replication.factor", Kind.INT, "1", at_least(1), "1 or more", "", "Replicas of a topic that does not say."),
        definition("delete.topic.enable", Kind.BOOLEAN, "true", anything, "true or false", "", "Whether topics can be deleted."),
        definition("fetch.max.bytes", Kind.INT, "57671680", at_least(1024), "1024 or more", "", "The most that one Fetch returns."),
        definition("group.initial.rebalance.delay.ms", Kind.INT, "3000", anything, "any number", "", "How long the first rebalance of an empty group waits for more members."),
        definition("group.max.session.timeout.ms", Kind.INT, "1800000", anything, "any number", "", "The longest session timeout of a member."),
        definition("group.max.size", Kind.INT, "2147483647", at_least(1), "1 or more", "", "The most members of a group."),
        definition("group.min.session.timeout.ms", Kind.INT, "6000", anything, "any number", "", "The shortest session timeout of a member."),
        definition("listener.security.protocol.map", Kind.LIST, "PLAINTEXT:PLAINTEXT,SSL:SSL", are_spoken, "NAME:PLAINTEXT or NAME:SSL of each listener", "", "How clients speak at the listeners. DescribeConfigs does not tell of it."),
        definition("log.retention.check.interval.ms", Kind.LONG, "300000", at_least(1), "1 or more", "", "How often retention and expiry look."),
        definition("log.retention.hours", Kind.INT, "168", anything, "any number", "", "log.retention.ms in hours."),
        definition("log.retention.minutes", Kind.INT, "", anything, "any number", "", "log.retention.ms in minutes."),
        definition("log.roll.hours", Kind.INT, "168", at_least(1), "1 or more", "", "log.roll.ms in hours."),
        definition("max.incremental.fetch.session.cache.slots", Kind.INT, "1000", at_least(0), "0 or more", "", "How many fetch sessions there are at most."),
        definition("max.request.partition.size.limit", Kind.INT, "2000", at_least(1), "1 or more", "", "The most partitions that DescribeTopicPartitions returns."),
        definition("num.network.threads", Kind.INT, "", at_least(1), "1 or more", "", "I/O threads; without it as many as there are processors, at most 4. DescribeConfigs does not tell of it."),
        definition("num.partitions", Kind.INT, "1", at_least(1), "1 or more", "", "Partitions of a topic that does not say."),
        definition("offset.metadata.max.bytes", Kind.INT, "4096", anything, "any number", "", "The longest metadata of a committed offset."),
        definition("offsets.retention.check.interval.ms", Kind.LONG, "600000", at_least(1), "1 or more", "", "How often is looked for committed offsets that are too old."),
        definition("offsets.retention.minutes", Kind.INT, "10080", at_least(1), "1 or more", "", "How long offsets are kept that nobody reads by."),
        definition("offsets.topic.num.partitions", Kind.INT, "50", at_least(1), "1 or more", "", "Partitions of __consumer_offsets."),
        definition("offsets.topic.segment.bytes", Kind.INT, "104857600", at_least(1), "1 or more", "", "The largest segment of __consumer_offsets."),
        definition("producer.id.expiration.ms", Kind.INT, "86400000", at_least(1), "1 or more", "", "When a silent producer is forgotten."),
        definition("queued.max.request.bytes", Kind.LONG, "-1", anything, "any number", "", "What all clients may have sent that cannot be handled yet; 0 or less for no limit."),
        definition("socket.request.max.bytes", Kind.INT, "104857600", at_least(1), "1 or more", "", "The largest request."),
        definition("ssl.client.auth", Kind.STRING, "none", one_of("none", "requested", "required"), "none, requested or required", "", "Whether clients have to show a certificate. DescribeConfigs tells of no ssl setting."),
        definition("ssl.key.password", Kind.STRING, "", anything, "any text", "", "What the private key is encrypted with."),
        definition("ssl.keystore.location", Kind.STRING, "", anything, "a file", "", "The private key and the chain of certificates of this broker."),
        definition("ssl.keystore.type", Kind.STRING, "PEM", one_of("PEM"), "PEM", "", "Its format."),
        definition("ssl.truststore.location", Kind.STRING, "", anything, "a file", "", "The certificates by which those of clients are judged."),
        definition("ssl.truststore.type", Kind.STRING, "PEM", one_of("PEM"), "PEM", "", "Its format."),
    )
}  # fmt: skip

#: These have no default of their own: unless they are set, others decide, most in coarser units; their names, and the default of the last.
WITHOUT_DEFAULT: Mapping[str, tuple[tuple[str, ...], str]] = {
    "log.flush.interval.ms": (("log.flush.scheduler.interval.ms",), LONG_MAX),
    "log.retention.ms": (("log.retention.minutes", "log.retention.hours"), "168"),
    "log.roll.jitter.ms": (("log.roll.jitter.hours",), "0"),
    "log.roll.ms": (("log.roll.hours",), "168"),
}

#: The broker's settings that can be changed while it runs: those that topics default to.
DYNAMIC: Mapping[str, Definition] = {
    row.synonym: Definition(
        row.synonym, row.kind, "" if row.synonym in WITHOUT_DEFAULT else row.default, row.accepts, row.accepted, row.doc
    )
    for row in TOPIC.values()
    if row.synonym
}

BROKER: Mapping[str, Definition] = {**BROKER_ONLY, **DYNAMIC}

#: Taken, but not told of: Kafka's have other defaults, and can be changed while it runs.
UNTOLD = frozenset({"listener.security.protocol.map", "num.network.threads", *(name for name in BROKER_ONLY if name.startswith("ssl."))})

#: How clients speak to a broker.
PLAINTEXT, SSL = "PLAINTEXT", "SSL"


@value
class Tls:
    """What a broker shows of itself to clients, and wants of them: files in the PEM format, and the password of the key."""

    key_store: str = ""
    key_password: str = ""
    trust_store: str = ""
    client_auth: str = "none"


@value
class Listener:
    """Where a broker listens, by which name, and how clients speak there: PLAINTEXT or SSL."""

    name: str
    protocol: str
    host: str
    port: int  # 0: any that is free

    def bound(self, address: str, port: int) -> Listener:
        """It, open there: its host as it was given; where that only stands for every address, as * and 0 do, the address by which that is known."""
        return changed(self, port=port, host=address if address in EVERYWHERE else self.host)


@value
class Settings:
    """The broker's settings: those that decisions ask for, and what was given, for DescribeConfigs."""

    given: Map[str, str] = EMPTY
    auto_create_topics: bool = True
    broker_id: int = 1
    connections_max_idle_ms: int = 600_000
    default_replication_factor: int = 1
    delete_topic_enable: bool = True
    fetch_max_bytes: int = 57_671_680
    log_retention_check_interval_ms: int = 300_000
    max_incremental_fetch_session_cache_slots: int = 1000
    max_request_partition_size_limit: int = 2000
    num_network_threads: int | None = None
    num_partitions: int = 1
    producer_id_expiration_ms: int = 86_400_000
    queued_max_request_bytes: int = -1
    socket_request_max_bytes: int = 104_857_600
    in_ms: Map[str, str] = EMPTY  # what hours and minutes stand for where no ms are given
    groups: GroupConfig = GroupConfig()
    offsets_retention_check_interval_ms: int = 600_000
    offsets_topic_num_partitions: int = 50
    offsets_topic_segment_bytes: int = 104_857_600
    advertised_listeners: tuple[str, ...] = ()
    tls: Tls = Tls()
    protocols: Map[str, str] = Map({PLAINTEXT: PLAINTEXT, SSL: SSL})  # by listener


@rule("WIRE-CONFIG-7")
def parse(given: Mapping[str, str]) -> Settings:
    """The settings that names and texts stand for. SettingError for an unknown name or a value that is not accepted."""
    for name, text in given.items():
        if name not in BROKER:
            raise SettingError(f"there is no setting {name!r}")
        BROKER[name].parsed(text)

    def of(name: str) -> Any:
        return BROKER[name].parsed(given.get(name, BROKER[name].default))

    return Settings(
        Map(given),
        of("auto.create.topics.enable"),
        of("broker.id"),
        of("connections.max.idle.ms"),
        of("default.replication.factor"),
        of("delete.topic.enable"),
        of("fetch.max.bytes"),
        of("log.retention.check.interval.ms"),
        of("max.incremental.fetch.session.cache.slots"),
        of("max.request.partition.size.limit"),
        of("num.network.threads") if "num.network.threads" in given else None,
        of("num.partitions"),
        of("producer.id.expiration.ms"),
        of("queued.max.request.bytes"),
        of("socket.request.max.bytes"),
        Map(in_ms(given)),
        GroupConfig(
            of("group.min.session.timeout.ms"),
            of("group.max.session.timeout.ms"),
            of("group.max.size"),
            of("group.initial.rebalance.delay.ms"),
            of("offset.metadata.max.bytes"),
            of("offsets.retention.minutes") * 60_000,
        ),
        of("offsets.retention.check.interval.ms"),
        of("offsets.topic.num.partitions"),
        of("offsets.topic.segment.bytes"),
        of("advertised.listeners"),
        Tls(of("ssl.keystore.location"), of("ssl.key.password"), of("ssl.truststore.location"), of("ssl.client.auth")),
        Map(part.upper().split(":") for part in of("listener.security.protocol.map")),
    )


@rule("WIRE-META-17")
def listeners_of(settings: Settings, places: Sequence[tuple[str, str, int]]) -> tuple[Listener, ...]:
    """Who listens at these places: name, host and port of each. SettingError if nobody knows what is spoken there, or two cannot be told apart."""
    found: list[Listener] = []
    for name, host, port in places:
        one = Listener(name.upper(), settings.protocols.get(name.upper(), ""), host, port)
        if not one.protocol:
            raise SettingError(f"how do clients speak at {one.name}? listener.security.protocol.map does not say")
        for other in found:
            if other.name == one.name:
                raise SettingError(f"two listeners are called {one.name}: give each a name of its own, and tell by listener.security.protocol.map how clients speak there")
            if other.port == one.port != 0 and not are_of_two_families(other.host, one.host):
                raise SettingError(f"{other.name} and {one.name} both listen at port {one.port}")
        found.append(one)
    return tuple(found)


def are_of_two_families(*hosts: str) -> bool:
    """Is one an address of IPv4, and the other one of IPv6? They do not meet."""
    try:
        return len({ip_address(host).version for host in hosts}) > 1
    except ValueError:
        return False


@rule("WIRE-META-15")
def advertised(settings: Settings, listeners: Sequence[Listener]) -> tuple[tuple[str, int], ...]:
    """Where clients are told to go that come by each listener: host and port. SettingError if they could not, or it is not known."""
    matches = [LISTENER.fullmatch(part) for part in settings.advertised_listeners]
    told = {one[1].upper(): (one[2].removeprefix("[").removesuffix("]"), int(one[3])) for one in matches if one}
    names = [listener.name for listener in listeners]
    for name in told:
        if name not in names:
            raise SettingError(f"advertised.listeners tells of {name}, and there is no such listener, but {', '.join(names)}")
    for listener in listeners:
        if told and listener.name not in told:
            raise SettingError(f"advertised.listeners does not tell of {listener.name}")
        if not told and listener.host in EVERYWHERE:
            raise SettingError(f"who listens at {listener.host} has to say where clients find it: set advertised.listeners={listener.name}://HOST:PORT")
    return tuple(told.get(listener.name, (listener.host, listener.port)) for listener in listeners)


@rule("WIRE-CONFIG-8")
def in_ms(given: Mapping[str, str]) -> dict[str, str]:
    """Hours and minutes as the settings in ms that they stand for, unless those are given; the finer unit wins."""
    found: dict[str, str] = {}
    for target, source, ms in (
        ("log.retention.ms", "log.retention.minutes", 60_000),
        ("log.retention.ms", "log.retention.hours", 3_600_000),
        ("log.roll.ms", "log.roll.hours", 3_600_000),
    ):
        if source in given and target not in given and target not in found:
            amount = int(given[source])
            found[target] = str(amount * ms if amount >= 0 else -1)
    return found
