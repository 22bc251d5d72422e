"""`fiducial serve` as a process, the reference broker and the fast path by each of its drivers: what it logs, how much memory it takes, how many
connections, and how it stops."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from instance import OPTIONS, REFERENCE, Instance, command_of, running
from raw_client import RawClient

from fiducial.conformance.exploration.steps import answer_of, request_frame
from fiducial.conformance.exploration.targets import Remote, talk
from fiducial.fastpath import server as fast
from fiducial.models import messages as m
from fiducial.models.errors import Error
from fiducial.models.settings import Settings
from fiducial.models.state import SEED_BYTES
from fiducial.reference import server as reference
from fiducial.reference.records import HEADER, packed_varint, with_checksum

PRODUCE, FETCH, METADATA, VERSIONS, CREATE_TOPICS = 0, 1, 3, 18, 19
MEGABYTE = 1 << 20
VERSIONS_0 = struct.pack(">hhih", VERSIONS, 0, 7, -1)


@pytest.fixture(scope="module", params=list(OPTIONS))
def kind(request: pytest.FixtureRequest) -> str:
    """Which of our brokers."""
    return str(request.param)


@pytest.fixture(scope="module")
def broker(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One broker for the tests that need nothing particular."""
    with running(kind, tmp_path_factory.mktemp("broker")) as instance:
        yield instance


# Where it listens


def test_each_listener_tells_of_the_address_that_is_advertised_for_it(kind: str, tmp_path: Path) -> None:
    spoken = "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT"
    told_of = {"inside": ("inside.example", 1), "plaintext": ("outside.example", 2)}
    told = ",".join(f"{name}://{host}:{port}" for name, (host, port) in told_of.items())
    listen = "127.0.0.1:0,INSIDE://127.0.0.1:0"
    with running(kind, tmp_path, listen, listener_security_protocol_map=spoken, advertised_listeners=told) as broker:
        for port, endpoint in zip(broker.ports, (told_of["plaintext"], told_of["inside"]), strict=True):
            with RawClient(broker.host, port) as client:
                answer = client.ask(request_frame(METADATA, 12, m.MetadataRequest(())))
                assert answer is not None
                (one,) = answer_of(answer, METADATA, 12).brokers
                assert (one.host, one.port) == endpoint


# The log


def head(api_key: int, version: int) -> bytes:
    """A header without a client id or tags."""
    return struct.pack(">hhih", api_key, version, 7, -1)


def framed(frame: bytes) -> bytes:
    """A frame behind its length."""
    return struct.pack(">i", len(frame)) + frame


HEADER_IS_CUT, NO_METADATA = "malformed request: it ends in its header", "malformed request: no request of API 3 version"
WITHOUT_ACKS = m.ProduceRequest(acks=0, topic_data=(m.TopicProduceData("absent", partition_data=(m.PartitionProduceData(),)),))

#: What is sent, and what each of our brokers says of it: the second the same as the first where nothing else stands.
BAD: list[tuple[bytes, str, str]] = [
    (bytes(4), "a frame of 0 bytes", ""),
    (struct.pack(">i", -1), "a frame of -1 bytes", ""),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "a frame of 1195725856 bytes", ""),
    (bytes.fromhex("16030101 00010000fc0303"), "a frame of 369295617 bytes", ""),  # the beginning of a TLS handshake
    (framed(head(METADATA, 8)[:8]), "malformed request: a number of 2 bytes wanted at 8, 0 are left", HEADER_IS_CUT),
    (
        framed(head(METADATA, 8) + b"\x00\x00"),
        "malformed request: a number of 4 bytes wanted at 10, 2 are left",
        f"{NO_METADATA} 8: byte 0 and what follows do not fit",
    ),
    (
        framed(head(METADATA, 0) + b"\xff" * 4),
        "malformed request: null where an array must be",
        f"{NO_METADATA} 0: byte 4 and what follows do not fit",
    ),
    (framed(head(METADATA, 12) + b"\xff" * 6), "malformed request: a varint of more than 5 bytes", HEADER_IS_CUT),
    (framed(head(FETCH, 12)), "malformed request: 1 bytes wanted at 10, 0 are left", "malformed request"),
    (framed(head(93, 0)), "request 93 version 0 is not served", ""),
    (framed(head(PRODUCE, 2)), "request 0 version 2 is not served", ""),
    (framed(request_frame(PRODUCE, 12, WITHOUT_ACKS)), "refused without acks: LOG-PRODUCE-2", "refused without acks"),
]


