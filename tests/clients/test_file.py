"""A real file goes in line by line with one client, and comes out byte for byte with another; also if the broker is killed in the middle."""

from __future__ import annotations

import filecmp
import itertools
import os
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from clients.client import COMPRESSIONS, PATIENCE_S, Client
from clients.conftest import FAST, REFERENCE, ClientOf
from clients.mortal import Mortal
from clients.roster import CLIENTS, can
from clients.wire import Wire

pytestmark = pytest.mark.clients

SMALL_BYTES, LARGE_BYTES = 20_000_000, 200_000_000
IS_LONG = bool(os.environ.get("FIDUCIAL_LONG"))


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source text of Python's standard library, again and again until it is so long."""
    file = tmp_path_factory.mktemp("library") / "library.py"
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    with file.open("wb") as library:
        for path in itertools.cycle(paths):
            text = path.read_bytes()
            library.write(text if is_plain(text) else b"")
            if library.tell() >= request.param:
                return file
    raise AssertionError("there is no standard library")


def is_plain(text: bytes) -> bool:
    """Whole lines in UTF-8, which is what the Java console tool reads, that end as lines do here."""
    if b"\r" in text or not text.endswith(b"\n"):
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def count_of(file: Path) -> int:
    """How many lines it has."""
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def ways() -> list[ParameterSet]:
    """Each client that can writes for the next that can read, the compressions take turns; the reference broker, which is slow, needs no more than
    one of them. In pure Python the large file takes minutes."""
    found = []
    writers = [one for one in CLIENTS if can(one, "produce_lines")]
    for writer, compression in zip(writers, itertools.cycle(COMPRESSIONS[1:]), strict=False):
        begin = CLIENTS.index(writer) + 1
        reader = next(one for one in (*CLIENTS[begin:], *CLIENTS[:begin]) if can(one, "fetch_lines"))
        way = f"{writer.name}-{compression}-{reader.name}"
        found.append(pytest.param(FAST, LARGE_BYTES if IS_LONG else SMALL_BYTES, writer, compression, reader, id=f"fast-{way}"))
        if writer is writers[0] or IS_LONG:
            found.append(pytest.param(REFERENCE, SMALL_BYTES, writer, compression, reader, id=f"reference-{way}"))
    return found


@pytest.mark.parametrize(("broker", "library", "writer", "compression", "reader"), ways(), indirect=["broker", "library"])
def test_a_file_comes_out_as_it_went_in(
    writer: type[Client], compression: str, reader: type[Client], client_of: ClientOf, library: Path, topic: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.py"
    client_of(writer).produce_lines(topic, library, compression)
    client_of(reader).fetch_lines(topic, count_of(library), copy)
    assert filecmp.cmp(copy, library, shallow=False)


# Killed in the middle


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    """A broker of its own."""
    made = Mortal(tmp_path / "data")
    yield made
    made.kill()


@pytest.mark.parametrize("library", [LARGE_BYTES], indirect=True)
def test_a_file_comes_out_as_it_went_in_though_the_broker_is_killed_in_the_middle(mortal: Mortal, library: Path, tmp_path: Path) -> None:
    """The producer is idempotent and sends again what was not acknowledged: nothing is lost, nothing is there twice."""
    kind = next(one for one in CLIENTS if can(one, "produce_lines", "fetch_lines"))
    copy = tmp_path / "copy.py"
    with closing(Wire("127.0.0.1", mortal.port)) as wire:
        wire.create_topic("library")
    with closing(kind(mortal.bootstrap)) as client:
        writer = threading.Thread(target=client.produce_lines, args=("library", library, "none"), kwargs={"is_idempotent": True})
        writer.start()
        while mortal.written_bytes("library") < LARGE_BYTES // 2:
            assert writer.is_alive(), "the writer was done before half of it was written"
            time.sleep(0.01)
        mortal.kill()
        mortal.launch()
        writer.join(PATIENCE_S)
        client.fetch_lines("library", count_of(library), copy)
    assert filecmp.cmp(copy, library, shallow=False)
