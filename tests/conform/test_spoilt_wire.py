"""What only shows over TCP can fail too: each case about frames notices a broker whose reading or writing is spoilt, by machine or by hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from conform.brokers import Broker, few, serving
from conform.spoilt import faults
from fiducial.conformance import suite
from fiducial.conformance.cases import Verdict
from fiducial.conformance.running import Judge
from fiducial.conformance.target import Target
from fiducial.models import specification
from fiducial.models.errors import Error
from fiducial.models.rules import IMPLEMENTED_BY
from fiducial.models.values import changed

LEVELS = {rule.id: rule.level for rule in specification.rules().values()}
CASES = suite.every()
#: The rules whose functions are about bytes; those about sockets are spoilt by hand, below.
BY_MACHINE = ("WIRE-FRAME-2", "WIRE-FRAME-5", "WIRE-FRAME-6", "WIRE-FRAME-7", "WIRE-FRAME-8", "WIRE-FRAME-9", "WIRE-FRAME-11", "WIRE-VERSIONS-2")
#: What reads the bytes of requests, and carries no rule itself.
READING = tuple(f"fiducial.reference.codec:{name}" for name in ("Reader.take", "Reader.number", "Reader.varint", "Reader.tags", "signed"))
#: A broker that is silent is one that fails; so long it is given.
DEADLINE_S = 1.0
#: What comes within this time of each other was sent together.
TOGETHER_S = 0.03
PRODUCE, DESCRIBE_GROUPS = 0, 15

#: A fault costs the connection.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

Serve = Callable[[Broker, socket.socket, int], None]


def judge_of(broker: Broker) -> Judge:
    """A judge of a broker, in few versions."""
    target = Target(broker.host, broker.port)
    target.versions = few(target.versions)
    return Judge(target, LEVELS, patience_s=0, is_allowed_all=True)


@pytest.mark.parametrize("rule", BY_MACHINE)
def test_each_case_about_bytes_notices_a_fault(rule: str) -> None:
    blind = {case.id: changed(case, deadline_s=DEADLINE_S) for case in CASES.values() if case.rule == rule}
    for function in (*IMPLEMENTED_BY[rule], *READING):
        for fault in faults(function) if blind else ():
            with serving() as broker:
                judge = judge_of(broker)
                broker.flaw = fault.switched_on
                blind = {name: case for name, case in blind.items() if judge.judge(case).verdict is not Verdict.FAIL}
    assert not blind


# By hand


def gathered(connection: socket.socket) -> tuple[list[bytes], bool]:
    """The frames that come one upon the other, and whether the client has ended its side."""
    frames: list[bytes] = []
    connection.settimeout(None)
    while True:
        try:
            head = connection.recv(4, socket.MSG_WAITALL)
        except TimeoutError:
            return frames, False
        if len(head) < 4:
            return frames, True
        frames.append(connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        connection.settimeout(TOGETHER_S)


def last_first(broker: Broker, connection: socket.socket, number: int) -> None:
    """Answers what came last before what came first, and does not wait for what waits."""
    has_ended = False
    while not has_ended:
        frames, has_ended = gathered(connection)
        for answer in [broker.answer(number, frame) for frame in frames][::-1]:
            if answer is None:
                return
            connection.sendall(answer)


def leaves_with_the_client(broker: Broker, connection: socket.socket, number: int) -> None:
    """Answers nobody who has nothing more to say."""
    while True:
        frames, has_ended = gathered(connection)
        for frame in () if has_ended else frames:
            answer = broker.answer(number, frame)
            if answer is None:
                return
            connection.sendall(answer)
        if has_ended:
            return


def stays_open(broker: Broker, connection: socket.socket, number: int) -> None:
    """Does not end its side, though the client has."""
    has_ended = False
    while not has_ended:
        frames, has_ended = gathered(connection)
        for frame in frames:
            connection.sendall(broker.answer(number, frame) or b"")
    time.sleep(2 * DEADLINE_S)


def counts_replicas(api_key: int, version: int, message: Any) -> Any:
    """A broker that wants more replicas than there are."""
    if api_key != PRODUCE or "config-6" not in message.responses[0].name:
        return message
    parts = tuple(changed(part, error_code=Error.NOT_ENOUGH_REPLICAS, base_offset=-1) for part in message.responses[0].partition_responses)
    return changed(message, responses=(changed(message.responses[0], partition_responses=parts),))


#: Brokers with a fault, and the cases that notice it.
TURNS: dict[Serve, set[str]] = {
    last_first: {"WIRE-FRAME-10/many", "WIRE-FRAME-10/behind-a-fetch-that-waits", "WIRE-FRAME-10/without-acks", "WIRE-FRAME-10/unreadable-behind-a-request"},
    leaves_with_the_client: {"WIRE-FRAME-12/two-requests", "WIRE-FRAME-12/a-fetch-that-waits"},
    stays_open: {"WIRE-FRAME-12/half-a-request", "WIRE-FRAME-12/nothing-asked"},
}


@pytest.mark.parametrize("serve", TURNS)
def test_each_case_about_turns_notices_a_fault(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as broker:
        judge = judge_of(broker)
        monkeypatch.setattr(Broker, "serve", lambda self, connection, number: to_its_end(self, connection, number, serve))
        found = {case for case in TURNS[serve] if judge.judge(changed(CASES[case], deadline_s=DEADLINE_S)).verdict is Verdict.FAIL}
    assert found == TURNS[serve]


def test_no_case_about_turns_is_left_out() -> None:
    assert {case for case in CASES if case.startswith(("WIRE-FRAME-10/", "WIRE-FRAME-12/"))} == set().union(*TURNS.values())


def to_its_end(broker: Broker, connection: socket.socket, number: int, serve: Serve) -> None:
    """Serve a connection to its end."""
    with connection, suppress(OSError):
        serve(broker, connection, number)


def tells_no_host(api_key: int, _version: int, message: Any) -> Any:
    """A broker that does not say where members come from."""
    if api_key != DESCRIBE_GROUPS:
        return message
    groups = [changed(one, members=tuple(changed(member, client_host="") for member in one.members)) for one in message.groups]
    return changed(message, groups=tuple(groups))


def test_a_broker_that_does_not_say_where_members_come_from_is_noticed() -> None:
    with serving(tells_no_host) as broker:
        assert judge_of(broker).judge(CASES["GROUP-MEMBER-9/described"]).verdict is Verdict.FAIL


def test_a_broker_that_wants_more_replicas_than_there_are_is_noticed() -> None:
    with serving(counts_replicas) as broker:
        assert judge_of(broker).judge(CASES["WIRE-CONFIG-6/more-than-there-are"]).verdict is Verdict.FAIL
