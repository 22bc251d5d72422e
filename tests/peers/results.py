"""What a run of `fiducial conform` said of a peer, as it is kept in spec/peers: enough to see what was sent, expected and got, and no more.

One JSON file a peer. A result that passed is a line; one that did not has its history.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peers.kafka import last_lines
from peers.roster import Peer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "spec" / "peers"
#: A run has this long. Who answers nothing makes each case wait.
RUN_TIMEOUT_S = 1800
#: Of a text, of the bytes of a frame, and of what was said, so much is kept.
TEXT_CHARACTERS, FRAME_BYTES, ENTRIES = 160, 256, 8

#: A result as it is kept: what `-o json` says of a case, shortened.
Result = dict[str, Any]
Kept = dict[str, Any]


class RunFailed(Exception):
    """The suite could not be told to a peer; the text says why."""


def judged(address: str, cases: Iterable[str]) -> list[Result]:
    """What comes of these cases; fewer, but one at least, if the broker does not survive one. RunFailed if it cannot be judged at all, or not to the end."""
    chosen = [part for case in cases for part in ("--rule", case)]
    command = [sys.executable, "-m", "fiducial", "conform", address, "--allow-destructive", "-o", "json", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if len(lines) < 2 or "exit_status" not in lines[-1]:  # the status does not tell: a fault of the suite has that of a MUST that failed
        raise RunFailed(last_lines(done.stderr) or f"exit status {done.returncode}")
    return [shortened(one) for one in lines[1:-1]]


def shortened(result: Mapping[str, Any]) -> Result:
    """A result without what would change in every run or is too long to be read."""
    kept = {name: result[name] for name in ("case", "rules", "level", "verdict", "versions")}
    if result["verdict"] == "pass":
        return kept
    differences = [{part: cut(one[part]) for part in ("place", "expected", "got")} for one in result["differences"]]
    said = list(said_last(result["transcript"]))
    return kept | {"note": cut(result["note"]), "step": result["step"], "told": cut(result["told"]), "differences": differences, "said": said}


def said_last(transcript: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """The end of what was said; of the last exchange, the bytes too."""
    last_sent = max((number for number, one in enumerate(transcript) if one["what"] == "sent"), default=0)
    for number, one in enumerate(transcript):
        if number >= len(transcript) - ENTRIES:
            yield {"what": one["what"], "told": cut(one["told"]), "bytes": cut_bytes(one["bytes"]) if number >= last_sent else ""}


def cut(held: Any) -> str:
    """A value as a text that is not too long."""
    text = str(held)
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}…"


def cut_bytes(digits: str) -> str:
    """The first bytes of a frame, in hexadecimal digits."""
    return digits if len(digits) <= 2 * FRAME_BYTES else f"{digits[: 2 * FRAME_BYTES]}…"


# Keeping


def file_of(name: str) -> Path:
    """Where the results of a peer are kept."""
    return FOLDER / f"{name}.json"


def keep(peer: Peer, date: str, results: list[Result], confirmed: Mapping[str, str]) -> None:
    """Write the results of a peer; `confirmed`: deviation → what its reproduction saw."""
    kept = {"peer": peer.name, "title": peer.title, "version": peer.version(), "date": date, "confirmed": dict(confirmed)}
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in results)
    head = json.dumps(kept, ensure_ascii=False, indent=1)[:-2]
    FOLDER.mkdir(exist_ok=True)
    file_of(peer.name).write_text(f'{head},\n "results": [\n{lines}\n]}}\n', encoding="utf-8")


def kept(name: str) -> Kept | None:
    """What is kept of a peer, None if nothing is."""
    file = file_of(name)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
