"""`fiducial serve`: settings from the file and the command line, then the broker."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from fiducial.cli import USAGE, properties
from fiducial.models.settings import BROKER, PLAINTEXT, SettingError

#: Where data is kept, if nothing else is said.
DATA = "fiducial-data"
#: Where a broker listens, if nothing else is said.
LISTEN = "127.0.0.1:9092"
#: What is said otherwise here than in Kafka's server.properties.
OTHERWISE = {"listeners": "--listen", "log.dirs": "--data", "log.dir": "--data", "node.id": "broker.id"}


def settings(file: Path | None, assignments: list[str]) -> dict[str, str]:
    """What the file says, then what the command line says."""
    found: dict[str, str] = {}
    if file is not None:
        try:
            found = properties.parse(file.read_text(encoding="latin-1"))  # as Java reads it
        except OSError as error:
            raise SettingError(f"cannot read {file}: {error.strerror}") from None
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise SettingError(f"--set takes NAME=VALUE, not {assignment!r}")
        found[name.strip()] = text.strip()
    return found


def check_known(names: Iterable[str]) -> None:
    """SettingError for those that are no settings: all of them, since who brings a file of Kafka's has many."""
    unknown = [repr(name) + (f" (it is {OTHERWISE[name]})" if name in OTHERWISE else "") for name in names if name not in BROKER]
    if unknown:
        raise SettingError(f"there {'is no setting' if len(unknown) == 1 else 'are no settings'} {', '.join(unknown)}")


def address(listen: str, option: str = "--listen") -> tuple[str, int]:
    """HOST:PORT, or [HOST]:PORT for an address with colons."""
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise SettingError(f"{option} takes HOST:PORT, not {listen!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def places(listen: list[str]) -> list[tuple[str, str, int]]:
    """The listeners, with commas between or one after the other: the name of each, or nothing, which is PLAINTEXT, and its address."""
    found = []
    for one in ",".join(listen).split(","):
        name, _, place = one.strip().rpartition("://")
        found.append((name or PLAINTEXT, *address(place)))
    return found


def serve(options: argparse.Namespace) -> int:
    """Start a broker and serve until SIGINT or SIGTERM; 2 for a setting that is not accepted."""
    if options.list_flaws:
        return list_flaws()
    try:
        listen = places(options.listen or [LISTEN])
        metrics = None if options.metrics is None else address(options.metrics, "--metrics")
        given = settings(options.config, options.set)
        check_known(given)
        if options.data == "":
            raise SettingError("--data takes a folder, and not nothing")
        if options.reference:
            if options.data is not None:
                raise SettingError("--data: the reference broker keeps its data in memory")
            if metrics is not None:
                raise SettingError("--metrics: the reference broker has none")
            if options.driver is not None:
                raise SettingError("--driver: the reference broker has its own")
            from fiducial.reference import server as reference

            return serve_flawed(listen, given, options.flaw) if options.flaw else reference.run(listen, given)
        if options.flaw:
            raise SettingError("--flaw: only the reference broker can have one (--reference)")
        from fiducial.fastpath import server as fastpath

        if options.driver == fastpath.EPOLL != fastpath.DRIVER:
            raise SettingError("--driver: only Linux has epoll")
        return fastpath.run(listen, Path(options.data or DATA), given, metrics, options.driver or fastpath.DRIVER)
    except SettingError as error:
        print(f"fiducial serve: {error}", file=sys.stderr)
        return USAGE


def list_flaws() -> int:
    """Print what can be wrong on purpose."""
    from fiducial.reference import flaws

    print("\n".join(map(flaws.listed, flaws.FLAWS.values())))
    return 0


def serve_flawed(listen: list[tuple[str, str, int]], given: dict[str, str], names: list[str]) -> int:
    """Serve with something wrong, and say so; SettingError for a name of no flaw."""
    from fiducial.reference import flaws, server

    for name in names:
        if name not in flaws.FLAWS:
            raise SettingError(f"--flaw takes one of --list-flaws, not {name!r}")
        print(f"fiducial serve: FLAWED on purpose: {flaws.listed(flaws.FLAWS[name])}", file=sys.stderr, flush=True)
    with flaws.switched_on(names):
        return server.run(listen, given)