@pytest.mark.parametrize(("sent", "said", "said_by_fast"), BAD, ids=[said for _, said, _ in BAD])
def test_what_ends_a_connection_is_one_line_in_the_log(kind: str, broker: Instance, sent: bytes, said: str, said_by_fast: str) -> None:
    before = len(broker.log())
    with broker.connect() as bystander, broker.connect() as client:
        client.socket.sendall(sent)
        assert client.answer() is None
        (line,) = broker.logged(before, 1)
        reason = said if kind == REFERENCE or not said_by_fast else said_by_fast
        assert line.endswith(f" WARNING closing {client.name}: {reason}")
        assert bystander.ask(VERSIONS_0) is not None


def test_what_goes_well_is_not_logged(broker: Instance) -> None:
    before = broker.log()
    with broker.connect() as client:
        assert client.ask(VERSIONS_0) is not None
        client.say_no_more()
        assert client.answer() is None
    assert broker.log() == before


@pytest.mark.rule("WIRE-FRAME-13")
def test_idle_connections_are_closed(kind: str, tmp_path: Path) -> None:
    waiting = request_frame(FETCH, 12, m.FetchRequest(max_wait_ms=600_000, min_bytes=1, topics=(m.FetchTopic("t", partitions=(m.FetchPartition(),)),)))
    with running(kind, tmp_path, connections_max_idle_ms="300") as instance, ExitStack() as stack:
        before, within, behind, meanwhile = (stack.enter_context(instance.connect()) for _ in range(4))
        within.socket.sendall(framed(VERSIONS_0)[:9])
        assert behind.ask(VERSIONS_0) is not None
        create(instance, "t")
        meanwhile.send(waiting)
        clients = (before, within, behind, meanwhile)
        assert [client.answer() for client in clients] == [None] * 4
        lines = [line.partition("WARNING ")[2] for line in instance.logged(0, 4)]
        assert {f"closing {client.name}: idle for 0.3 s" for client in clients} <= set(lines) and len(lines) == len(set(lines))


# Memory


def create(instance: Instance, topic: str) -> None:
    """A topic of one partition."""
    remote = Remote(topic, instance.host, instance.port)
    created = talk(remote, CREATE_TOPICS, m.CreateTopicsRequest((m.CreatableTopic(topic, 1, 1),)))
    assert created.topics[0].error_code == Error.NONE
    remote.close()


def large_batch() -> Any:
    """One record of nearly a megabyte."""
    now, value = time.time_ns() // 1_000_000, bytes(1_000_000)
    content = b"\x00\x00\x00\x01" + packed_varint(len(value)) + value + b"\x00"
    body = packed_varint(len(content)) + content
    return with_checksum(HEADER.pack(0, 49 + len(body), -1, 2, 0, 0, 0, now, now, -1, -1, -1, 1) + body)


def fill(instance: Instance, topic: str, count: int) -> None:
    """So many megabytes into a topic."""
    create(instance, topic)
    data = m.TopicProduceData(topic, partition_data=(m.PartitionProduceData(0, large_batch()),))
    frame = request_frame(PRODUCE, 12, m.ProduceRequest(acks=-1, topic_data=(data,)))
    with instance.connect() as client:
        for _ in range(count):
            answer = client.ask(frame)
            assert answer is not None
            assert answer_of(answer, PRODUCE, 12).responses[0].partition_responses[0].error_code == Error.NONE


def settled_bytes(instance: Instance) -> int:
    """The memory of the process once it has nothing left to do: when it has answered somebody else."""
    with instance.connect() as other:
        for _ in range(20):
            assert other.ask(VERSIONS_0) is not None
            time.sleep(0.02)
    return instance.resident_bytes()


@pytest.mark.rule("WIRE-FRAME-14")
def test_a_client_that_does_not_read_its_answers_takes_no_more_memory_than_an_answer(broker: Instance) -> None:
    fill(broker, "unread", 8)
    wanted = m.FetchTopic("unread", partitions=(m.FetchPartition(partition_max_bytes=100 * MEGABYTE),))
    frame = request_frame(FETCH, 12, m.FetchRequest(min_bytes=1, topics=(wanted,)))
    with broker.connect() as reader:
        answer = reader.ask(frame)
        assert answer is not None and len(answer) > 8_000_000
    before = settled_bytes(broker)
    with broker.connect(receive_buffer_bytes=262_144) as client:
        client.send(*[frame] * 30)
        assert settled_bytes(broker) < before + 60 * MEGABYTE, "30 answers have 240 MB"
        for _ in range(30):
            assert client.answer() == answer


