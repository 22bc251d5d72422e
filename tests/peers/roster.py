"""The brokers that are held against the rules: what each is, in which version, and how to have one on loopback while a block runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from peers import kafka
from peers.kafka import Kafka, PeerUnavailable, cache, ending_with_us, last_lines, need

HERE = Path(__file__).parent
STOP_TIMEOUT_S = 10


Settings = Mapping[str, str]
#: How often Kafka looks after its producers, and how soon it begins, where it is to be quick: settings that nobody else has. It forgets one whose
#: batches have no time whenever it looks.
KAFKAS_OWN = {"log.initial.task.delay.ms": "0", "producer.id.expiration.check.interval.ms": "50"}

#: Of the settings that a peer is given, those that kfake has.
KFAKE_HAS = frozenset({"fetch.max.bytes", "group.max.size", "offsets.retention.check.interval.ms"})


@dataclass(frozen=True)
class Peer:
    """One broker. `serving` gives its HOST:PORT, with settings if it takes them; PeerUnavailable where it is not to be had."""

    name: str
    title: str
    version: Callable[[], str]
    serving: Callable[[Settings], AbstractContextManager[str]]
    is_another: bool = False  # it need not pass


@contextmanager
def process(*command: str, prefix: str = "") -> Iterator[str]:
    """A program that prints the address at which it listens in its first line, and ends with its standard input or by SIGTERM."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(HERE.parent))))}
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(ending_with_us([*command]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as running,
    ):
        try:
            assert running.stdout is not None and running.stdin is not None
            address = running.stdout.readline().removeprefix(prefix).strip()
            if not address:
                log.seek(0)
                raise PeerUnavailable(f"{command[0]} did not start: {last_lines(log.read())}")
            yield address
        finally:
            running.terminate()
            try:
                running.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                running.kill()


@contextmanager
def apache_kafka(settings: Settings) -> Iterator[str]:
    """One node, its own controller."""
    with Kafka(**{**KAFKAS_OWN, **settings} if settings else {}) as broker:
        yield broker.bootstrap


def ours(settings: Settings, *options: str) -> AbstractContextManager[str]:
    """A broker of ours."""
    given = [part for name, text in settings.items() for part in ("--set", f"{name}={text}")]
    return process(sys.executable, "-m", "fiducial", "serve", "--listen", "127.0.0.1:0", *given, *options, prefix="listening on ")


@contextmanager
def fast_path(settings: Settings) -> Iterator[str]:
    """The fast path with a data folder of its own."""
    with tempfile.TemporaryDirectory(prefix="fiducial-peer-") as folder, ours(settings, "--data", str(Path(folder, "data"))) as address:
        yield address


def librdkafka_mock(_settings: Settings) -> AbstractContextManager[str]:
    """In a process of its own: it ends with the client that it belongs to."""
    return process(sys.executable, "-m", "peers.mock")


def librdkafka_version() -> str:
    """Of the library in the wheel."""
    import confluent_kafka

    return f"librdkafka {confluent_kafka.libversion()[0]}"


@contextmanager
def kfake(settings: Settings) -> Iterator[str]:
    """Built by Go the first time, and again when its versions change. It would take, and tell, a setting that it knows nothing of."""
    given = [f"{name}={text}" for name, text in settings.items() if name in KFAKE_HAS]
    with process(str(kfake_program()), *given) as address:
        yield address


def kfake_program() -> Path:
    """The program; the name tells what it was built from."""
    folder = HERE / "kfake"
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))).hexdigest()
    program = cache() / f"kfake-{digest[:12]}"
    if program.exists():
        return program
    go = need("go")
    cache().mkdir(parents=True, exist_ok=True)
    print("building kfake", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=cache()) as parts:
        built = Path(parts, "kfake")
        done = subprocess.run([go, "build", "-o", str(built), "."], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PeerUnavailable(f"Go could not build kfake: {last_lines(done.stderr)}")
        built.rename(program)
    return program


def kfake_version() -> str:
    """As go.mod has it."""
    lines = (HERE / "kfake" / "go.mod").read_text(encoding="utf-8").splitlines()
    found = next(line.split()[1] for line in lines if "pkg/kfake " in line)
    return found.removeprefix("v0.0.0-")


def our_version() -> str:
    """Of this package."""
    return version("fiducial")


PEERS: Sequence[Peer] = (
    Peer("kafka", "Apache Kafka", lambda: kafka.VERSION, apache_kafka),
    Peer("fiducial", "Fiducial", our_version, fast_path),
    Peer("reference", "Fiducial's reference", our_version, lambda settings: ours(settings, "--reference")),
    Peer("kfake", "kfake (franz-go)", kfake_version, kfake, is_another=True),
    Peer("librdkafka-mock", "librdkafka's mock broker", librdkafka_version, librdkafka_mock, is_another=True),
)
