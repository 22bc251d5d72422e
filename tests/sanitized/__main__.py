"""Build the rooms with a sanitizer, and run Python on them.

    python -m sanitized address                              only build
    python -m sanitized address -m pytest tests/fastpath     then run this
    python -m sanitized thread program.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sanitized.rooms import SANITIZERS, CompilerMissing, built, environment


def main(argv: Sequence[str]) -> int:
    """The exit status, unless Python takes over."""
    if not argv or argv[0] not in SANITIZERS:
        print(__doc__, file=sys.stderr)
        return 2
    sanitizer, command = SANITIZERS[argv[0]], argv[1:]
    try:
        folder = built(sanitizer)
    except CompilerMissing as reason:
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return 3
    print(folder, file=sys.stderr)
    if command:
        os.execve(sys.executable, [sys.executable, *command], environment(sanitizer, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
