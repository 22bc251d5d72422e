"""The hammer compiled, for the rooms as they are installed, or as they are built with threads that hesitate or with ThreadSanitizer; and campaigns on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sanitized import rooms
from sanitized.rooms import Sanitizer

#: Threads hesitate wherever they take or give back a lock.
CHAOS = Sanitizer("chaos", "g++", ("-DFIDUCIAL_CHAOS",), (), {})
SOURCE = Path(__file__).with_name("hammer.pyx")
FOLDER = rooms.ROOT / "build" / "threads"
#: So much is told of how a process ended.
TOLD_CHARS = 4000


def installed() -> dict[str, str]:
    """The environment in which Python finds the hammer, and the rooms as they are installed."""
    with rooms.alone(FOLDER):
        rooms.relink(FOLDER / "fiducial", rooms.ROOT / "src" / "fiducial")
        compile_hammer(FOLDER, Sanitizer("installed", "g++", (), (), {}))
    return {**os.environ, "PYTHONPATH": f"{FOLDER}:{rooms.ROOT / 'tests'}"}


def built(sanitizer: Sanitizer, tree: Path = rooms.ROOT, folder: Path | None = None) -> dict[str, str]:
    """The same with the rooms of a checkout built so."""
    folder = rooms.built(sanitizer, tree, folder)
    with rooms.alone(folder):
        compile_hammer(folder, sanitizer)
    return rooms.environment(sanitizer, folder)


def compile_hammer(folder: Path, sanitizer: Sanitizer) -> None:
    """Compile it beside the package, if it or what it is made from has changed."""
    rooms.copy(SOURCE, folder / SOURCE.name)
    headers = f"-I{folder / 'fiducial' / 'fastpath'}"
    rooms.compile_all(replace(sanitizer, flags=(*sanitizer.flags, headers)), folder, [folder / SOURCE.name])


def campaign(environment: Mapping[str, str], seed: int, requests: int, patience_s: float, module: str = "threads.campaign") -> dict[str, Any]:
    """What a campaign in a process of its own told; "found" is in it if something is wrong, were it only that it did not come to an end."""
    command = [sys.executable, "-P", "-m", module, str(seed), str(requests)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired:
        return {"seed": seed, "found": f"not at an end after {patience_s} s"}
    if done.returncode != 0:
        return {"seed": seed, "found": f"the process ended with {done.returncode}: {done.stderr[:TOLD_CHARS]}"}
    told: dict[str, Any] = json.loads(done.stdout)
    return told
