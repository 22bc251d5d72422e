"""A cluster, asked from outside: its nodes by their ids, each in versions that both sides know.

It is spoken to with the codec of the conformance suite, so that any broker of Kafka's protocol will do. A topic goes by its name, and of offsets
one group is asked for at a time: requests stop at the last version in which that is so, which brokers from Kafka 2.0 on serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from types import TracebackType
from typing import Any

from fiducial.cli.arguments import address
from fiducial.conformance.client import Answer, Closed, Connection, Deadline, Heard, Silence, Unreachable
from fiducial.conformance.oracle import KEYS
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS

CLIENT_ID = "fiducial"
#: So long an answer may take.
ANSWER_TIMEOUT_S = 15.0
#: So many requests go out before the first answer is awaited.
PIPELINED = 32
#: The last version to ask in, where later ones name topics by their ids, or several groups.
LAST_VERSION = {m.FetchRequest: 12, m.OffsetFetchRequest: 7}


class Unanswered(Exception):
    """The cluster does not tell what was asked; the text says why."""


class Node:
    """One broker. Unreachable if there is none; Unanswered if it does not say what it serves."""

    def __init__(self, host: str, port: int) -> None:
        self.called = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.connection = Connection(host, port, Deadline(ANSWER_TIMEOUT_S))
        served = self.told(self.connection.ask(API_VERSIONS, 0, m.ApiVersionsRequest()))
        self.served = {api.api_key: (api.min_version, api.max_version) for api in served.api_keys}

    def ask(self, message: Any) -> Any:
        """The answer to a request."""
        (answer,) = self.ask_all([message])
        return answer

    def ask_all(self, requests: Iterable[Any]) -> Iterator[Any]:
        """The answers to requests, in their order; a few are under way at a time."""
        left = iter(requests)
        while some := list(islice(left, PIPELINED)):
            self.connection.deadline = Deadline(ANSWER_TIMEOUT_S)
            for message in some:
                self.connection.send(KEYS[type(message)], self.version(type(message)), message, client_id=CLIENT_ID)
            for _ in some:
                yield self.told(self.connection.receive())

    def version(self, kind: type) -> int:
        """The newest version of a request to ask in."""
        api = APIS[KEYS[kind]]
        lowest, highest = self.served.get(api.key, (0, -1))
        newest: int = min(highest, LAST_VERSION.get(kind, api.max_version))
        if newest < max(lowest, api.min_version):
            raise Unanswered(f"{self.called} does not serve {api.name} in a version that is known here")
        return newest

    def told(self, heard: Heard) -> Any:
        """The message in what came back."""
        self.connection.transcript.entries.clear()
        match heard:
            case Answer(_, message):
                return message
            case Closed(how):
                raise Unanswered(f"{self.called} ended the connection: {how}")
            case Silence(waited_s):
                raise Unanswered(f"{self.called} did not answer within {waited_s:.0f} s")
        raise Unanswered(f"{self.called} answers what is no answer: {heard.problem}")

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class Cluster:
    """All nodes of a cluster, found by the first of HOST:PORT,HOST:PORT… that answers; each is connected to when it is asked first."""

    def __init__(self, bootstrap: str) -> None:
        self.stack = ExitStack()
        self.nodes: dict[int, Node] = {}
        first = self.reached([address(one) for one in bootstrap.split(",")])
        found = first.ask(m.MetadataRequest(topics=())).brokers
        self.addresses = {broker.node_id: (broker.host, broker.port) for broker in found}
        if len(found) == 1:  # it is the one that was reached, whatever it says its address is
            self.nodes[found[0].node_id] = first
        self.first = first

    def reached(self, addresses: Sequence[tuple[str, int]]) -> Node:
        """A connection to the first of these that can be reached."""
        *others, last = addresses
        for host, port in others:
            try:
                return self.connected(host, port)
            except Unreachable:
                pass
        return self.connected(*last)

    def connected(self, host: str, port: int) -> Node:
        """A connection, which ends with ours to the cluster."""
        node = Node(host, port)
        self.stack.callback(node.close)
        return node

    def node(self, node_id: int) -> Node:
        """The node of this id. Unanswered if it is not there."""
        if node_id not in self.nodes:
            if node_id not in self.addresses:
                raise Unanswered(f"node {node_id} is not in the cluster, or not now")
            try:
                self.nodes[node_id] = self.connected(*self.addresses[node_id])
            except Unreachable as reason:
                raise Unanswered(f"node {node_id} says of itself that it is at an address where it is not to be had: {reason}") from None
        return self.nodes[node_id]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stack.close()
