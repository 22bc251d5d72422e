"""The clients at work on both brokers of ours; and what the run says of them in the end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from conftest import Address, not_run
from peers.kafka import PeerUnavailable

from clients.client import Client
from clients.roster import LEFT_OUT
from clients.wire import Wire

ClientOf = Callable[[type[Client]], Client]
names = itertools.count(1)

#: By the fixtures that start them. Where a test has very many forms the fast path is asked alone: it answers as the reference does, byte for byte.
FAST, REFERENCE = "fast_broker", "reference_broker"
of_the_fast_path = pytest.mark.parametrize("broker", [FAST], indirect=True)


@pytest.fixture(scope="session", params=[FAST, REFERENCE])
def broker(request: pytest.FixtureRequest) -> Address:
    """The broker that the clients talk to."""
    found: Address = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def client_of(broker: Address) -> Iterator[ClientOf]:
    """A client of this class, made at the first call."""
    with ExitStack() as stack:
        made: dict[type[Client], Client] = {}

        def client_of(kind: type[Client]) -> Client:
            if kind not in made:
                try:
                    made[kind] = stack.enter_context(closing(kind(broker.bootstrap)))
                except PeerUnavailable as reason:
                    not_run(f"{kind.name}: {reason}")
            return made[kind]

        yield client_of


@pytest.fixture
def client(request: pytest.FixtureRequest, client_of: ClientOf) -> Client:
    """The client of the class that the test is parametrized with."""
    return client_of(request.param)


@pytest.fixture(scope="session")
def wire(broker: Address) -> Iterator[Wire]:
    """The broker, with no client in between."""
    with closing(Wire(broker.host, broker.port)) as wire:
        yield wire


@pytest.fixture
def new_name() -> str:
    """The name of no topic yet."""
    return f"clients-{next(names)}"


@pytest.fixture
def topic(wire: Wire, new_name: str) -> str:
    """A new topic of one partition."""
    wire.create_topic(new_name)
    return new_name


def pytest_configure(config: pytest.Config) -> None:
    """Nothing to say yet."""
    config.stash[NOTES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What tests noted; and what was left out of them, and why."""
    for note in config.stash[NOTES]:
        terminalreporter.section("clients")
        terminalreporter.write_line(note)
    if LEFT_OUT:
        terminalreporter.section("clients: left out")
        for (name, ability), reason in sorted(LEFT_OUT.items()):
            terminalreporter.write_line(f"{name:<16} {ability:<16} {reason}")


#: What tests want to be read at the end of the run.
NOTES = pytest.StashKey[list[str]]()
