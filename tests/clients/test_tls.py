"""Clients that speak TLS, each with a certificate of its own, beside others that do not; who is turned away, and is told of; and what a broker that would do so does not start with."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from conftest import not_run
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from fastpath.served import until
from instance import FAST, LOOP, Instance, running
from peers.kafka import PeerUnavailable
from raw_client import RawClient

from clients.client import Client, Delivery, Record
from clients.confluent import Confluent
from clients.roster import CLIENTS
from fiducial.conformance.exploration.steps import request_frame
from fiducial.models import messages as m

pytestmark = pytest.mark.clients

FETCH, VERSIONS = 1, 18
RECORDS = [Record(b"in secret"), Record(b"the value of a key", key=b"a key"), Record(b"x" * 100_000)]
#: So many records of so many bytes are fetched at once by who reads slowly, so many bytes at a time.
VALUES, VALUE_BYTES, READ_BYTES, ALL = 24, 900_000, 50_000, 1 << 30
#: So many come and go, and each leaves less behind than a buffer of TLS.
COME_AND_GONE, LEFT_BYTES_MAX = 200, 50_000


@dataclass(frozen=True)
class Papers:
    """PEM files: by whom all is signed, and key and certificate of the broker, of a client, and of one that somebody else has signed."""

    authority: str
    broker: str
    client: str
    stranger: str


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Made for this run."""
    folder = tmp_path_factory.mktemp("papers")
    authority, another = trustme.CA(), trustme.CA()
    found = Papers(*(str(folder / f"{name}.pem") for name in ("authority", "broker", "client", "stranger")))
    authority.cert_pem.write_to_path(found.authority)
    write(authority.issue_cert("127.0.0.1"), found.broker)
    write(authority.issue_cert("client@example.org"), found.client)
    write(another.issue_cert("client@example.org"), found.stranger)
    return found


def write(one: trustme.LeafCert, file: str) -> None:
    """Its key, in the only form that Java reads, and its certificates."""
    key = load_pem_private_key(one.private_key_pem.bytes(), None)
    parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), *(part.bytes() for part in one.cert_chain_pems)]
    Path(file).write_bytes(b"".join(parts))


#: By TLS, and in plain.
LISTEN = "SSL://127.0.0.1:0,127.0.0.1:0"


@pytest.fixture(scope="module", params=[FAST, LOOP])
def broker(request: pytest.FixtureRequest, papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One that wants a certificate of every client that speaks TLS."""
    settings = {"ssl_keystore_location": papers.broker, "ssl_truststore_location": papers.authority, "ssl_client_auth": "required"}
    with running(request.param, tmp_path_factory.mktemp("secret"), LISTEN, **settings) as instance:
        yield instance
        assert [line for line in instance.stop().splitlines() if "no TLS: " not in line] == []


def security_of(client: str, papers: Papers) -> Mapping[str, Any]:
    """What each client calls it."""
    match client:
        case "confluent-kafka" | "kcat":
            place = {"ca": papers.authority, "certificate": papers.client, "key": papers.client}
            return {"security.protocol": "ssl", **{f"ssl.{name}.location": file for name, file in place.items()}}
        case "java":
            stores = {"truststore": papers.authority, "keystore": papers.client}
            named = {f"ssl.{name}.location": file for name, file in stores.items()}
            return {"security.protocol": "SSL", **named, **{f"ssl.{name}.type": "PEM" for name in stores}}
        case "aiokafka":
            return {"security_protocol": "SSL", "ssl_context": context(papers, papers.client)}
        case _:
            return {"security_protocol": "SSL", "ssl_cafile": papers.authority, "ssl_certfile": papers.client}


def context(papers: Papers, shown: str | None) -> ssl.SSLContext:
    """A client's, that shows this certificate."""
    found = ssl.create_default_context(cafile=papers.authority)
    if shown is not None:
        found.load_cert_chain(shown)
    return found


def by_both(broker: Instance, papers: Papers, kind: type[Client]) -> list[Client]:
    """A client with a certificate, and one in plain. What they are told of the broker they come by then."""
    secret, plain = (f"{broker.host}:{port}" for port in broker.ports)
    return [kind(secret, security_of(kind.name, papers)), kind(plain)]


@pytest.mark.rule("WIRE-META-16")
@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: str(kind.name))
def test_clients_by_tls_and_in_plain_read_what_each_of_them_writes(kind: type[Client], broker: Instance, papers: Papers) -> None:
    with ExitStack() as stack:
        try:
            both = [stack.enter_context(closing(client)) for client in by_both(broker, papers, kind)]
        except PeerUnavailable as reason:
            not_run(f"{kind.name}: {reason}")
        for client in both:
            client.produce(kind.name, 0, RECORDS, "lz4", Delivery("all", is_idempotent=kind.name != "kcat"))
        for client in both:
            assert [one.record for one in client.fetch(kind.name, 0, 0, 2 * len(RECORDS))] == RECORDS * 2


