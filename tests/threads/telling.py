"""What a campaign tells whoever started its process (`building.campaign`): a line of JSON, with "found" in it if something is wrong."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

SHARED_MEMORY = Path("/dev/shm")


class Campaign(Protocol):
    """One run."""

    def run(self) -> dict[str, Any]:
        """What there is to be told. AssertionError, with what is wrong."""

    def close(self) -> None:
        """The broker is stopped, and its files are closed."""


def tell(begin: Callable[[Path, int, int], Campaign]) -> None:
    """A campaign in a folder of its own, from the seed and of the size that the process was given."""
    seed, size = int(sys.argv[1]), int(sys.argv[2])
    folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    campaign = begin(folder, seed, size)
    try:
        print(json.dumps(campaign.run()))
    except AssertionError as found:
        print(json.dumps({"seed": seed, "found": f"{type(found).__name__}: {found}"}))
    finally:
        campaign.close()
        shutil.rmtree(folder)
