"""Deviations of real brokers, as data, for the reference broker to have while it serves: does the judge find them, and under the right rule?

    with switched_on(["D1", "P29"]):
        server.run(...)

Beside the flaws of the models that a client can see stand those that other brokers had (P or H and a number, as in the catalogues that they were
collected in) and some of ours (W); many lie in answers, in bytes and on connections, of which the models know nothing. A broker that is not flawed pays nothing:
this is not imported until a flaw is asked for.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from fiducial.models import (
    apis,
    broker,
    config_requests,
    group_events,
    group_offsets,
    group_phases,
    group_requests,
    groups,
    idempotence,
    kernels,
    log,
    metadata,
    partition,
    topics,
)
from fiducial.models import flaws as of_models
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, Verdict
from fiducial.models.batches import SentBatch, StoredBatch
from fiducial.models.errors import Error
from fiducial.models.events import Reply
from fiducial.models.groups import State
from fiducial.models.idempotence import ProducerEntry
from fiducial.models.log import Found, Log, LogConfig, Plan
from fiducial.models.partition import Fetch, Partition
from fiducial.models.rules import LADDERS
from fiducial.models.settings import TOPIC
from fiducial.models.state import Broker
from fiducial.models.topics import Draft
from fiducial.models.values import changed, value
from fiducial.reference import codec, core
from fiducial.reference.codec import INT16, Malformed, Reader
from fiducial.reference.core import Action, Core, Hangup, Header, Send
from fiducial.reference.server import Connection

DESCRIBE_CLUSTER = 60
Switch = Callable[[], AbstractContextManager[None]]


@value
class Flaw:
    """One deviation. `rules`: those that it breaks, as a client sees it."""

    id: str
    whose: str  # the broker that had it, or the issue that tells of it
    title: str  # what is wrong while it is switched on
    rules: tuple[str, ...]
    switched_on: Switch


#: By name, in the order in which they are listed.
FLAWS: dict[str, Flaw] = {}


@contextmanager
def switched_on(names: Iterable[str]) -> Iterator[None]:
    """All these, while the block runs. KeyError for a name that is none."""
    with ExitStack() as stack:
        for flaw in [FLAWS[name] for name in names]:
            stack.enter_context(flaw.switched_on())
        yield


def listed(flaw: Flaw) -> str:
    """A flaw in a line."""
    return f"{flaw.id}: {flaw.title} ({flaw.whose}; breaks {', '.join(flaw.rules)})"


# Of the models

#: Flaws of the models that no client of one broker can see, and why.
UNSEEN: dict[str, str] = {}


def unseen(reason: str, *names: str) -> None:
    """Say why no client can see these."""
    UNSEEN.update(dict.fromkeys(names, reason))


unseen("one broker that stays up leads in one epoch only", "A2", "A6", "A7")
unseen("nothing is written that is not committed at once: the high watermark is the log end", "A19", "C1", "C3", "C4", "C5", "X3", "X4")
unseen("needs a log on disk", "A26")
unseen("shows only after a restart", "X14", "X21")
unseen("a fault of a client", "G7")
unseen("shows only where nobody coordinates", "P40")
unseen("needs transactions", "P50")
unseen("where a segment ends is the broker's own affair", "X2", "X8")
unseen("how the threads of a broker take turns shows by chance alone", *(name for name in of_models.FLAWS if name.startswith("T")))

#: Where a client sees others of their rules broken than the models do.
SEEN_AS = {"A21": ("LOG-SESSION-10",), "X5": ("LOG-DELETE-3",), "X16": ("GROUP-STATIC-2",), "X17": ("GROUP-COMMIT-10",)}

FLAWS |= {
    one.id: Flaw(one.id, one.issue, one.title, SEEN_AS.get(one.id, one.rules), functools.partial(of_models.switched_on, one))
    for one in of_models.FLAWS.values()
    if one.replacement is not None and one.id not in UNSEEN
}


# Of rungs, functions and answers


def without_rung(id_: str, whose: str, title: str, rule: str) -> None:
    """Register a refusal that is not made: the rungs of a rule, out of their ladders."""
    rungs = [(ladder, rung) for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule == rule]

    @contextmanager
    def removed() -> Iterator[None]:
        with ExitStack() as stack:
            for ladder, rung in rungs:
                stack.enter_context(of_models.rung_removed(ladder, rung))
            yield

    register(Flaw(id_, whose, title, (rule,), removed))


def register(flaw: Flaw) -> None:
    """Add it to the list."""
    assert flaw.id not in FLAWS, f"two flaws called {flaw.id}"
    FLAWS[flaw.id] = flaw


Around = Callable[..., Any]


def around(target: Callable[..., Any], id_: str, whose: str, title: str, *rules: str) -> Callable[[Around], Around]:
    """Register the decorated function as what the flaw puts around `target`, which it is given first."""
    where = f"{target.__module__}:{target.__qualname__}"

    def decorate(wrapper: Around) -> Around:
        def made(original: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(original)
            def flawed(*args: Any, **named: Any) -> Any:
                return wrapper(original, *args, **named)

            return flawed

        register(Flaw(id_, whose, title, rules, lambda: of_models.replaced(where, made)))
        return wrapper

    return decorate


def in_answers(kind: type, id_: str, whose: str, title: str, *rules: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the decorated function as what becomes of each answer of this kind."""

    def decorate(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @around(Core.answer, id_, whose, title, *rules)
        def answers(original: Callable[[Core, Reply], Send], here: Core, reply: Reply) -> Send:
            is_meant = isinstance(reply.body, kind)
            return original(here, changed(reply, body=change(reply.body)) if is_meant else reply)

        return change

    return decorate


#: Where the parts of an answer that are about one partition each stand.
PARTS: dict[type, tuple[str, str]] = {
    m.ProduceResponse: ("responses", "partition_responses"),
    m.FetchResponse: ("responses", "partitions"),
    m.ListOffsetsResponse: ("topics", "partitions"),
    m.MetadataResponse: ("topics", "partitions"),
}


def in_parts(kind: type, id_: str, whose: str, title: str, *rules: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the decorated function as what becomes of each partition's part of each answer of this kind."""
    by_topic, parts = PARTS[kind]

    def decorate(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def changed_topic(topic: Any) -> Any:
            return changed(topic, **{parts: tuple(map(change, getattr(topic, parts)))})

        @in_answers(kind, id_, whose, title, *rules)
        def answers(answer: Any) -> Any:
            return changed(answer, **{by_topic: tuple(map(changed_topic, getattr(answer, by_topic)))})

        return change

    return decorate


# The idempotent producer


@around(idempotence.duplicate_of, "P1", "Redpanda to 21.10.2 (redpanda#3038, #3039)", "a batch that is sent again is refused for its sequence", "IDEM-DUP-1")
def recognises_nothing(_original: Around, _entry: ProducerEntry, _plan: Plan) -> None:
    return None


@around(kernels.sequence_after, "D7b", "KAFKA-7693", "the sequences within a batch do not wrap", "IDEM-SEQ-4")
def goes_on_beyond(_original: Around, sequence: int, count: int) -> int:
    return sequence + count


@around(idempotence.epoch_is_old, "P3", "Redpanda (redpanda#22687)", "a producer may not raise its epoch", "IDEM-EPOCH-3")
def knows_one_epoch(original: Around, entry: ProducerEntry, plan: Plan) -> Any:
    return original(entry, plan) or (idempotence.is_known(entry) and plan.producer_epoch > entry.epoch)


@in_parts(m.ProduceResponse, "P14", "Kafka on Pulsar (kop#1443)", "an old epoch is answered UNKNOWN_SERVER_ERROR", "IDEM-EPOCH-1")
def as_unknown(part: m.PartitionProduceResponse) -> m.PartitionProduceResponse:
    return changed(part, error_code=Error.UNKNOWN_SERVER_ERROR) if part.error_code == Error.INVALID_PRODUCER_EPOCH else part


# Produce


@around(broker.closes, "W1", "ours", "without acks, an error goes unsaid", "LOG-PRODUCE-9")
def closes_never(_original: Around, _request: Any, _outcome: Any) -> bool:
    return False


@around(Core.answer, "P29", "Azure Event Hubs (franz-go)", "a produce without acks is answered", "LOG-PRODUCE-9", "IDEM-DUP-7")
def answers_everything(original: Around, here: Core, reply: Reply) -> Any:
    return original(here, reply if reply.body is not None else changed(reply, body=m.ProduceResponse()))


without_rung("P30", "Tansu", "a record without a key is taken by a compacted topic", "LOG-BATCH-15")
without_rung("P31", "Tansu", "max.message.bytes limits nothing", "LOG-BATCH-8")


@in_parts(m.ProduceResponse, "H1", "Bufstream 0.1.0 (Jepsen)", "acknowledgements tell offset 0", "LOG-APPEND-7")
def at_zero(part: m.PartitionProduceResponse) -> m.PartitionProduceResponse:
    return changed(part, base_offset=0) if part.error_code == Error.NONE else part


@around(log.planned, "P36a", "Redpanda (redpanda#626)", "LogAppendTime is ignored", "LOG-APPEND-5")
def keeps_the_clients_time(original: Around, batch: SentBatch, config: LogConfig, now: int) -> Any:
    return original(batch, changed(config, append_time=False), now)


@around(log.stored_timestamp, "P38", "Redpanda (redpanda#4010)", "of the greatest timestamp 32 bits are kept", "LOG-APPEND-6")
def keeps_32_bits(original: Around, batch: SentBatch, config: LogConfig, now: int) -> Any:
    return original(batch, config, now) & 0xFFFFFFFF


# Fetch


@around(partition.fetch_is_out_of_range, "P26", "Redpanda (redpanda#4201)", "beyond the log end there is nothing, and no error", "LOG-READ-1")
def forgives_beyond_the_end(original: Around, here: Partition, asked: Fetch) -> Any:
    return asked.offset <= here.log.end and original(here, asked)


@in_parts(m.FetchResponse, "P27", "Redpanda (redpanda#580)", "a fetch that finds nothing is not told the marks", "LOG-READ-4")
def without_marks(part: m.PartitionData) -> m.PartitionData:
    is_empty = part.records is None or part.records.size_bytes == 0
    return changed(part, high_watermark=-1, last_stable_offset=-1, log_start_offset=-1) if is_empty else part


@around(log.readable_bytes, "P28", "brokers before KIP-74", "a batch that is larger than the limit is never returned", "LOG-READ-5")
def keeps_the_limit(original: Around, here: Log, offset: int, *, below: int, max_bytes: int, whole_first: bool) -> Any:
    return original(here, offset, below=below, max_bytes=max_bytes, whole_first=False)


@in_parts(m.FetchResponse, "P9", "Redpanda (redpanda#18852)", "a list of aborted transactions for whoever reads uncommitted", "LOG-READ-8")
def with_aborted(part: m.PartitionData) -> m.PartitionData:
    return changed(part, aborted_transactions=part.aborted_transactions or ())


@in_parts(m.FetchResponse, "P55", "Azure Event Hubs", "bytes that may not be null are", "LOG-READ-4", "LOG-READ-9")
def without_records(part: m.PartitionData) -> m.PartitionData:
    return part if part.records is not None and part.records.size_bytes else changed(part, records=None)


# ListOffsets


@around(partition.latest_offset, "P12", "Redpanda (redpanda#25918)", "the log ends one offset late", "LOG-TIME-5")
def ends_late(original: Around, here: Partition, asked: Any) -> Any:
    return original(here, asked) + 1


@around(log.first_at_or_after, "P33a", "Redpanda (redpanda#6604)", "a lookup by time finds batches, not records", "LOG-TIME-2")
def finds_batches(original: Around, here: Log, timestamp: int) -> Found:
    found: Found = original(here, timestamp)
    ordinal = log.batch_at(here, found.offset) if found.offset >= 0 else None
    return found if ordinal is None else changed(found, offset=here.batches[ordinal].base_offset)


@around(log.first_at_or_after, "P33b", "Kafka on Pulsar (kop#334)", "a lookup by time finds the record before", "LOG-TIME-2")
def finds_the_one_before(original: Around, here: Log, timestamp: int) -> Found:
    found: Found = original(here, timestamp)
    return changed(found, offset=max(found.offset - 1, here.start)) if found.offset >= 0 else found


@in_parts(m.ListOffsetsResponse, "P34", "Kafka on Pulsar (kop#135)", "a lookup by time does not tell the time it found", "LOG-TIME-2")
def without_time(part: m.ListOffsetsPartitionResponse) -> m.ListOffsetsPartitionResponse:
    return changed(part, timestamp=-1)


@around(log.timestamps, "P36b", "Redpanda (redpanda#27674)", "lookups go by the client's time, whose time ever counts", "LOG-TIME-2")
def goes_by_the_clients_time(original: Around, batch: StoredBatch) -> Any:
    return original(changed(batch, has_append_time=False))


@around(log.first_with_max_timestamp, "P37", "KAFKA-16310", "the greatest timestamp is found at the end of its batch", "LOG-TIME-3")
def finds_the_last_of_the_batch(original: Around, here: Log) -> Found:
    found: Found = original(here)
    ordinal = log.batch_at(here, found.offset) if found.offset >= 0 else None
    return found if ordinal is None else changed(found, offset=here.batches[ordinal].last_offset)


# DeleteRecords


@around(partition.is_beyond_high_watermark, "W2", "ours", "to delete what is gone already is refused", "LOG-DELETE-3")
def refuses_what_is_done(original: Around, here: Partition, offset: int) -> Any:
    return original(here, offset) or 0 <= offset < here.log.start


@around(partition.is_beyond_high_watermark, "W3", "ours", "-1 does not stand for the high watermark", "LOG-DELETE-4")
def knows_no_minus_one(original: Around, here: Partition, offset: int) -> Any:
    return original(here, offset) or offset < 0


without_rung("W4", "ours", "records go from a topic that is only compacted", "LOG-DELETE-1")


# Topics and configurations

without_rung("W5", "ours", "any name will do for a topic", "WIRE-TOPIC-5")


@around(topics.config_is_bad, "P58", "Tansu (librdkafka 0081)", "a configuration that nobody knows is taken", "WIRE-TOPIC-8")
def takes_what_nobody_knows(original: Around, here: Broker, draft: Draft) -> Any:
    return all(entry.name in TOPIC for entry in draft.topic.configs) and original(here, draft)


@around(metadata.creates, "P57", "Tansu to 2026-06", "topics are created for whoever asks, wanted or not", "WIRE-META-8")
def creates_for_all(_original: Around, here: Broker, _request: Any, _api_version: int) -> Any:
    return here.settings.auto_create_topics


@in_answers(m.CreatePartitionsResponse, "P59", "Tansu (librdkafka 0044)", "CreatePartitions answers for no topic", "WIRE-TOPIC-32")
def answers_for_nobody(answer: m.CreatePartitionsResponse) -> m.CreatePartitionsResponse:
    return changed(answer, results=())


@in_answers(m.DescribeConfigsResponse, "P60", "Tansu (librdkafka 0092)", "a resource is described by nothing", "WIRE-CONFIG-15")
def describes_nothing(answer: m.DescribeConfigsResponse) -> m.DescribeConfigsResponse:
    return changed(answer, results=tuple(changed(one, configs=()) for one in answer.results))


@around(config_requests.relisted, "P61", "Tansu", "a change to a list brings the request down", "WIRE-CONFIG-31")
def panics(_original: Around, *_args: Any, **_named: Any) -> Any:
    raise NotImplementedError


@in_parts(m.MetadataResponse, "P64", "Redpanda (redpanda#1181)", "Metadata tells no leader epoch", "WIRE-META-9")
def in_no_epoch(part: m.MetadataResponsePartition) -> m.MetadataResponsePartition:
    return changed(part, leader_epoch=-1)


# Groups


@around(group_offsets.offset_fetch, "P39", "ours", "what a group that is not there has committed is an error", "GROUP-OFFSET-1")
def knows_the_groups_that_committed(original: Around, request: Any, api_version: int, offsets_of: Any, topics_: Any) -> Any:
    answer, rules = original(request, api_version, offsets_of, topics_)
    told = tuple(one if offsets_of(one.group_id) else changed(one, error_code=Error.GROUP_ID_NOT_FOUND) for one in answer.groups)
    is_missing = 2 <= api_version < 8 and not offsets_of(request.group_id)
    return changed(answer, groups=told, error_code=Error.GROUP_ID_NOT_FOUND if is_missing else answer.error_code), rules


@around(group_offsets.fetched, "P41a", "Tansu (librdkafka 0099, 0140)", "what a client says of an offset is lost", "GROUP-COMMIT-10")
def loses_metadata(original: Around, *args: Any) -> Any:
    return changed(original(*args), metadata="")


@around(group_offsets.fetched, "P41b", "Redpanda (redpanda#1181)", "the leader epoch of an offset is not the one that was committed", "GROUP-COMMIT-10")
def loses_epochs(original: Around, *args: Any) -> Any:
    return changed(original(*args), leader_epoch=0)


@around(group_requests.with_offsets, "P42", "WarpStream (librdkafka#4442)", "behind a leader epoch none can be committed any more", "GROUP-COMMIT-10")
def wants_epochs(original: Around, all_groups: group_requests.Groups, group_id: str, commits: Iterable[group_offsets.OffsetCommitted]) -> Any:
    there = group_requests.offsets_of(all_groups, group_id)
    epochs = {key: one.leader_epoch for key, one in there.items()}
    return original(all_groups, group_id, [one for one in commits if one.committed.leader_epoch >= epochs.get((one.topic, one.partition), -1)])


@around(group_events.replaces, "P43", "Redpanda (redpanda#23693), KAFKA-14009", "a static member that comes anew keeps its old session timeout", "GROUP-STATIC-2")
def keeps_the_session(original: Around, turn: groups.Turn, asked: groups.Asked, member_id: str) -> Any:
    old = turn.group.members[turn.group.statics[str(asked.instance_id)]]
    return original(turn, changed(asked, body=changed(asked.body, session_timeout_ms=old.session_timeout_ms)), member_id)


@around(group_events.replaces, "P44", "KAFKA-9801", "a static member that comes anew between join and sync gets the generation as it stands", "GROUP-STATIC-1")
def disturbs_nobody(original: Around, turn: groups.Turn, asked: groups.Asked, member_id: str) -> Any:
    if turn.group.state is not State.COMPLETING:
        return original(turn, asked, member_id)
    after = groups.becomes(original(groups.becomes(turn, state=State.STABLE), asked, member_id), state=State.COMPLETING)
    return groups.becomes(after, unsynced=turn.group.unsynced)


@around(group_events.deadline_of, "P45", "Redpanda (redpanda#22749)", "a member that waits is silent", "GROUP-BEAT-4")
def hears_nobody_wait(original: Around, group: groups.Group, alarm: groups.Alarm) -> Any:
    member = group.members.get(alarm.member_id)
    return member.deadline_ms if alarm.kind is groups.Kind.SESSION and member is not None else original(group, alarm)


@around(group_phases.prepared, "P46", "Tansu", "when one rebalance follows another, whoever has not joined yet is out", "GROUP-MEMBER-7")
def forgets_the_others(original: Around, turn: groups.Turn) -> Any:
    is_next = turn.group.state is State.COMPLETING
    for member_id in sorted(turn.group.members) if is_next else ():
        if member_id not in turn.group.joins:
            turn = group_phases.removed(turn, member_id)
    return original(turn)


without_rung("P47", "Tansu", "members commit before they know what is theirs", "GROUP-COMMIT-5")


@in_answers(m.SyncGroupResponse, "P48", "Tansu", "members get empty assignments", "GROUP-SYNC-3", "GROUP-SYNC-7")
def assigns_nothing(answer: m.SyncGroupResponse) -> m.SyncGroupResponse:
    return changed(answer, assignment=b"")


@around(group_events.leave, "P49", "Tansu (librdkafka 0091, 0093)", "a member that leaves makes its group rebalance twice", "GROUP-LEAVE-1")
def rebalances_twice(original: Around, turn: groups.Turn, asked: groups.Asked) -> Any:
    after = original(turn, asked)
    is_out = len(after.group.members) < len(turn.group.members)
    return groups.becomes(after, generation=after.group.generation + 1) if is_out else after


without_rung("P65", "Kafka before KIP-1043", "in no version it is an error to describe a group that is not there", "GROUP-LIST-2")


# Versions


@around(apis.verdict, "P51", "Azure Event Hubs (franz-go)", "an unknown version of ApiVersions ends the connection", "WIRE-VERSIONS-1")
def tells_no_versions(original: Around, api_key: int, api_version: int) -> Any:
    found = original(api_key, api_version)
    return Verdict.CLOSE if found is Verdict.TELL_VERSIONS else found


@around(apis.verdict, "P53", "Tansu (librdkafka 0129)", "a version of DescribeCluster is advertised that is not served", "WIRE-VERSIONS-4")
def boasts(original: Around, api_key: int, api_version: int) -> Any:
    is_lie = (api_key, api_version) == (DESCRIBE_CLUSTER, apis.APIS[DESCRIBE_CLUSTER].max_version)
    return Verdict.CLOSE if is_lie else original(api_key, api_version)


@around(Core.frame, "W6", "ours", "what is not served is answered with an error", "WIRE-FRAME-3")
def answers_the_unknown(original: Around, here: Core, connection: int, frame: bytes, now: int) -> list[Action]:
    actions: list[Action] = original(here, connection, frame, now)
    if len(frame) < 8 or not isinstance(actions[0], Hangup):
        return actions
    api_key, api_version, correlation_id = struct.unpack_from(">hhi", frame)
    if apis.verdict(api_key, api_version) is not Verdict.CLOSE:
        return actions
    header = Header(api_key, api_version, correlation_id, None)
    return [Send(connection, core.framed(header, bytearray(INT16.pack(Error.UNSUPPORTED_VERSION)), False))]


without_rung("W7", "ours", "a client may call itself anything, or nothing", "WIRE-VERSIONS-3")


@around(apis.has_flexible_answer, "W8", "ours", "the header of an ApiVersions answer has tagged fields, as all others have", "WIRE-VERSIONS-2")
def treats_all_alike(original: Around, api_key: int, api_version: int) -> Any:
    return original(api_key, api_version) or (api_key == API_VERSIONS and apis.has_flexible_header(api_key, api_version))


# Frames


@around(Reader.skip_tags, "W9", "ours", "unknown tagged fields of a header end the connection", "WIRE-FRAME-6")
def knows_every_tag(_original: Around, reader: Reader) -> None:
    if list(reader.tags()):
        raise Malformed("an unknown tag")


@around(core.read_body, "W10", "ours", "bytes behind a request end the connection", "WIRE-FRAME-7")
def minds_the_rest(original: Around, header: Header, reader: Reader) -> Any:
    request = original(header, reader)
    if reader.position < len(reader.buffer):
        raise Malformed("bytes behind the request")
    return request


@around(core.framed, "W11", "ours", "of a correlation id 16 bits come back", "WIRE-FRAME-11")
def cuts_correlation_ids(original: Around, header: Header, body: bytearray, is_flexible: bool) -> Any:
    cut = Header(header.api_key, header.api_version, header.correlation_id & 0xFFFF, header.client_id)
    return original(cut, body, is_flexible)


@around(Connection.go_on, "W12", "ours", "of several requests that wait the last is answered first", "WIRE-FRAME-10")
def answers_the_last_first(original: Around, here: Connection) -> None:
    here.frames.rotate(1)
    original(here)


@around(Connection.eof_received, "W13", "ours", "whoever has said all is not answered any more", "WIRE-FRAME-12")
def hangs_up_at_once(_original: Around, here: Connection) -> bool:
    here.transport.abort()
    return False


@around(core.read_client_id, "W14", "ours", "a client id that is no UTF-8 ends the connection", "WIRE-FRAME-5")
def wants_utf_8(_original: Around, reader: Reader) -> str | None:
    size = reader.number(INT16)
    try:
        return reader.take(size).decode() if size >= 0 else None
    except UnicodeDecodeError as error:
        raise Malformed("a client id that is no UTF-8") from error


@around(codec.text_of, "W15", "ours", "a name that is no UTF-8 ends the connection", "WIRE-FRAME-8")
def wants_texts_of_utf_8(original: Around, taken: bytes) -> Any:
    if b"\xff" in taken:
        raise Malformed("a string that is no UTF-8")
    return original(taken)
