"""What the command line says, made into what is meant; refused with a reason where it means nothing."""

from __future__ import annotations

from pathlib import Path


class Refused(Exception):
    """What was asked for cannot be done; the text says why."""


def address(target: str | None) -> tuple[str, int]:
    """HOST:PORT, or [HOST]:PORT for an address with colons."""
    host, _, port = (target or "").rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise Refused(f"which broker? HOST:PORT, not {target or 'nothing'!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_writable(file: Path | None) -> None:
    """Refused if the file cannot be written: that is to be known before the work."""
    try:
        if file is not None:
            file.touch()
    except OSError as error:
        raise Refused(f"cannot write {file}: {error.strerror}") from None