@pytest.mark.rule("WIRE-META-16")
def test_a_group_has_members_by_tls_and_in_plain(broker: Instance, papers: Papers) -> None:
    """Each of them reads one of two partitions."""
    ways = [security_of("confluent-kafka", papers), {}]
    places = [{"bootstrap.servers": f"{broker.host}:{port}", **way} for port, way in zip(broker.ports, ways, strict=True)]
    admin = AdminClient(places[1])
    admin.create_topics([NewTopic("shared", 2)])["shared"].result()
    assert [AdminClient(place).list_topics().brokers[1].port for place in places] == broker.ports
    with ExitStack() as stack:
        members = []
        for place in places:
            members.append(Consumer({**place, "group.id": "both", "auto.offset.reset": "earliest", "enable.auto.commit": False}))
            stack.callback(members[-1].close)
            members[-1].subscribe(["shared"])
        read: list[list[int]] = [[], []]
        until(lambda: heard(members, read) and [len(one.assignment()) for one in members] == [1, 1])
        for partition in range(2):
            Confluent(places[partition]["bootstrap.servers"], ways[partition]).produce("shared", partition, RECORDS[:1], "none", Delivery("all"))
        until(lambda: heard(members, read) and all(read))
        assert sorted(read) == [[0], [1]]
        told = admin.describe_consumer_groups(["both"])["both"].result()
        assert {one.host for one in told.members} == {"/127.0.0.1"}


def heard(members: list[Consumer], read: list[list[int]]) -> bool:
    """Each of them listens for a moment: the partitions of what it hears."""
    for member, partitions in zip(members, read, strict=True):
        message = member.poll(0.1)
        if message is not None:
            partitions.append(message.partition() or 0)
    return True


def secure(broker: Instance, papers: Papers, shown: str | None, **options: int) -> RawClient:
    """A connection, perhaps one that will be turned away: TLS 1.3 lets a client go on before the broker has judged it."""
    client = RawClient(broker.host, broker.port, **options)
    client.socket = context(papers, shown).wrap_socket(client.socket, server_hostname=broker.host)
    return client


@pytest.mark.parametrize(
    ("who", "why"),
    [("plain", "WRONG_VERSION_NUMBER"), ("without", "PEER_DID_NOT_RETURN_A_CERTIFICATE"), ("stranger", "CERTIFICATE_VERIFY_FAILED"), ("gone", "")],
)
def test_who_does_not_agree_on_tls_is_turned_away_and_told_of(who: str, why: str, broker: Instance, papers: Papers) -> None:
    before = len(broker.log())
    frame = request_frame(VERSIONS, 0, m.ApiVersionsRequest())
    if who == "gone":
        socket.create_connection((broker.host, broker.port)).close()
    else:
        client = RawClient(broker.host, broker.port) if who == "plain" else secure(broker, papers, papers.stranger if who == "stranger" else None)
        with closing(client.socket):
            assert is_ended(client, frame)
    (line,) = broker.logged(before, 1)
    assert "closing 127.0.0.1:" in line and line.rstrip().endswith(why) and "no TLS: " in line
    with closing(secure(broker, papers, papers.client)) as ours:
        assert ours.ask(frame)


