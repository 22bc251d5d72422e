"""The judge's connection: an answer, a broken one, the end, silence and a refused connection are told apart, and nothing takes for ever."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fiducial.conformance import codec
from fiducial.conformance.client import (
    Answer,
    Broken,
    Closed,
    Connection,
    Deadline,
    Heard,
    Silence,
    Transcript,
    Unreachable,
)
from fiducial.models.messages import ApiVersionsRequest, ApiVersionsResponse, ProduceRequest

Behaviour = Callable[[socket.socket], None]
VERSIONS = 18


@contextmanager
def broker(behaviour: Behaviour) -> Iterator[tuple[str, int]]:
    """A broker of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                behaviour(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()
        thread.join(10)
        assert not thread.is_alive()


def frame_of(connection: socket.socket) -> bytes:
    """A request."""
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    return connection.recv(size, socket.MSG_WAITALL)


def answering(*bodies: bytes, correlation_ids: tuple[int, ...] = (1, 2, 3)) -> Behaviour:
    """Answers each request with a body."""

    def behave(connection: socket.socket) -> None:
        for correlation_id, body in zip(correlation_ids, bodies, strict=False):
            frame_of(connection)
            connection.sendall(struct.pack(">ii", 4 + len(body), correlation_id) + body)

    return behave


SOUND = codec.encode(ApiVersionsResponse(), VERSIONS, 0, "response")


def heard(behaviour: Behaviour, version: int = 0, deadline_s: float = 5) -> Heard:
    """What is heard from a broker that is asked for its versions."""
    with broker(behaviour) as address, Connection(*address, Deadline(deadline_s)) as connection:
        connection.send_frame(VERSIONS, version, b"")
        return connection.receive()


def test_an_answer_is_its_message() -> None:
    assert heard(answering(SOUND)) == Answer(struct.pack(">i", 1) + SOUND, ApiVersionsResponse())


def test_api_versions_of_an_unknown_version_are_answered_in_the_layout_of_the_first() -> None:
    answer = heard(answering(codec.encode(ApiVersionsResponse(35), VERSIONS, 0, "response")), version=99)
    assert isinstance(answer, Answer) and answer.message == ApiVersionsResponse(35)


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (answering(SOUND + b"\x00"), "the message, byte 10: 1 bytes left over"),
        (answering(SOUND[:-1]), "api_keys, byte 6: 4 bytes wanted, 3 are left"),
        (answering(SOUND, correlation_ids=(9,)), "correlation id 9 where 1 was asked"),
        (lambda connection: connection.sendall(struct.pack(">ih", 2, 1)), "a frame of 2 bytes has no correlation id"),
        (lambda connection: connection.sendall(struct.pack(">i", -1)), "a frame of 0 bytes has no correlation id"),
    ],
)
def test_what_is_no_answer_is_told_from_one(behaviour: Behaviour, problem: str) -> None:
    found = heard(behaviour)
    assert isinstance(found, Broken) and found.problem == problem


def test_the_end_of_a_connection_is_told_from_silence() -> None:
    def ends(connection: socket.socket) -> None:
        frame_of(connection)

    def ends_too_early(connection: socket.socket) -> None:
        frame_of(connection)
        connection.sendall(bytes(2))

    def resets(connection: socket.socket) -> None:
        frame_of(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert heard(ends) == Closed("it ended")
    assert heard(ends_too_early) == Closed("it ended 2 bytes into an answer")
    assert heard(resets) == Closed("Connection reset by peer")


def test_silence_ends_with_the_time() -> None:
    go_on = threading.Event()

    def is_slow(connection: socket.socket) -> None:
        connection.sendall(bytes(2))
        go_on.wait(10)

    with broker(is_slow) as address, Connection(*address, Deadline(0.05)) as connection:
        connection.send(VERSIONS, 0, ApiVersionsRequest())
        found = connection.receive()
        go_on.set()
    assert isinstance(found, Silence) and found.had_bytes == 2
    assert connection.deadline.has_passed


def test_patience_may_be_shorter_than_the_deadline() -> None:
    go_on = threading.Event()

    def is_silent(_connection: socket.socket) -> None:
        go_on.wait(10)

    with broker(is_silent) as address, Connection(*address, Deadline(60)) as connection:
        connection.send(VERSIONS, 0, ApiVersionsRequest())
        assert isinstance(connection.receive(patience_s=0.02), Silence)
        go_on.set()


def test_nobody_there_is_neither() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    transcript = Transcript()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} cannot be reached: Connection refused"):
        Connection("127.0.0.1", port, Deadline(5), transcript)
    assert [entry.what for entry in transcript.entries] == [f"no connection to 127.0.0.1:{port}: Connection refused"]
    with pytest.raises(Unreachable):
        Connection("no.such.host.invalid", 9092, Deadline(5))


def test_requests_may_stand_in_line_and_are_answered_in_order() -> None:
    unsupported = codec.encode(ApiVersionsResponse(35), VERSIONS, 0, "response")
    with broker(answering(SOUND, unsupported)) as address, Connection(*address, Deadline(5)) as connection:
        for _ in range(2):
            connection.send(VERSIONS, 0, ApiVersionsRequest())
        answers = [connection.receive() for _ in range(2)]
    assert [one.message.error_code for one in answers if isinstance(one, Answer)] == [0, 35]


def test_what_has_no_answer_is_not_waited_for() -> None:
    def behave(connection: socket.socket) -> None:
        frame_of(connection)
        answering(SOUND, correlation_ids=(2,))(connection)

    with broker(behave) as address, Connection(*address, Deadline(5)) as connection:
        connection.send(0, 9, ProduceRequest())
        connection.expect_nothing()
        assert isinstance(connection.ask(VERSIONS, 0, ApiVersionsRequest()), Answer)


def test_an_answer_to_nothing_is_no_answer() -> None:
    with broker(lambda connection: connection.sendall(bytes(8))) as address, Connection(*address, Deadline(5)) as connection:
        found = connection.receive()
    assert isinstance(found, Broken) and found.problem == "nothing was asked"


def test_our_side_can_end_first() -> None:
    def answers_after_the_end(connection: socket.socket) -> None:
        frame_of(connection)
        assert connection.recv(1) == b""
        connection.sendall(struct.pack(">ii", 4 + len(SOUND), 1) + SOUND)

    with broker(answers_after_the_end) as address, Connection(*address, Deadline(5)) as connection:
        connection.send(VERSIONS, 0, ApiVersionsRequest())
        connection.say_no_more()
        assert isinstance(connection.receive(), Answer)


def test_all_that_was_said_is_kept() -> None:
    transcript = Transcript()
    with broker(answering(SOUND)) as address, Connection(*address, Deadline(5), transcript) as connection:
        connection.ask(VERSIONS, 0, ApiVersionsRequest(), client_id="judge")
        connection.send_bytes(b"\x00")
        assert isinstance(connection.receive(), Closed)
    connected, asked, answered, odd, ended = transcript.entries
    assert connected.what == f"connected to 127.0.0.1:{address[1]}" and connected.connection == 1
    assert (asked.what, asked.told, asked.message) == ("sent", "ApiVersions v0", ApiVersionsRequest())
    assert asked.data == struct.pack(">i", 15) + codec.request_frame(VERSIONS, 0, 1, "judge", b"")
    assert (answered.what, answered.told, answered.message) == ("received", "answer to ApiVersions v0", ApiVersionsResponse())
    assert odd.data == b"\x00" and ended.what == "the broker ended the connection"
    assert [one.at_s for one in transcript.entries] == sorted(one.at_s for one in transcript.entries)
