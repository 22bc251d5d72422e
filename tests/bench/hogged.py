"""`fiducial serve` beside a thread that holds the GIL for as long as Python lets it: what clients of a log should not notice.

    PYTHONPATH=tests python -m bench.hogged serve --listen HOST:PORT
"""

from __future__ import annotations

import sys
import threading

from fiducial.cli import main


def burn() -> None:
    """For ever."""
    while True:
        pass


if __name__ == "__main__":
    threading.Thread(target=burn, daemon=True).start()
    sys.exit(main())
