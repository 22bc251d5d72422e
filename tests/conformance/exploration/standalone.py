"""Tells one story to one broker, with Python and nothing else: the very bytes, but for the ids and times that the broker gives at run time."""

import secrets
import select
import socket
import struct
import sys
import time
from typing import Any

PATIENCE_S = 10.0
#: So long a broker is given to take in a request whose answer is not awaited yet; so long something that waits may go on to wait.
ARRIVAL_S, STILL_S = 0.05, 5.0
MEMBER_ID_REQUIRED = 79
#: A time so near is one that goes by the clock: no record of a story is older.
NEAR_MS = 48 * 3_600_000


def crc32c(data: bytes) -> int:
    """The checksum of record batches."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Broker:
    """A broker over TCP, and what it gave out in the course of the story."""

    def __init__(self, address: str, story: dict[str, Any]) -> None:
        host, _, port = address.rpartition(":")
        self.address = host.strip("[]"), int(port)
        self.story = story
        self.then: bytes = story["prefix"].encode()
        self.now = self.then[:8] + secrets.token_hex(4).encode() + self.then[16:]  # names as long as they were
        self.begun_ms = time.time_ns() // 1_000_000
        self.topics: dict[str, list[bytes]] = {}  # of each topic every id that it had, the last it has
        self.producers: list[bytes] = []
        self.sessions: list[bytes] = []
        self.members: list[bytes] = []
        self.generation = 0
        self.ids: dict[bytes, bytes] = {}  # id now -> id then
        self.connection = self.connected()

    def connected(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(self.address, timeout=PATIENCE_S)

    def set_up(self) -> None:
        """The topics, the producers and the group that the story begins with."""
        self.said(bytes.fromhex(self.story["create"]))
        for topic, was in self.story["topic_ids"].items():
            self.ids[self.id_of(topic)] = bytes.fromhex(was)
        place = self.story["init_at"]
        while len(self.producers) < self.story["producers"]:
            answer = self.said(bytes.fromhex(self.story["init"]))
            if answer[place - 2 : place] == b"\x00\x00":
                self.producers.append(answer[place : place + 8])
            else:
                time.sleep(ARRIVAL_S)  # the broker may have to get a block of ids first
        if self.story["found"]:
            find, ask_for_id, *join = self.story["found"]
            give_up = time.monotonic() + PATIENCE_S
            while not self.members and time.monotonic() < give_up:
                self.tell(find)
                self.tell(ask_for_id)
                time.sleep(ARRIVAL_S)  # the broker may have to become a coordinator first
            for step in join:
                self.tell(step)

    def tear_down(self) -> None:
        """Its topics and groups away."""
        self.said(bytes.fromhex(self.story["delete"]))
        for step in self.story["leave"]:
            self.tell(step)

    def id_of(self, topic: str) -> bytes:
        """The id that a topic has by now."""
        answer = self.said(bytes.fromhex(self.story["metadata"][topic]))
        name = topic.encode().replace(self.then, self.now)
        place = answer.find(name) + len(name)
        found = answer[place : place + 16]
        known = self.topics.setdefault(topic, [])
        if found.strip(b"\x00") and found not in known:
            known.append(found)
        return found

    def frame(self, step: dict[str, Any]) -> bytes:
        """What is sent: the bytes of then with the ids and times of now, and checksums that fit where they did."""
        frame = bytearray(bytes.fromhex(step["frame"]))
        for place, size, kind, which in step["slots"]:
            was = bytes(frame[place : place + size])
            frame[place : place + size] = is_now = self.value(was, kind, which)
            if kind in ("topic", "old topic"):
                self.ids[is_now] = was
        for begin, end in step["batches"]:
            struct.pack_into(">I", frame, begin + 17, crc32c(bytes(frame[begin + 21 : end])))
        return bytes(frame)

    def value(self, was: bytes, kind: str, which: Any) -> bytes:
        """What stands now for an id or a time of then."""
        if kind == "time":
            return struct.pack(">q", struct.unpack(">q", was)[0] - int(self.story["begun_ms"]) + self.begun_ms)
        if kind == "topic":
            return self.id_of(which)
        if kind == "old topic":
            now = self.id_of(which)
            gone = [known for known in self.topics[which] if known != now]
            return gone[-1] if gone else was
        if kind == "generation":
            return struct.pack(">i", struct.unpack(">i", was)[0] - which + self.generation)
        known = self.producers if kind == "producer" else self.members if kind == "member" else self.sessions
        return known[which] if which < len(known) and len(known[which]) == len(was) else was

    # Asking

    def send(self, connection: socket.socket, frame: bytes) -> None:
        """A frame behind its length, with the names of now."""
        frame = frame.replace(self.then, self.now)
        connection.sendall(struct.pack(">i", len(frame)) + frame)

    def received(self, connection: socket.socket) -> bytes:
        """A frame without its length; empty, if the connection ends."""
        size = self.exactly(connection, 4)
        return self.exactly(connection, struct.unpack(">i", size)[0]) if size else b""

    def exactly(self, connection: socket.socket, size: int) -> bytes:
        """So many bytes; none, if the connection ends before."""
        taken = b""
        while len(taken) < size:
            chunk = connection.recv(size - len(taken))
            if not chunk:
                return b""
            taken += chunk
        return taken

    def said(self, frame: bytes) -> bytes:
        """The answer to a frame."""
        self.send(self.connection, frame)
        return self.received(self.connection)

    def words(self, answer: bytes) -> str:
        """An answer in words."""
        if not answer:
            self.connection = self.connected()
            return "the broker ended the connection"
        return answer.hex()

    def tell(self, step: dict[str, Any]) -> bytes | None:
        """One step: its answer, empty for the end of the connection, None for none."""
        frame = self.frame(step)
        if step["topics"]:
            for topic in self.story["metadata"]:
                self.id_of(topic)  # it may go
        self.send(self.connection, frame)
        if not step["is_answered"]:  # the next request tells whether the connection was ended
            self.send(self.connection, bytes.fromhex("0012000000000000ffff"))
            return None if self.received(self.connection) else b""
        answer = self.received(self.connection)
        self.remember(step, answer)
        return answer

    def remember(self, step: dict[str, Any], answer: bytes) -> None:
        """An id that was given out."""
        if not step["gives"] or not answer:
            return
        kind, place, size = step["gives"]
        if kind == "member":
            self.joined(answer, version=place, has_tags=size)
            return
        given = answer[place : place + size]
        known = self.producers if kind == "producer" else self.sessions
        if answer[place - 2 : place] == b"\x00\x00" and given.strip(b"\x00") and given not in known:
            known.append(given)

    def joined(self, answer: bytes, version: int, has_tags: int) -> None:
        """The id of a member, and its generation, from the answer to its JoinGroup."""
        place = 4 + has_tags + 4 * (version >= 2)
        error, generation = struct.unpack_from(">hi", answer, place)
        texts = []
        place += 6
        for name in ("protocol type", "protocol", "leader", "member"):
            if name != "protocol type" or version >= 7:
                place += name == "member" and version >= 9
                text, place = self.text(answer, place, is_compact=version >= 6)
                texts.append(text)
        if error in (0, MEMBER_ID_REQUIRED) and texts[-1] not in self.members:
            self.members.append(texts[-1])
        if error == 0:
            self.generation = generation

    def text(self, data: bytes, place: int, is_compact: bool) -> tuple[bytes, int]:
        """A text, and where it ends."""
        if not is_compact:
            size, place = struct.unpack_from(">h", data, place)[0], place + 2
        else:
            size = shift = 0
            while True:
                byte, place = data[place], place + 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            size -= 1
        end = place + max(size, 0)
        return data[place:end], end

    def as_then(self, step: dict[str, Any], answer: bytes) -> bytes:
        """An answer with the names and ids of then."""
        for is_now, was in self.ids.items():
            answer = answer.replace(is_now, was)
        then = bytes.fromhex(step["then"])
        for begin, end in step["own"]:
            answer = answer[:begin] + then[begin:end] + answer[end:]
        return answer.replace(self.now, self.then)

    def is_as_then(self, step: dict[str, Any], answer: bytes | None) -> bool:
        """Is it the answer of then, but for what is a time?"""
        if answer is None or step["then"] is None:
            return answer is step["then"]
        then, answer = bytes.fromhex(step["then"]), self.as_then(step, answer)
        return len(answer) == len(then) and all(
            one == other or any(self.is_time(answer[begin : begin + 8]) for begin in range(max(place - 7, 0), place + 1))
            for place, (one, other) in enumerate(zip(answer, then, strict=True))
        )

    def is_time(self, data: bytes) -> bool:
        """Are these eight bytes a time that goes by the clock?"""
        return len(data) == 8 and abs(struct.unpack(">q", data)[0] - self.begun_ms) < NEAR_MS


def main(story: dict[str, Any]) -> int:
    """Tell it to the broker that the command line names; 1 if the last answer is the one of then, 0 if it is not."""
    if len(sys.argv) != 2:
        print(f"usage: python {sys.argv[0]} HOST:PORT", file=sys.stderr)
        return 2
    broker = Broker(sys.argv[1], story)
    broker.set_up()
    last, is_then = None, False
    waiting: list[tuple[dict[str, Any], socket.socket]] = []
    try:
        for number, step in enumerate(story["steps"], 1):
            print(f"\n{number}. {step['told']}")
            if step["may_wait"]:
                waiting.append((step, broker.connected()))
                broker.send(waiting[-1][1], broker.frame(step))
                time.sleep(ARRIVAL_S)
                is_then = heard_of(broker, waiting, step["number"])
                continue
            beside = broker.connected() if step["waiting"] else None
            if beside:
                broker.send(beside, broker.frame(step["waiting"]))
                time.sleep(ARRIVAL_S)
            last = broker.tell(step)
            print("   no answer is due" if last is None else f"   {broker.words(last)}")
            is_then = broker.is_as_then(step, last)
            if beside:
                is_then = heard(broker, beside, step["waiting"]) and is_then
            is_then = heard_of(broker, waiting, step["number"]) and is_then
    finally:
        broker.tear_down()
    print("\nexpected and got, then:", *story["expected_and_got"], sep="\n  ")
    print("\nthe last answer is", "the same as then" if is_then else "not the one of then")
    return 1 if is_then else 0


def heard_of(broker: Broker, waiting: list[tuple[dict[str, Any], socket.socket]], number: int) -> bool:
    """What comes of those who wait during a step; is nobody else answered than then, and each as then?"""
    is_then = True
    for step, connection in list(waiting):
        is_early = step["until"] != number and bool(select.select([connection], [], [], 0)[0])
        if is_early or step["until"] == number:
            waiting.remove((step, connection))
            is_then = heard(broker, connection, step) and not is_early and is_then
    return is_then


def heard(broker: Broker, beside: socket.socket, step: dict[str, Any]) -> bool:
    """What comes of the request that waits; is it as then?"""
    beside.settimeout(STILL_S)
    try:
        answer = broker.received(beside)
    except TimeoutError:
        print("   and what waits goes on to wait")
        return broker.is_as_then(step, None)
    broker.remember(step, answer)
    print("   and what waited:", answer.hex() or "the end of its connection")
    return broker.is_as_then(step, answer)
