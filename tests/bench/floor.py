"""What the kernel alone takes of the same work: `floor.cpp` receives, writes to the page cache or sends from it, and checks nothing.

It says how much of a goal is possible: who keeps a log in files and reads requests from sockets costs more.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace

from peers.kafka import ending_with_us

from bench.generator import Found, Lane, generate
from bench.programs import built


def measured(lanes: Sequence[Lane], seconds: float, held_bytes: int = 0) -> Found:
    """The load of these lanes; with `held_bytes`, their answers come from a file of that size."""
    with tempfile.TemporaryDirectory(prefix="fiducial-bench-") as folder:
        command = ending_with_us([str(built("floor")), folder, str(lanes[0].answer_bytes), str(held_bytes)])
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                return generate(int(process.stdout.readline()), process.pid, [replace(lane, tail=None) for lane in lanes], seconds)
            finally:
                process.kill()
