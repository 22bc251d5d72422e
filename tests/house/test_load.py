"""The load that the bench puts on a broker notices what is not as it must be: else a broker that loses records would be a fast one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from bench import load
from bench.brokers import create_topic
from bench.generator import Lane, LoadFailed, generate
from bench.load import Connection, Target
from conftest import Address

REQUEST = load.with_length(b"request")
#: Of an answer without an error, whose code stands behind its length.
GOOD = load.with_length(bytes(20))
LANE = Lane([REQUEST], 3, 4, len(GOOD))


@dataclass(frozen=True)
class Broker(Address):
    """One of ours, as the bench knows brokers; its process is not looked at."""

    name: str = "ours"
    pid: int = os.getpid()


@contextmanager
def answering(answer: Callable[[int], bytes]) -> Iterator[int]:
    """A port whose first client is answered its first request, second …; nothing at all by an empty answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection, connection.makefile("rb") as requests, suppress(OSError):  # who has seen enough hangs up
                number = 0
                while requests.read(len(REQUEST)):
                    connection.sendall(answer(number))
                    number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def loaded(answer: Callable[[int], bytes], lane: Lane = LANE, *, seconds: float = 0.05, **how: Any) -> Any:
    """What the generator finds in a moment."""
    with answering(answer) as port:
        return generate(port, os.getpid(), [lane], seconds, warm_s=0.05, **how)


def test_every_answer_is_counted() -> None:
    answered = 0

    def answer(number: int) -> bytes:
        nonlocal answered
        answered = number + 1
        return GOOD

    found = loaded(answer)
    assert found.answered == (answered,)
    assert 0 < found.requests <= answered
    assert found.received_bytes == found.requests * len(GOOD)


def test_a_refusal_ends_the_load() -> None:
    with pytest.raises(LoadFailed, match="refused: error 3"):
        loaded(lambda number: GOOD if number < 10 else load.with_length(b"\0\3" + bytes(18)))


def test_an_answer_that_is_shorter_ends_the_load() -> None:
    with pytest.raises(LoadFailed, match=f"an answer of {len(GOOD) - 1} bytes, not of {len(GOOD)}"):
        loaded(lambda number: GOOD if number < 10 else load.with_length(bytes(19)))


def test_two_answers_to_one_request_end_the_load() -> None:
    with pytest.raises(LoadFailed, match="an answer to nothing"):
        loaded(lambda number: GOOD if number < 10 else 10 * GOOD)


def test_the_rest_of_a_large_answer_is_passed_over() -> None:
    large = load.with_length(bytes(3_000_000))
    found = loaded(lambda number: large, replace(LANE, answer_bytes=len(large), is_bulky=True))
    assert found.answered[0] >= 3


def test_what_is_late_is_late_from_when_it_was_due() -> None:
    """The first is answered when the twentieth is there, at 200 a second: had it been counted from when it could be sent, it would have taken no time."""
    found = loaded(lambda number: GOOD if number >= 20 else 20 * GOOD if number == 19 else b"", rate=200, seconds=1)
    assert found.latency_us[-1] >= 19 / 200 * 1e6


@pytest.fixture
def target(reference_broker: Address, request: pytest.FixtureRequest) -> Target:
    """A new topic of two partitions."""
    broker: Any = Broker(reference_broker.host, reference_broker.port)
    return Target(broker, request.node.name, create_topic(broker, request.node.name, 2))


def test_what_was_acknowledged_is_there_and_readable(target: Target) -> None:
    lanes = [load.produce_lane(target, index, 10) for index in range(2)]
    found = load.produced(target, lanes, 10, 0.1)
    assert load.end_offsets(target, 2) == [10 * (1 + count) for count in found.answered]


def test_a_log_that_has_less_than_was_acknowledged_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = [load.produce_lane(target, index, 10) for index in range(2)]

    def forgetful(*given: Any, **how: Any) -> Any:
        found = generate(*given, **how)
        return replace(found, answered=(found.answered[0] + 1, found.answered[1]))

    monkeypatch.setattr(load, "generate", forgetful)
    with pytest.raises(AssertionError, match="the logs end at"):
        load.produced(target, lanes, 10, 0.1)


def test_a_batch_that_is_not_what_was_sent_is_noticed(target: Target) -> None:
    other = load.records_of.__wrapped__(10)
    connection = Connection(target.broker)
    with connection.socket:
        connection.produce(load.produce_frame(target.topic_id, {0: other}))
    with pytest.raises(AssertionError, match="what is read is not what was sent"):
        load.sample(target, [10], 10)


def test_who_tails_reads_each_batch_once(target: Target) -> None:
    lanes = [load.produce_lane(target, index, 10) for index in range(2)]
    tails = [load.tail_lane(target, index, 10, index) for index in range(2)]
    found = load.produced(target, lanes, 10, 0.2, beside=tails, rate=200)
    assert 0 < found.batches_read <= sum(found.answered[:2])
    assert len(found.delay_us) == len(found.latency_us)


def test_lengths_are_written_as_the_protocol_has_them() -> None:
    assert [load.unsigned_varint(number) for number in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]