@pytest.mark.rule("WIRE-FRAME-14")
def test_a_client_that_only_sends_is_not_read_from_for_ever(broker: Instance) -> None:
    before = settled_bytes(broker)
    request = framed(request_frame(METADATA, 12, m.MetadataRequest(())))
    with broker.connect(receive_buffer_bytes=65_536) as client:
        client.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.socket.sendall(request * (150 * MEGABYTE // len(request)))
        assert settled_bytes(broker) < before + 60 * MEGABYTE


@pytest.mark.rule("WIRE-FRAME-1", "WIRE-FRAME-14")
def test_a_frame_takes_no_memory_before_it_has_come(broker: Instance) -> None:
    before = settled_bytes(broker)
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(broker.connect())
            client.socket.sendall(struct.pack(">i", 104_857_600) + bytes(1000))
        assert settled_bytes(broker) < before + 20 * MEGABYTE


# Many


def test_many_connections_at_once_are_served(broker: Instance) -> None:
    with ExitStack() as stack:
        broker.process.send_signal(signal.SIGSTOP)  # they come while it looks elsewhere
        clients = [stack.enter_context(broker.connect()) for _ in range(400)]
        broker.process.send_signal(signal.SIGCONT)
        for client in clients:
            client.send(VERSIONS_0, VERSIONS_0)
        answers = {client.answer() for client in clients for _ in range(2)}
        assert len(answers) == 1 and None not in answers


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_with_connections_of_every_kind(kind: str, tmp_path: Path, number: signal.Signals) -> None:
    with running(kind, tmp_path) as instance, ExitStack() as stack:
        fill(instance, "t", 8)
        idle, half, waiting, unread = (stack.enter_context(instance.connect()) for _ in range(4))
        half.socket.sendall(framed(VERSIONS_0)[:9])
        wanted = m.FetchTopic("t", partitions=(m.FetchPartition(fetch_offset=8, partition_max_bytes=1),))
        waiting.send(request_frame(FETCH, 12, m.FetchRequest(max_wait_ms=600_000, min_bytes=1, topics=(wanted,))))
        wanted = m.FetchTopic("t", partitions=(m.FetchPartition(partition_max_bytes=100 * MEGABYTE),))
        unread.send(*[request_frame(FETCH, 12, m.FetchRequest(min_bytes=1, topics=(wanted,)))] * 20)
        settled_bytes(instance)
        assert instance.stop(number) == ""
        assert idle.answer() is None and half.answer() is None and waiting.answer() is None


def serve(kind: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a broker that cannot serve."""
    return subprocess.run([*command_of(kind, folder), *options], capture_output=True, text=True, check=False, timeout=30)


def test_a_port_that_is_taken_is_said_in_one_line(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = serve(kind, tmp_path, "--listen", address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"fiducial: cannot listen on {address}: ") and done.stderr.count("\n") == 1
    assert os.strerror(errno.EADDRINUSE).lower() in done.stderr


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_host_that_cannot_be_is_said_in_one_line(kind: str, tmp_path: Path, host: str) -> None:
    done = serve(kind, tmp_path, "--listen", f"{host}:0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"fiducial: cannot listen on {host}:0: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("setting", ["no.such.setting=1", "num.partitions=many", "socket.request.max.bytes=0"])
def test_a_setting_that_is_not_accepted_is_said_in_one_line(kind: str, tmp_path: Path, setting: str) -> None:
    done = serve(kind, tmp_path, "--listen", "127.0.0.1:0", "--set", setting)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("fiducial serve: ") and setting.partition("=")[0] in done.stderr


# Ids


@pytest.mark.rule("WIRE-TOPIC-44")
def test_each_start_has_a_seed_of_its_own_which_is_as_long_as_a_seed_can_be(tmp_path: Path) -> None:
    settings = Settings()
    seeds = [reference.begun(settings, [("127.0.0.1", 1)]).core.broker.chance.seed for _ in range(2)]
    for _ in range(2):
        node = fast.begun(tmp_path, settings, [("127.0.0.1", 1)])
        seeds.append(node.broker.chance.seed)
        node.close()
    assert len(set(seeds)) == 4
    assert all(8 * (SEED_BYTES - 8) < seed.bit_length() <= 8 * SEED_BYTES for seed in seeds)
