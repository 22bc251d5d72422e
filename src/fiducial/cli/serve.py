"""`fiducial serve`: settings from the file and the command line, then the broker."""

from __future__ import annotations

import argparse
import sys

from fiducial.models.settings import SettingError

USAGE = 2


def properties(text: str) -> dict[str, str]:
    """The settings in a file in Java's properties format: name=value (or name:value), # and ! comments, \\ goes on in the next line."""
    found: dict[str, str] = {}
    logical = ""
    for line in text.splitlines():
        line = line.lstrip()
        if not logical and line.startswith(("#", "!")):
            continue
        if line.endswith("\\") and not line.endswith("\\\\"):
            logical += line[:-1]
            continue
        logical += line
        if logical.strip():
            cut = min((at for at in (logical.find("="), logical.find(":")) if at >= 0), default=len(logical))
            found[logical[:cut].strip()] = logical[cut + 1 :].strip()
        logical = ""
    return found


def settings(options: argparse.Namespace) -> dict[str, str]:
    """What the file says, then what the command line says."""
    found: dict[str, str] = {}
    if options.config is not None:
        try:
            found |= properties(options.config.read_text())
        except OSError as error:
            raise SettingError(f"cannot read {options.config}: {error.strerror}") from None
    for one in options.set:
        name, equals, text = one.partition("=")
        if not equals:
            raise SettingError(f"--set takes NAME=VALUE, not {one!r}")
        found[name.strip()] = text.strip()
    return found


def address(listen: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingError(f"--listen takes HOST:PORT, not {listen!r}")
    return host.strip("[]"), int(port)


def serve(options: argparse.Namespace) -> int:
    """Start a broker and serve until SIGINT or SIGTERM; 2 for a setting that is not accepted."""
    try:
        if options.data is not None:
            raise SettingError("--data: this broker keeps its data in memory; the durable one is not here yet")
        host, port = address(options.listen)
        from fiducial.reference.server import run

        return run(host, port, settings(options))
    except SettingError as error:
        print(f"fiducial serve: {error}", file=sys.stderr)
        return USAGE
