"""Where folders are made by the thousand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def work() -> Iterator[Path]:
    """An empty folder, in memory if there is such a place: what is on a real disk matters to no test that simulates one."""
    place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="fiducial-faults-") as folder:
        yield Path(folder)