def is_ended(client: RawClient, frame: bytes) -> bool:
    """Is there no answer? TLS may have said why, in an alert, or in what a plain client takes for the length of an answer."""
    try:
        client.send(frame)
        return client.socket.recv(1) in (b"", b"\x15")  # 0x15: an alert
    except OSError:
        return True


def test_nothing_is_left_of_clients_that_are_gone_or_never_agreed(papers: Papers, tmp_path: Path) -> None:
    with running(FAST, tmp_path, "SSL://127.0.0.1:0", ssl_keystore_location=papers.broker) as broker:
        frame = request_frame(VERSIONS, 0, m.ApiVersionsRequest())
        for count in (COME_AND_GONE // 10, COME_AND_GONE):
            before = broker.resident_bytes()
            for _ in range(count):
                with closing(secure(broker, papers, None)) as client:
                    assert client.ask(frame)
                with closing(broker.connect()) as client:
                    assert is_ended(client, frame)
        assert broker.resident_bytes() - before < COME_AND_GONE * LEFT_BYTES_MAX


def test_who_reads_slowly_gets_every_byte_of_a_large_answer(broker: Instance, papers: Papers) -> None:
    rng = Random(1)
    values = [rng.randbytes(VALUE_BYTES) for _ in range(VALUES)]
    Confluent(f"{broker.host}:{broker.port}", security_of(Confluent.name, papers)).produce("slow", 0, [Record(one) for one in values], "none", Delivery("all"))
    where = m.FetchTopic("slow", partitions=(m.FetchPartition(0, fetch_offset=0, partition_max_bytes=ALL),))
    with closing(secure(broker, papers, papers.client, receive_buffer_bytes=READ_BYTES)) as client:
        client.send(request_frame(FETCH, 12, m.FetchRequest(max_bytes=ALL, topics=(where,))))
        time.sleep(0.2)  # the broker sends what it can
        answer = client.answer()
        assert answer is not None and client.ask(request_frame(VERSIONS, 0, m.ApiVersionsRequest()))
    found = [answer.find(one) for one in values]
    assert found == sorted(found) and found[0] > 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "set ssl.keystore.location to a PEM file"),
        (["--set", "ssl.keystore.location=/nowhere"], "ssl.keystore.location=/nowhere: No such file or directory"),
        (["--set", "ssl.keystore.location={authority}"], "ssl.keystore.location="),
        (["--set", "ssl.keystore.location={broker}", "--set", "ssl.truststore.location=/nowhere"], "ssl.truststore.location=/nowhere: No such file"),
        (["--set", "ssl.keystore.location={broker}", "--set", "ssl.client.auth=required"], "set ssl.truststore.location to a PEM file"),
        (["--set", "ssl.keystore.type=JKS"], "ssl.keystore.type accepts PEM"),
        (["--set", "advertised.listeners=PLAINTEXT://a:1"], "advertised.listeners tells of PLAINTEXT, and there is no such listener, but SSL"),
        (["--reference"], "the reference broker does not speak TLS"),
        (["--listen", "SASL_SSL://127.0.0.1:0"], "how do clients speak at SASL_SSL?"),
        (["--listen", "ssl://127.0.0.1:0"], "two listeners are called SSL"),
        (["--listen", "PLAINTEXT://127.0.0.1:9092,OTHER://localhost:9092", "--set", "listener.security.protocol.map=SSL:SSL,PLAINTEXT:PLAINTEXT,OTHER:SSL"], "PLAINTEXT and OTHER both listen at port 9092"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)
def test_a_broker_that_cannot_speak_tls_as_it_is_told_to_does_not_start(options: list[str], complaint: str, papers: Papers, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fiducial", "serve", "--listen", "SSL://127.0.0.1:0", *(one.format(**vars(papers)) for one in options)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "") and complaint in done.stderr
    assert list(tmp_path.iterdir()) == []
