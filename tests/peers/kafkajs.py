"""KafkaJS, a client for Node.js, from the npm registry in the version that its lock file names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from peers.kafka import PeerUnavailable, cache, last_lines, need

#: Where `package.json` and its lock file are.
PACKAGE = Path(__file__).parents[1] / "clients" / "groups" / "kafkajs"


def modules() -> Path:
    """The folder of Node.js modules, filled by npm the first time; it appears whole or not at all, whoever else fills it meanwhile."""
    version = json.loads((PACKAGE / "package.json").read_text())["dependencies"]["kafkajs"]
    folder = cache() / f"kafkajs-{version}"
    if not folder.exists():
        npm = need("npm")
        cache().mkdir(parents=True, exist_ok=True)
        print(f"obtaining KafkaJS {version} from the npm registry", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=cache()) as parts:
            filled = Path(parts, "kafkajs")
            shutil.copytree(PACKAGE, filled)
            command = [npm, "ci", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=filled, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise PeerUnavailable(f"npm could not get KafkaJS: {last_lines(done.stdout + done.stderr)}")
            try:
                filled.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder / "node_modules"
