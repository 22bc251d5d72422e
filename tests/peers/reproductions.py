"""Deviations of peers, each seen a second time by a script written by hand: bytes on a socket, and nothing of the suite's code.

    @deviation("kfake", "A batch that is refused is answered with base offset 0", "Produce base_offset: -1 → 0")
    def tells_an_offset_for_nothing(address):
        ...

The pattern says which differences the deviation explains: `API FIELD: EXPECTED → GOT`, where * stands for anything. A script raises NotSeen where the
broker does as the rules say; the reference broker shows none of them (tests/house/test_peers.py).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from secrets import token_hex
from typing import NamedTuple

from crc32c import crc32c
from raw_client import RawClient

Address = tuple[str, int]

PRODUCE, FETCH, METADATA, FIND_COORDINATOR, API_VERSIONS, CREATE_TOPICS, DELETE_RECORDS, INIT_PRODUCER_ID = 0, 1, 3, 10, 18, 19, 21, 22
OFFSET_COMMIT, OFFSET_FETCH, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP, DESCRIBE_GROUPS = 8, 9, 11, 12, 13, 14, 15
DESCRIBE_CONFIGS, DELETE_GROUPS, INCREMENTAL_ALTER_CONFIGS, OFFSET_DELETE, DESCRIBE_CLUSTER = 32, 42, 44, 47, 60
NONE, CORRUPT_MESSAGE, COORDINATOR_NOT_AVAILABLE, UNKNOWN_MEMBER_ID, GROUP_ID_NOT_FOUND = 0, 2, 15, 25, 69


class NotSeen(Exception):
    """The broker does as the rules say; the text tells what it answered."""


@dataclass(frozen=True)
class Deviation:
    """One way in which a peer does otherwise. `reproduce` tells what it saw, or raises NotSeen."""

    peer: str
    title: str
    patterns: tuple[str, ...]
    reproduce: Callable[[Address], str]

    def explains(self, told: str, difference: Mapping[str, str]) -> bool:
        """Is this what a case saw when it was told so?"""
        api, field = told.partition(" ")[0], difference["place"].rpartition(".")[2] or "the answer"
        return any(fnmatchcase(f"{api} {field}: {difference['expected']} → {difference['got']}", pattern) for pattern in self.patterns)


DEVIATIONS: list[Deviation] = []


def deviation(peer: str, title: str, *patterns: str) -> Callable[[Callable[[Address], str]], Callable[[Address], str]]:
    """Register the decorated function as the reproduction of a deviation."""

    def register(reproduce: Callable[[Address], str]) -> Callable[[Address], str]:
        DEVIATIONS.append(Deviation(peer, title, patterns, reproduce))
        return reproduce

    return register


def deviations_of(peer: str) -> list[Deviation]:
    """Those of one peer."""
    return [one for one in DEVIATIONS if one.peer == peer]


def see(what: str, *, rather_than: str, is_so: bool) -> str:
    """What was seen, if it is so; NotSeen otherwise."""
    if not is_so:
        raise NotSeen(what)
    return f"{what}, not {rather_than}"


# Bytes, by hand: every request in a version without compact lengths


def text(words: str | None) -> bytes:
    """A string behind its length; -1 for none."""
    return struct.pack(">h", -1) if words is None else struct.pack(">h", len(words)) + words.encode()


def blob(data: bytes) -> bytes:
    """Bytes behind their length."""
    return struct.pack(">i", len(data)) + data


def many(*entries: bytes) -> bytes:
    """An array."""
    return struct.pack(">i", len(entries)) + b"".join(entries)


def head(api_key: int, version: int) -> bytes:
    """A request's header: correlation id 1, client id "hand"."""
    return struct.pack(">hhi", api_key, version, 1) + text("hand")


def ask(address: Address, api_key: int, version: int, body: bytes) -> bytes:
    """The answer behind its correlation id. NotSeen if there is none."""
    with RawClient(*address) as client:
        answer = client.ask(head(api_key, version) + body)
    if answer is None:
        raise NotSeen("the end of the connection")
    return answer[4:]


def new_topic(address: Address, partitions: int = 1, **config: str) -> str:
    """A topic of its own; of settings, dots are written as underscores."""
    name = f"by-hand-{token_hex(4)}"
    configs = many(*(text(key.replace("_", ".")) + text(told) for key, told in config.items()))
    answer = ask(address, CREATE_TOPICS, 2, many(text(name) + struct.pack(">ih", partitions, 1) + many() + configs) + struct.pack(">i?", 10_000, False))
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
    assert error == NONE, f"CreateTopics answers error {error}"
    time.sleep(0.2)  # a broker may need a moment until it is there
    return name


#: Length 8, attributes 0, time and offset of the batch, key "k", value "v", no headers.
RECORD = bytes.fromhex("10 00 00 00 02 6b 02 76 00")
NOW_MS = int(time.time() * 1000)


def batch(
    records: bytes = RECORD, *, count: int = 1, attributes: int = 0, at_ms: int = NOW_MS, max_ms: int | None = None, producer: tuple[int, int, int] = (-1, -1, -1)
) -> bytes:
    """A record batch of format 2 with a right checksum; `producer`: id, epoch, sequence."""
    checked = struct.pack(">hiqqqhii", attributes, count - 1, at_ms, at_ms if max_ms is None else max_ms, *producer, count) + records
    behind_length = struct.pack(">ibI", -1, 2, crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(behind_length)) + behind_length


def produced(address: Address, topic: str, *records: bytes, acks: int = -1, index: int = 0, version: int = 7) -> tuple[int, int, int, int]:
    """Produce to one partition, or to it several times in one request: error, base offset, append time, log start."""
    partitions = many(*(struct.pack(">ii", index, len(data)) + data for data in records))
    answer = ask(address, PRODUCE, version, text(None) + struct.pack(">hi", acks, 10_000) + many(text(topic) + partitions))
    begin = 4 + 2 + len(topic) + 4 + 4
    log_start = struct.unpack_from(">q", answer, begin + 18)[0] if version >= 5 else -1
    return (*struct.unpack_from(">hqq", answer, begin), log_start)


