"""kafka-python's own tests, from its source distribution on PyPI, in the version that is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from peers.kafka import PeerUnavailable, cache, last_lines

#: What the distribution leaves out of the package `test`, as far as an external broker needs it.
SERVICE = '''\
"""Brokers as processes: here, one that somebody else started."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port


SpawnedService = None
'''


def source() -> Path:
    """The unpacked distribution, obtained by pip the first time; it appears whole or not at all, whoever else does the same meanwhile."""
    name = f"kafka_python-{version('kafka-python')}"
    folder = cache() / name
    if folder.exists():
        return folder
    cache().mkdir(parents=True, exist_ok=True)
    print(f"obtaining the source of {name} from PyPI", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=cache()) as parts:
        unpacked = obtained(name, Path(parts))
        (unpacked / "test" / "__init__.py").touch()
        (unpacked / "test" / "service.py").write_text(SERVICE)
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def obtained(name: str, folder: Path) -> Path:
    """The distribution, unpacked in `folder`."""
    wanted = f"kafka-python=={version('kafka-python')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerUnavailable(f"pip could not get {wanted}: {last_lines(done.stdout + done.stderr)}")
    shutil.unpack_archive(folder / f"{name}.tar.gz", folder)
    return folder / name
