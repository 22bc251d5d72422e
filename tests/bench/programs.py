"""The programs in C++ that the bench runs, built where it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "bench"


@cache
def built(name: str) -> Path:
    """Of the source of that name in this folder; anew if that is newer."""
    source, program = Path(__file__).with_name(f"{name}.cpp"), FOLDER / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = program.with_suffix(f".{os.getpid()}")
        compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
        subprocess.run([compiler, "-O2", "-std=c++17", "-Wall", "-Wextra", "-o", str(part), str(source)], check=True)
        part.rename(program)
    return program