def fetched(address: Address, topic: str, offset: int = 0, *, isolation: int = 0, index: int = 0, max_bytes: int = 1 << 20) -> tuple[tuple[int, int, int, int], int, bytes]:
    """Fetch v5 from one partition: (error, high watermark, last stable offset, log start), the number of aborted transactions (-1: null), the records."""
    partition = struct.pack(">iqqi", index, offset, -1, max_bytes)
    answer = ask(address, FETCH, 5, struct.pack(">iiiib", -1, 0, 0, 1 << 20, isolation) + many(text(topic) + many(partition)))
    begin = 4 + 4 + 2 + len(topic) + 4 + 4
    *marks, aborted = struct.unpack_from(">hqqqi", answer, begin)
    return (marks[0], marks[1], marks[2], marks[3]), aborted, answer[begin + 34 :]


def deleted(address: Address, topic: str, offset: int) -> tuple[int, int]:
    """DeleteRecords in partition 0: low watermark, error."""
    answer = ask(address, DELETE_RECORDS, 1, many(text(topic) + many(struct.pack(">iq", 0, offset))) + struct.pack(">i", 10_000))
    low, error = struct.unpack_from(">qh", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
    return low, error


def new_producer(address: Address) -> int:
    """A producer id; a broker may have to load its coordinator first."""
    for _ in range(100):
        answer = ask(address, INIT_PRODUCER_ID, 1, text(None) + struct.pack(">i", 60_000))
        error, producer_id = struct.unpack_from(">hq", answer, 4)
        if error == NONE:
            return int(producer_id)
        time.sleep(0.1)
    raise AssertionError(f"InitProducerId answers error {error}")


def half_a_pair(address: Address, producer_id: int, epoch: int) -> int:
    """InitProducerId v3, which has compact lengths, without a transactional id, for such a producer: the error."""
    with RawClient(*address) as client:
        answer = client.ask(head(INIT_PRODUCER_ID, 3) + b"\x00\x00" + struct.pack(">iqh", 60_000, producer_id, epoch) + b"\x00")
    assert answer is not None
    return int(struct.unpack_from(">h", answer, 4 + 1 + 4)[0])


HALF_A_PAIR = ("InitProducerId error_code: INVALID_REQUEST → NONE", "InitProducerId producer_epoch: -1 → 0", "InitProducerId producer_id: -1 → producer *")

def created(address: Address, name: str, *configs: bytes, counts: tuple[int, int] = (1, 1), replicas: Sequence[int] = (), timeout_ms: int = 10_000) -> tuple[int, int]:
    """CreateTopics v2 for one topic; `counts`: of partitions and replicas; `replicas`: of partition 0. Its error, and the length of the message, -1 for null."""
    by_hand = many(struct.pack(">i", 0) + many(*(struct.pack(">i", one) for one in replicas))) if replicas else many()
    answer = ask(address, CREATE_TOPICS, 2, many(text(name) + struct.pack(">ih", *counts) + by_hand + many(*configs)) + struct.pack(">i?", timeout_ms, False))
    error, message = struct.unpack_from(">hh", answer, 4 + 4 + 2 + len(name.encode()))
    return error, message


def reconfigured(address: Address, topic: str, name: str, *told: str) -> tuple[int, int]:
    """IncrementalAlterConfigs v0, one setting of a topic, set once for each text: its error, and the length of the message, -1 for null."""
    changes = many(*(text(name) + b"\x00" + text(one) for one in told))
    answer = ask(address, INCREMENTAL_ALTER_CONFIGS, 0, many(b"\x02" + text(topic) + changes) + b"\x00")
    error, message = struct.unpack_from(">hh", answer, 8)
    return error, message


def described(address: Address, kind: int, name: str) -> tuple[int, int]:
    """DescribeConfigs v1 for one resource: its error, and the length of the message, -1 for null."""
    answer = ask(address, DESCRIBE_CONFIGS, 1, many(struct.pack(">b", kind) + text(name) + struct.pack(">i", -1)) + b"\x00")
    error, message = struct.unpack_from(">hh", answer, 8)
    return error, message


def coordinator_of_no_kind(address: Address) -> tuple[int, int, int]:
    """FindCoordinator v1 for a key of type 9: error, node, port."""
    answer = ask(address, FIND_COORDINATOR, 1, text("key") + b"\x09")
    (error, message) = struct.unpack_from(">hh", answer, 4)
    begin = 8 + max(message, 0)
    node, host = struct.unpack_from(">ih", answer, begin)
    (port,) = struct.unpack_from(">i", answer, begin + 6 + max(host, 0))
    return error, node, port


def new_group(address: Address) -> str:
    """The name of a group that is not there; a broker may have to make the topic of groups first."""
    name = f"by-hand-{token_hex(4)}"
    for _ in range(100):
        (error,) = struct.unpack_from(">h", ask(address, FIND_COORDINATOR, 0, text(name)))
        if error != COORDINATOR_NOT_AVAILABLE:
            break
        time.sleep(0.1)
    assert error == NONE, f"FindCoordinator answers error {error}"
    return name


class Member(NamedTuple):
    """A consumer in a group."""

    group: str
    generation: int
    id: str


#: What a leader gives itself.
ASSIGNMENT = b"all of it"


def join(group: str, member_id: str, timeouts: bytes) -> bytes:
    """A JoinGroup request, up to version 4."""
    return text(group) + timeouts + text(member_id) + text("consumer") + many(text("range") + blob(b""))


def joined(address: Address, group: str, member_id: str = "", *, version: int = 1, rebalance_timeout_ms: int = 60_000) -> Member:
    """A member, new or not, that tells nothing of what it reads, once the join phase has ended; JoinGroup v0 has no rebalance timeout."""
    timeouts = struct.pack(">ii", 30_000, rebalance_timeout_ms)[: 4 * (version + 1)]
    answer = ask(address, JOIN_GROUP, version, join(group, member_id, timeouts))
    error, generation, protocol = struct.unpack_from(">hih", answer)
    assert error == NONE, f"JoinGroup answers error {error}"
    (leader,) = struct.unpack_from(">h", answer, 8 + protocol)
    begin = 8 + protocol + 2 + leader
    (length,) = struct.unpack_from(">h", answer, begin)
    return Member(group, generation, answer[begin + 2 : begin + 2 + length].decode())


def synced(address: Address, member: Member) -> int:
    """SyncGroup v0 of a leader, which has an assignment: the error."""
    assignments = many(text(member.id) + blob(ASSIGNMENT))
    return int(struct.unpack_from(">h", ask(address, SYNC_GROUP, 0, text(member.group) + struct.pack(">i", member.generation) + text(member.id) + assignments))[0])


def heartbeat(address: Address, member: Member) -> int:
    """Heartbeat v0: the error."""
    return int(struct.unpack_from(">h", ask(address, HEARTBEAT, 0, text(member.group) + struct.pack(">i", member.generation) + text(member.id)))[0])


def committed(address: Address, group: str, topic: str, metadata: str = "") -> int:
    """OffsetCommit v2 of offset 7 of partition 0, by nobody: the error."""
    partition = struct.pack(">iq", 0, 7) + text(metadata)
    answer = ask(address, OFFSET_COMMIT, 2, text(group) + struct.pack(">i", -1) + text("") + struct.pack(">q", -1) + many(text(topic) + many(partition)))
    return int(struct.unpack(">h", answer[-2:])[0])


def offset_of_nothing(address: Address, group: str, topic: str, index: int) -> tuple[int, int]:
    """OffsetFetch v2 of a partition that has none: the error, and the length of the metadata if it is there, -1 for null."""
    answer = ask(address, OFFSET_FETCH, 2, text(group) + many(text(topic) + many(struct.pack(">i", index))))
    metadata, _, error = struct.unpack(">hhh", answer[-6:])
    return error, metadata


def offset_deleted(address: Address, group: str, topic: str) -> int:
    """OffsetDelete v0 of partition 0: the partition's error."""
    answer = ask(address, OFFSET_DELETE, 0, text(group) + many(text(topic) + many(struct.pack(">i", 0))))
    return int(struct.unpack(">h", answer[-2:])[0])


def lives(address: Address, frame: bytes) -> str:
    """What comes of a whole frame, its length included, on a connection of its own: "an answer", "the end", or "silence" for two seconds."""
    with RawClient(*address) as client:
        client.socket.settimeout(2)
        client.socket.sendall(frame)
        try:
            return "the end" if client.answer() is None else "an answer"
        except TimeoutError:
            return "silence"
        except OSError:
            return "the end"


def next_connection(address: Address) -> str:
    """What comes of new connections within two seconds: "taken", or "refused" once the process is gone."""
    for _ in range(20):
        time.sleep(0.1)
        try:
            with RawClient(*address):
                pass
        except ConnectionError:
            return "refused"
    return "taken"


# kfake


@deviation("kfake", "A batch that is refused is answered with base offset 0", "Produce base_offset: -1 → 0")
def tells_an_offset_of_nothing(address: Address) -> str:
    error, base_offset, *_ = produced(address, new_topic(address), batch(), acks=2)
    return see(f"acks 2: error {error}, base offset {base_offset}", rather_than="-1", is_so=error != NONE and base_offset == 0)


@deviation("kfake", "What is in a batch is not looked at", "Produce error_code: INVALID_RECORD → NONE", "Produce base_offset: -1 → [0-9]*")
def takes_garbage(address: Address) -> str:
    error, base_offset, *_ = produced(address, new_topic(address), batch(b"\xff" * 9))
    return see(f"records of nine bytes 0xff: error {error}, base offset {base_offset}", rather_than="INVALID_RECORD (87)", is_so=error == NONE)


@deviation("kfake", "What is no single batch is answered CORRUPT_MESSAGE", "Produce error_code: INVALID_RECORD → CORRUPT_MESSAGE")
def calls_two_batches_corrupt(address: Address) -> str:
    error, *_ = produced(address, new_topic(address), batch() + batch())
    return see(f"two batches: error {error}", rather_than="INVALID_RECORD (87)", is_so=error == CORRUPT_MESSAGE)


@deviation("kfake", "A header that cannot be read does not spoil the request", "Produce error_code: CORRUPT_MESSAGE → NONE")
def judges_unreadable_partitions_alone(address: Address) -> str:
    good, bad = new_topic(address), new_topic(address)
    unreadable = batch()[:16] + b"\x09" + batch()[17:]
    partitions = [many(struct.pack(">ii", 0, len(data)) + data) for data in (batch(), unreadable)]
    body = text(None) + struct.pack(">hi", -1, 10_000) + many(text(good) + partitions[0], text(bad) + partitions[1])
    answer = ask(address, PRODUCE, 7, body)
    (error,) = struct.unpack_from(">h", answer, answer.index(good.encode()) + len(good) + 8)
    return see(f"a sound batch beside one of format 9: error {error}", rather_than="CORRUPT_MESSAGE (2)", is_so=error == NONE)


@deviation("kfake", "Limits of timestamps are not kept", "Produce error_code: INVALID_TIMESTAMP → NONE")
def takes_any_time(address: Address) -> str:
    topic = new_topic(address, message_timestamp_before_max_ms="1000")
    error, *_ = produced(address, topic, batch(at_ms=NOW_MS - 3_600_000))
    return see(f"an hour old, where a second is allowed: error {error}", rather_than="INVALID_TIMESTAMP (32)", is_so=error == NONE)


@deviation("kfake", "With LogAppendTime the time is not answered", "Produce log_append_time_ms: now → -1")
def keeps_the_append_time_to_itself(address: Address) -> str:
    error, _, append_time, _ = produced(address, new_topic(address, message_timestamp_type="LogAppendTime"), batch())
    return see(f"error {error}, log append time {append_time}", rather_than="the broker's time", is_so=error == NONE and append_time == -1)


@deviation("kfake", "A duplicate is answered neither with its time nor with the log start", "Produce log_append_time_ms: [0-9]* → -1", "Produce log_start_offset: 0 → -1")
def tells_little_of_a_duplicate(address: Address) -> str:
    topic, producer = new_topic(address), new_producer(address)
    sent = batch(producer=(producer, 0, 0))
    first, again = produced(address, topic, sent), produced(address, topic, sent)
    return see(f"first {first}, again {again}", rather_than=f"(0, 0, {NOW_MS}, 0)", is_so=again[:2] == (NONE, first[1]) and again[2:] == (-1, -1))


@deviation("kfake", "A partition that is named twice is appended to twice", "Produce base_offset: 0 → 1")
def appends_each_of_two(address: Address) -> str:
    topic = new_topic(address)
    produced(address, topic, batch(), batch())
    (_, high_watermark, *_), *_ = fetched(address, topic)
    return see(f"one partition named twice, a record each: high watermark {high_watermark}", rather_than="1", is_so=high_watermark == 2)


@deviation("kfake", "Without acks, an error does not end the connection", "Produce the answer: the end of the connection → nothing")
def says_nothing_of_an_error(address: Address) -> str:
    topic = new_topic(address)
    broken = bytearray(batch())
    broken[-1] ^= 1
    body = text(None) + struct.pack(">hi", 0, 10_000) + many(text(topic) + many(struct.pack(">ii", 0, len(broken)) + broken))
    with RawClient(*address) as client:
        client.send(head(PRODUCE, 7) + body)
        try:
            answer = client.ask(struct.pack(">hhi", 18, 0, 2) + text("hand"))
        except OSError:
            answer = None
    return see(f"a wrong checksum with acks 0, then ApiVersions: {'an answer' if answer else 'the end'}", rather_than="the end of the connection", is_so=bool(answer))


@deviation("kfake", "zstd is taken in any version of Produce", "Produce error_code: UNSUPPORTED_COMPRESSION_TYPE → NONE")
def takes_zstd_too_early(address: Address) -> str:
    import cramjam

    error, *_ = produced(address, new_topic(address), batch(bytes(cramjam.zstd.compress(RECORD)), attributes=4), version=5)
    return see(f"zstd in Produce v5: error {error}", rather_than="UNSUPPORTED_COMPRESSION_TYPE (76)", is_so=error == NONE)


@deviation("kfake", "The greatest timestamp of a batch is stored as it was sent", "Fetch max_timestamp: [0-9]* → *")
def believes_the_header(address: Address) -> str:
    topic = new_topic(address)
    produced(address, topic, batch(max_ms=1))
    *_, records = fetched(address, topic)
    (stored,) = struct.unpack_from(">q", records, 35)
    return see(f"sent as 1, the record's is {NOW_MS}: stored as {stored}", rather_than=str(NOW_MS), is_so=stored == 1)


@deviation("kfake", "compression.type changes nothing", "Fetch attributes: [0-4] → [0-4]")
def keeps_any_codec(address: Address) -> str:
    topic = new_topic(address, compression_type="gzip")
    produced(address, topic, batch())
    *_, records = fetched(address, topic)
    (attributes,) = struct.unpack_from(">h", records, 21)
    return see(f"a plain batch where compression.type is gzip: attributes {attributes}", rather_than="1", is_so=attributes == 0)


@deviation("kfake", "An unknown producer has to begin at 0", "Produce error_code: NONE → OUT_OF_ORDER_SEQUENCE_NUMBER")
def wants_0_first(address: Address) -> str:
    error, *_ = produced(address, new_topic(address), batch(producer=(new_producer(address), 0, 1000)))
    return see(f"the first batch with sequence 1000: error {error}", rather_than="NONE", is_so=error == 45)


@deviation("kfake", "A producer's epoch is known to all partitions", "Produce error_code: NONE → INVALID_PRODUCER_EPOCH")
def shares_epochs(address: Address) -> str:
    one, other, producer = new_topic(address), new_topic(address), new_producer(address)
    produced(address, one, batch(producer=(producer, 1, 0)))
    error, *_ = produced(address, other, batch(producer=(producer, 0, 0)))
    return see(f"epoch 1 in one topic, then epoch 0 in another: error {error}", rather_than="NONE", is_so=error == 47)


@deviation("kfake", "read_committed gets null for no aborted transactions", "Fetch aborted_transactions: [[]] → None")
def has_no_empty_list(address: Address) -> str:
    topic = new_topic(address)
    produced(address, topic, batch())
    _, aborted, _ = fetched(address, topic, isolation=1)
    return see(f"read_committed: an array of {aborted}", rather_than="one of 0", is_so=aborted == -1)


@deviation("kfake", "A fetch that is refused tells marks", "Fetch high_watermark: -1 → *", "Fetch last_stable_offset: -1 → *", "Fetch log_start_offset: -1 → *")
def tells_marks_of_an_error(address: Address) -> str:
    topic = new_topic(address)
    produced(address, topic, batch())
    marks, *_ = fetched(address, topic, 9)
    return see(f"offset 9 of 1: error, high watermark, last stable offset, log start {marks}", rather_than="(1, -1, -1, -1)", is_so=marks[0] == 1 and marks[1] == 1)


@deviation("kfake", "DeleteRecords that is refused answers low watermark 0", "DeleteRecords low_watermark: -1 → 0")
def tells_a_low_watermark_of_nothing(address: Address) -> str:
    low, error = deleted(address, new_topic(address), 7)
    return see(f"offset 7 of 0: low watermark {low}, error {error}", rather_than="-1", is_so=error != NONE and low == 0)


@deviation("kfake", "To delete what is gone already is refused", "DeleteRecords error_code: NONE → OFFSET_OUT_OF_RANGE", "DeleteRecords low_watermark: [1-9]* → 0")
def refuses_what_is_done(address: Address) -> str:
    topic = new_topic(address)
    for _ in range(3):
        produced(address, topic, batch())
    first, again = deleted(address, topic, 2), deleted(address, topic, 1)
    return see(f"below 2: {first}, then below 1: {again}", rather_than="(2, 0)", is_so=first == (2, NONE) and again[1] == 1)


@deviation("kfake", "Records go from a topic that is only compacted", "DeleteRecords error_code: POLICY_VIOLATION → NONE", "DeleteRecords low_watermark: -1 → [1-9]*")
def deletes_from_a_compacted_topic(address: Address) -> str:
    topic = new_topic(address, cleanup_policy="compact")
    produced(address, topic, batch())
    low, error = deleted(address, topic, 1)
    return see(f"low watermark {low}, error {error}", rather_than="POLICY_VIOLATION (44)", is_so=error == NONE)


@deviation("kfake", "A producer epoch without an id is taken", *HALF_A_PAIR)
def kfake_takes_half_a_pair(address: Address) -> str:
    error = half_a_pair(address, -1, 1)
    return see(f"no transactional id, producer id -1, epoch 1: error {error}", rather_than="INVALID_REQUEST (42)", is_so=error == NONE)


@deviation("kfake", "An isolation level that there is not is taken", "Fetch error_code: INVALID_REQUEST → NONE", "Fetch records: [[]] → [[]*")
def takes_any_isolation(address: Address) -> str:
    topic = new_topic(address)
    produced(address, topic, batch())
    (error, *_), _, records = fetched(address, topic, isolation=7)
    return see(f"isolation level 7: error {error}, {len(records)} bytes of records", rather_than="INVALID_REQUEST (42)", is_so=error == NONE and len(records) > 50)


@deviation("kfake", "A request of an unknown key ends the process", "ApiVersions the answer: {*'NONE'* → the end of the connection")
def panics(address: Address) -> str:
    frame = struct.pack(">hhi", 12_345, 0, 1) + text("hand")
    lives(address, struct.pack(">i", len(frame)) + frame)
    came = next_connection(address)
    return see(f"key 12345, then a new connection: {came}", rather_than="taken", is_so=came == "refused")


@deviation("kfake", "A length below 0 is waited upon", "ApiVersions the answer: the end of the connection → silence")
def waits_upon_a_negative_length(address: Address) -> str:
    came = lives(address, struct.pack(">i", -1))
    return see(f"length -1: {came}", rather_than="the end", is_so=came == "silence")


@deviation("kfake", "An unknown version of ApiVersions ends the connection", "ApiVersions the answer: {*UNSUPPO* → the end of the connection")
def tells_no_versions(address: Address) -> str:
    frame = struct.pack(">hhi", API_VERSIONS, 99, 1) + text("hand") + b"\x00"
    came = lives(address, struct.pack(">i", len(frame)) + frame)
    return see(f"version 99: {came}", rather_than="an answer", is_so=came == "the end")


@deviation("kfake", "Produce is not said to be served from version 0 on", "ApiVersions min_version: 0 → 3")
def begins_produce_at_3(address: Address) -> str:
    answer = ask(address, API_VERSIONS, 0, b"")
    (count,) = struct.unpack_from(">i", answer, 2)
    lowest = dict(struct.unpack_from(">hh", answer, 6 + 6 * number) for number in range(count))[PRODUCE]
    return see(f"Produce from {lowest}", rather_than="0", is_so=lowest == 3)


@deviation("kfake", "An error comes without a message", *(f"{api} error_message: a text → None" for api in ("CreateTopics", "CreatePartitions", "DeleteTopics", "IncrementalAlterConfigs", "AlterConfigs")))
def tells_no_message(address: Address) -> str:
    error, message = created(address, new_topic(address))
    return see(f"a topic that exists: error {error}, a message of {message} bytes", rather_than="a text", is_so=error == 36 and message == -1)


@deviation("kfake", "Topics may have any name", "CreateTopics error_code: INVALID_TOPIC_EXCEPTION → NONE")
def creates_any_name(address: Address) -> str:
    error, _ = created(address, f"by hand/{token_hex(4)}")
    return see(f"a name with a blank and a slash: error {error}", rather_than="INVALID_TOPIC_EXCEPTION (17)", is_so=error == NONE)


@deviation("kfake", "Topics may have any configuration", "CreateTopics error_code: INVALID_CONFIG → NONE")
def creates_any_configuration(address: Address) -> str:
    error, _ = created(address, f"by-hand-{token_hex(4)}", text("no.such.thing") + text("1"))
    return see(f"no.such.thing=1: error {error}", rather_than="INVALID_CONFIG (40)", is_so=error == NONE)


@deviation("kfake", "A setting may have any value", "IncrementalAlterConfigs error_code: INVALID_CONFIG → NONE")
def sets_anything(address: Address) -> str:
    error, _ = reconfigured(address, new_topic(address), "retention.ms", "for ever")
    return see(f"retention.ms=for ever: error {error}", rather_than="INVALID_CONFIG (40)", is_so=error == NONE)


@deviation("kfake", "No coordinator is called node 0 at port 0", "FindCoordinator node_id: -1 → 0", "FindCoordinator port: -1 → 0")
def calls_nobody_0(address: Address) -> str:
    error, node, port = coordinator_of_no_kind(address)
    return see(f"key type 9: error {error}, node {node}, port {port}", rather_than="-1 and -1", is_so=error != NONE and (node, port) == (0, 0))


@deviation(
    "kfake",
    "DescribeCluster knows one type of endpoint",
    *(f"DescribeCluster {field}: *" for field in ("brokers", "cluster_authorized_operations", "cluster_id", "controller_id", "error_code", "error_message")),
)
def describes_any_endpoint(address: Address) -> str:
    """Version 1, which has compact lengths: operations no, endpoint type 9."""
    with RawClient(*address) as client:
        answer = client.ask(head(DESCRIBE_CLUSTER, 1) + b"\x00\x00\x09\x00")
    assert answer is not None
    (error,) = struct.unpack_from(">h", answer, 4 + 1 + 4)
    return see(f"endpoint type 9: error {error}", rather_than="UNSUPPORTED_ENDPOINT_TYPE (115)", is_so=error == NONE)


@deviation("kfake", "An invalid name is called unknown", *(f"{api} error_code: INVALID_TOPIC_EXCEPTION → UNKNOWN_TOPIC_OR_PARTITION" for api in ("Metadata", "DescribeTopicPartitions", "DescribeConfigs", "IncrementalAlterConfigs", "DescribeProducers")))
def calls_invalid_unknown(address: Address) -> str:
    answer = ask(address, METADATA, 4, many(text("by hand/")) + b"\x00")
    (error,) = struct.unpack_from(">h", answer, answer.index(b"by hand/") - 4)
    return see(f"Metadata for a name with a blank and a slash: error {error}", rather_than="INVALID_TOPIC_EXCEPTION (17)", is_so=error == 3)


@deviation("kfake", "A description that succeeds has null for a message", "DescribeConfigs error_message:  → None", "DescribeConfigs error_message: a text → None")
def describes_with_null(address: Address) -> str:
    error, message = described(address, 2, new_topic(address))
    return see(f"a topic: error {error}, a message of {message} bytes", rather_than="0", is_so=error == NONE and message == -1)


@deviation("kfake", "A setting may be set twice at once", "IncrementalAlterConfigs error_code: INVALID_REQUEST → NONE")
def sets_twice(address: Address) -> str:
    error, _ = reconfigured(address, new_topic(address), "retention.ms", "1000", "2000")
    return see(f"retention.ms set twice: error {error}", rather_than="INVALID_REQUEST (42)", is_so=error == NONE)


@deviation("kfake", "Topics may have no replicas", "CreateTopics error_code: INVALID_REPLICATION_FACTOR → NONE")
def creates_without_replicas(address: Address) -> str:
    error, _ = created(address, f"by-hand-{token_hex(4)}", counts=(1, 0))
    return see(f"replication factor 0: error {error}", rather_than="INVALID_REPLICATION_FACTOR (38)", is_so=error == NONE)


@deviation("kfake", "Topics may lie on brokers that there are not", "CreateTopics error_code: INVALID_REPLICA_ASSIGNMENT → NONE")
def creates_elsewhere(address: Address) -> str:
    error, _ = created(address, f"by-hand-{token_hex(4)}", counts=(-1, -1), replicas=(77,))
    return see(f"partition 0 on broker 77: error {error}", rather_than="INVALID_REPLICA_ASSIGNMENT (39)", is_so=error == NONE)


@deviation("kfake", "Who does not wait is served all the same", *(f"{api} error_code: REQUEST_TIMED_OUT → *" for api in ("CreateTopics", "CreatePartitions", "DeleteTopics")))
def serves_the_impatient(address: Address) -> str:
    error, _ = created(address, f"by-hand-{token_hex(4)}", timeout_ms=0)
    return see(f"CreateTopics with timeout 0: error {error}", rather_than="REQUEST_TIMED_OUT (7)", is_so=error == NONE)


# kfake's groups


@deviation(
    "kfake",
    "In JoinGroup v0 the rebalance timeout is 0: who joins is out again before it can sync",
    "SyncGroup error_code: NONE → UNKNOWN_MEMBER_ID", "JoinGroup error_code: NONE → UNKNOWN_MEMBER_ID", "Heartbeat error_code: REBALANCE_IN_PROGRESS → UNKNOWN_MEMBER_ID",
    "SyncGroup protocol_type: consumer → None", "SyncGroup protocol_name: range → None", "SyncGroup assignment: ?* → ",
    "DescribeGroups group_state: CompletingRebalance → Empty", "DescribeGroups members: [[]{* → [[]]",
)  # fmt: skip
def forgets_who_joins_by_v0(address: Address) -> str:
    member = joined(address, new_group(address), version=0)
    time.sleep(0.3)
    error = synced(address, member)
    return see(f"JoinGroup v0 with a session of 30 s, SyncGroup 0.3 s later: error {error}", rather_than="NONE", is_so=error == UNKNOWN_MEMBER_ID)


@deviation("kfake", "A follower that does not sync stays a member", "Heartbeat error_code: UNKNOWN_MEMBER_ID → NONE")
def keeps_who_does_not_sync(address: Address) -> str:
    group = new_group(address)
    leader = joined(address, group, rebalance_timeout_ms=1500)
    synced(address, leader)
    with ThreadPoolExecutor() as beside:
        comes = beside.submit(joined, address, group, rebalance_timeout_ms=1500)
        while heartbeat(address, leader) == NONE:
            time.sleep(0.01)
        leader, follower = joined(address, group, leader.id, rebalance_timeout_ms=1500), comes.result()
    synced(address, leader)
    time.sleep(3)
    error = heartbeat(address, follower)
    return see(f"no SyncGroup for 3 s, where 1.5 s are allowed: Heartbeat answers error {error}", rather_than="UNKNOWN_MEMBER_ID (25)", is_so=error == NONE)


@deviation("kfake", "OffsetFetch refuses a group that is not there", "OffsetFetch error_code: NONE → GROUP_ID_NOT_FOUND", "OffsetFetch topics: [[]{* → [[]]")
def has_no_offsets_of_a_new_group(address: Address) -> str:
    error, _ = offset_of_nothing(address, new_group(address), new_topic(address), 0)
    return see(f"OffsetFetch v2 of a group that is not there: error {error}", rather_than="NONE", is_so=error == GROUP_ID_NOT_FOUND)


@deviation("kfake", "Of what is not committed the metadata is null", "OffsetFetch metadata:  → None")
def has_no_metadata(address: Address) -> str:
    group, topic = new_group(address), new_topic(address, partitions=2)
    committed(address, group, topic)
    error, length = offset_of_nothing(address, group, topic, 1)
    return see(f"partition 1, where only 0 is committed: error {error}, metadata of {length} bytes", rather_than="0", is_so=error == NONE and length == -1)


@deviation("kfake", "Metadata of an offset may have any length", "OffsetCommit error_code: OFFSET_METADATA_TOO_LARGE → NONE")
def keeps_long_metadata(address: Address) -> str:
    error = committed(address, new_group(address), new_topic(address), "x" * 5000)
    return see(f"5,000 characters: error {error}", rather_than="OFFSET_METADATA_TOO_LARGE (12)", is_so=error == NONE)


@deviation("kfake", "Offsets of unknown partitions may be deleted", "OffsetDelete error_code: UNKNOWN_TOPIC_OR_PARTITION → NONE")
def deletes_offsets_of_no_topic(address: Address) -> str:
    group = new_group(address)
    committed(address, group, new_topic(address))
    error = offset_deleted(address, group, f"by-hand-{token_hex(4)}")
    return see(f"OffsetDelete of a topic that is not there: error {error}", rather_than="UNKNOWN_TOPIC_OR_PARTITION (3)", is_so=error == NONE)


@deviation("kfake", "A member whose subscription cannot be read reads nothing", "OffsetDelete error_code: GROUP_SUBSCRIBED_TO_TOPIC → NONE")
def deletes_what_may_be_read(address: Address) -> str:
    group, topic = new_group(address), new_topic(address)
    synced(address, joined(address, group))
    error = offset_deleted(address, group, topic)
    return see(f"OffsetDelete while a consumer without a byte of metadata is there: error {error}", rather_than="GROUP_SUBSCRIBED_TO_TOPIC (86)", is_so=error == NONE)


@deviation("kfake", "Who asks about a group that is not there is told so, a member too", *(f"{api} error_code: UNKNOWN_MEMBER_ID → GROUP_ID_NOT_FOUND" for api in ("Heartbeat", "SyncGroup", "LeaveGroup")))
def names_the_group_that_is_missing(address: Address) -> str:
    error = heartbeat(address, Member(new_group(address), 1, "nobody"))
    return see(f"Heartbeat to a group that is not there: error {error}", rather_than="UNKNOWN_MEMBER_ID (25)", is_so=error == GROUP_ID_NOT_FOUND)


@deviation("kfake", "A group without a name is one that is not there", *(f"{api} error_code: INVALID_GROUP_ID → GROUP_ID_NOT_FOUND" for api in ("Heartbeat", "SyncGroup", "LeaveGroup", "OffsetDelete")))
def looks_for_a_group_without_a_name(address: Address) -> str:
    new_group(address)
    error = heartbeat(address, Member("", 1, "nobody"))
    return see(f"Heartbeat to a group of no name: error {error}", rather_than="INVALID_GROUP_ID (24)", is_so=error == GROUP_ID_NOT_FOUND)


@deviation("kfake", "A group that is deleted twice at once is answered twice", "DeleteGroups results: * → *'GROUP_ID_NOT_FOUND'}, {*")
def deletes_twice(address: Address) -> str:
    group = new_group(address)
    committed(address, group, new_topic(address))
    (count,) = struct.unpack_from(">i", ask(address, DELETE_GROUPS, 0, many(text(group), text(group))), 4)
    return see(f"a group named twice: {count} results", rather_than="1", is_so=count == 2)


@deviation("kfake", "A member's host has no slash, and a port", "DescribeGroups client_host: / and an address → *")
def tells_a_port(address: Address) -> str:
    group = new_group(address)
    synced(address, joined(address, group))
    told = ask(address, DESCRIBE_GROUPS, 0, many(text(group)))
    begin = told.index(b"127.0.0.1")
    (length,) = struct.unpack_from(">h", told, begin - 2)
    return see(f"DescribeGroups tells {told[begin : begin + length].decode()}", rather_than="/127.0.0.1", is_so=told[begin - 1 : begin] != b"/")


@deviation("kfake", "During a rebalance nobody is said to have an assignment", "DescribeGroups member_assignment: ?* → ")
def hides_assignments(address: Address) -> str:
    group = new_group(address)
    leader = joined(address, group)
    synced(address, leader)
    with RawClient(*address) as another:
        another.send(head(JOIN_GROUP, 1) + join(group, "", struct.pack(">ii", 30_000, 60_000)))
        while heartbeat(address, leader) == NONE:
            time.sleep(0.01)
        told = ask(address, DESCRIBE_GROUPS, 0, many(text(group)))
    return see(f"the leader's assignment is {'told' if ASSIGNMENT in told else 'not told'}", rather_than="told", is_so=ASSIGNMENT not in told)


@deviation("kfake", "Of a group that is not there no message tells", "DescribeGroups error_message: a text → None")
def describes_without_a_message(address: Address) -> str:
    """Version 6, which has compact lengths: one group, operations no."""
    group = new_group(address).encode()
    with RawClient(*address) as client:
        answer = client.ask(head(DESCRIBE_GROUPS, 6) + b"\x00\x02" + bytes([len(group) + 1]) + group + b"\x00\x00")
    assert answer is not None
    error, length = struct.unpack_from(">hB", answer, 4 + 1 + 4 + 1)
    return see(f"error {error}, a message of {length - 1} bytes", rather_than="a text", is_so=error == GROUP_ID_NOT_FOUND and length == 0)


@deviation("kfake", "To a group without members nobody commits with an instance id", "OffsetCommit error_code: NONE → UNKNOWN_MEMBER_ID")
def refuses_an_instance(address: Address) -> str:
    """Version 7: generation -1, no member id, instance "i"."""
    partition = struct.pack(">iqi", 0, 7, -1) + text("")
    topics = many(text(new_topic(address)) + many(partition))
    answer = ask(address, OFFSET_COMMIT, 7, text(new_group(address)) + struct.pack(">i", -1) + text("") + text("i") + topics)
    (error,) = struct.unpack(">h", answer[-2:])
    return see(f"OffsetCommit v7 by an instance, no generation, to a group that is not there: error {error}", rather_than="NONE", is_so=error == UNKNOWN_MEMBER_ID)


@deviation("kfake", "A pending id that is given back brings no rebalance", "Heartbeat error_code: REBALANCE_IN_PROGRESS → NONE")
def goes_on_when_an_id_is_given_back(address: Address) -> str:
    """JoinGroup v4 gives an id to whoever has none; it ends with it and a count of members, 0."""
    group = new_group(address)
    leader = joined(address, group)
    synced(address, leader)
    answer = ask(address, JOIN_GROUP, 4, join(group, "", struct.pack(">ii", 30_000, 60_000)))
    pending = answer[answer.index(b"hand-") : -4].decode()
    (left,) = struct.unpack(">h", ask(address, LEAVE_GROUP, 0, text(group) + text(pending)))
    error = heartbeat(address, leader)
    return see(f"an id is given and given back (error {left}), then a Heartbeat of the only member: error {error}", rather_than="REBALANCE_IN_PROGRESS (27)", is_so=left == error == NONE)


# librdkafka's mock broker


@deviation("librdkafka-mock", "Every Metadata answer with compact lengths has a byte too many", "* the answer: {*MetadataResponse* → what is no answer: the message, byte *: 1 bytes left*")
def writes_a_byte_too_many(address: Address) -> str:
    """Version 12, no topics: behind the brokers come the cluster's id, the controller, the topics and the tagged fields."""
    with RawClient(*address) as client:
        answer = client.ask(struct.pack(">hhi", METADATA, 12, 1) + text("hand") + bytes.fromhex("00 01 00 00 00"))
    assert answer is not None
    position = 4 + 1 + 4 + 1  # correlation id, tags of the header, throttle time, one broker
    assert answer[position - 1] == 2, "there is one broker"
    position += 4 + 1 + (answer[position + 4] - 1) + 4
    position += 1 + max(answer[position] - 1, 0) + 1  # rack, tags
    position += 1 + max(answer[position] - 1, 0) + 4  # cluster id, controller
    assert answer[position] == 1, "there are no topics"
    left = answer[position + 1 :]
    return see(f"behind the topics: {left.hex(' ')}", rather_than="00", is_so=len(left) > 1)


@deviation("librdkafka-mock", "A producer id that nobody was given is refused", "InitProducerId error_code: * → UNKNOWN_PRODUCER_ID", "InitProducerId producer_epoch: 0 → -1", "InitProducerId producer_id: producer * → -1")
def knows_its_producers(address: Address) -> str:
    error = half_a_pair(address, 1, 0)
    return see(f"no transactional id, producer id 1, epoch 0: error {error}", rather_than="a new id", is_so=error == 59)


@deviation("librdkafka-mock", "A producer epoch without an id is taken", *HALF_A_PAIR)
def mock_takes_half_a_pair(address: Address) -> str:
    error = half_a_pair(address, -1, 1)
    return see(f"no transactional id, producer id -1, epoch 1: error {error}", rather_than="INVALID_REQUEST (42)", is_so=error == NONE)


@deviation("librdkafka-mock", "A length out of range is waited upon", "ApiVersions the answer: the end of the connection → silence")
def mock_waits_upon_a_negative_length(address: Address) -> str:
    came = lives(address, struct.pack(">i", -1))
    return see(f"length -1: {came}", rather_than="the end", is_so=came == "silence")


@deviation("librdkafka-mock", "Node 0, which is not there, is the controller", "Metadata controller_id: 1 → 0")
def has_controller_0(address: Address) -> str:
    """Version 1: brokers, controller, topics."""
    answer = ask(address, METADATA, 1, many())
    count, node, host = struct.unpack_from(">iih", answer)
    (rack,) = struct.unpack_from(">h", answer, 10 + host + 4)
    (controller,) = struct.unpack_from(">i", answer, 10 + host + 4 + 2 + max(rack, 0))
    return see(f"{count} broker, node {node}; controller {controller}", rather_than=str(node), is_so=count == 1 and controller != node)


@deviation("librdkafka-mock", "A coordinator is found for any type of key", *(f"FindCoordinator {field}: *" for field in ("error_code", "host", "node_id", "port", "error_message")))
def finds_any_coordinator(address: Address) -> str:
    error, node, port = coordinator_of_no_kind(address)
    return see(f"key type 9: error {error}, node {node}, port {port}", rather_than="INVALID_REQUEST (42)", is_so=error == NONE)


@deviation("librdkafka-mock", "The answer to an unknown version of ApiVersions is of no version", "ApiVersions the answer: {*UNSUPPO* → what is no answer: *")
def answers_in_no_version(address: Address) -> str:
    """Version 0 has an error, a count in four bytes, and six bytes an entry; nothing else."""
    with RawClient(*address) as client:
        answer = client.ask(struct.pack(">hhi", API_VERSIONS, 99, 1) + text("hand") + b"\x00")
    assert answer is not None
    error, count = struct.unpack_from(">hi", answer, 4)
    return see(f"{len(answer) - 10} bytes for {count} entries, error {error}", rather_than=f"{6 * count} bytes", is_so=len(answer) - 10 != 6 * count)


@deviation("librdkafka-mock", "A request whose last tagged fields are missing is answered", *(f"{api} the answer: the end of the connection → {{*" for api in ("Fetch", "ListOffsets", "InitProducerId")))
def answers_without_tags(address: Address) -> str:
    frame = head(INIT_PRODUCER_ID, 2) + b"\x00" + b"\x00" + struct.pack(">i", 60_000)
    came = lives(address, struct.pack(">i", len(frame)) + frame)
    return see(f"InitProducerId v2 that ends behind the timeout: {came}", rather_than="the end", is_so=came == "an answer")


@deviation("librdkafka-mock", "Metadata creates a topic of any name", "Metadata error_code: INVALID_TOPIC_EXCEPTION → NONE", "Metadata partitions: [[]] → [[]*")
def creates_any_name_by_metadata(address: Address) -> str:
    answer = ask(address, METADATA, 1, many(text("by hand/")))
    (error,) = struct.unpack_from(">h", answer, answer.index(b"by hand/") - 4)
    return see(f"Metadata for a name with a blank and a slash: error {error}", rather_than="INVALID_TOPIC_EXCEPTION (17)", is_so=error == NONE)


@deviation("librdkafka-mock", "A JoinGroup that ends within its protocols ends the process")
def frees_twice(address: Address) -> str:
    """Version 0, a count of 8 protocols, and nothing behind it, ten times. No difference shows it: the case about that has no answer to be judged by."""
    frame = head(JOIN_GROUP, 0) + text("hand") + struct.pack(">i", 30_000) + text("") + text("consumer") + struct.pack(">i", 8)
    for _ in range(10):
        with suppress(ConnectionError):
            lives(address, struct.pack(">i", len(frame)) + frame)
    came = next_connection(address)
    return see(f"protocols that are not there, ten times, then a new connection: {came}", rather_than="taken", is_so=came == "refused")
