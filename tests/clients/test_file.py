"""A real file goes in line by line with one client, and comes out byte for byte with another."""

from __future__ import annotations

import filecmp
import itertools
import sysconfig
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from clients.client import COMPRESSIONS, Client
from clients.conftest import ClientOf
from clients.roster import CLIENTS, can

pytestmark = pytest.mark.clients

SIZE_MIN_BYTES = 20_000_000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source text of Python's standard library, again and again until it is long enough."""
    file = tmp_path_factory.mktemp("library") / "library.py"
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    with file.open("wb") as library:
        for path in itertools.cycle(paths):
            text = path.read_bytes()
            library.write(text if is_plain(text) else b"")
            if library.tell() >= SIZE_MIN_BYTES:
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


def pairs() -> list[ParameterSet]:
    """Each client that can writes for the next that can read; the compressions take turns."""
    found = []
    writers = [one for one in CLIENTS if can(one, "produce_lines")]
    for writer, compression in zip(writers, itertools.cycle(COMPRESSIONS[1:]), strict=False):
        begin = CLIENTS.index(writer) + 1
        reader = next(one for one in (*CLIENTS[begin:], *CLIENTS[:begin]) if can(one, "fetch_lines"))
        found.append(pytest.param(writer, compression, reader, id=f"{writer.name}-{compression}-{reader.name}"))
    return found


@pytest.mark.parametrize(("writer", "compression", "reader"), pairs())
def test_a_file_comes_out_as_it_went_in(
    writer: type[Client], compression: str, reader: type[Client], client_of: ClientOf, library: Path, topic: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.py"
    client_of(writer).produce_lines(topic, library, compression)
    client_of(reader).fetch_lines(topic, library.read_bytes().count(b"\n"), copy)
    assert filecmp.cmp(copy, library, shallow=False)
