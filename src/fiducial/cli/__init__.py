"""The command `fiducial`: serve, verify, explain. Each imports what it needs only when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: The exit status for a command line or a setting that is not accepted, as argparse has it.
USAGE = 2

EXAMPLES = """\
examples:
  fiducial serve                                  a broker on 127.0.0.1:9092, its data in ./fiducial-data
  fiducial explain LOG-BATCH-9                    a rule of the specification
  fiducial explain OUT_OF_ORDER_SEQUENCE_NUMBER   an error, and the rules that answer it
  fiducial verify                                 check everything (from a checkout)
"""

SERVE_EXAMPLES = """\
The first line on stdout is `listening on HOST:PORT`. SIGINT and SIGTERM stop the broker. Settings have Kafka's own names, in
--set and in the file; one that is unknown, or whose value is not accepted, is refused at the start with exit status 2.

What is acknowledged survives the process in any case. What it survives beyond that is a setting, for the broker or for a topic:
  none      as Kafka: the operating system writes when it likes (the default)
  interval  log.flush.interval.ms, or flush.ms of a topic: at most so long after the acknowledgement
  commit    log.flush.interval.messages=1, or flush.messages=1 of a topic: before the acknowledgement

examples:
  fiducial serve
  fiducial serve --listen 127.0.0.1:0 --set num.partitions=3 --set log.retention.hours=1
  fiducial serve --data /var/lib/fiducial --set log.flush.interval.messages=1
  fiducial serve --config server.properties
  kcat -b 127.0.0.1:9092 -t greetings -P <<< hello && kcat -b 127.0.0.1:9092 -t greetings -C -e
"""

VERIFY_EXAMPLES = """\
Needs a checkout and the extras: pip install -e '.[verify,clients]', which `make verify` does by itself. Apache Kafka, the
referee, needs a JDK (17 or later) and Maven; without them that part is reported as NOT RUN, and fails if CI=true is set.
Exit status 0: all passed; 1: something failed; 2: it cannot run here. NO_COLOR turns colours off.

examples:
  fiducial verify
  fiducial verify --only models
  fiducial verify --long
"""

EXPLAIN_EXAMPLES = """\
examples:
  fiducial explain LOG-BATCH-9
  fiducial explain OUT_OF_ORDER_SEQUENCE_NUMBER
"""

#: The parts of `fiducial verify`, in order.
PARTS = ("lint", "models", "mutants", "frozen", "referee", "tests")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    about = "A Kafka-compatible message log that is formally specified."
    top = argparse.ArgumentParser(prog="fiducial", description=about, epilog=EXAMPLES, **raw)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="start a broker", description="Start a broker.", epilog=SERVE_EXAMPLES, **raw)
    serve.add_argument("--reference", action="store_true", help="the broker that is only its models: slow, in memory, obviously right")
    serve.add_argument("--listen", default="127.0.0.1:9092", metavar="HOST:PORT", help="where to listen; port 0 picks one (default: %(default)s)")
    serve.add_argument("--data", metavar="DIR", help="where to keep data (default: ./fiducial-data; the reference broker keeps it in memory)")
    serve.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; wins over --config; may be repeated")
    serve.add_argument("--config", type=Path, metavar="FILE", help="a file of settings, in the format of Kafka's server.properties")
    about = "Check everything: lint, models explored and proved, Apache Kafka as referee, tests."
    verify = commands.add_parser("verify", help="check everything", description=about, epilog=VERIFY_EXAMPLES, **raw)
    verify.add_argument("--long", action="store_true", help="the long campaigns")
    verify.add_argument("--only", choices=PARTS, help="one part")
    about = "Print a rule of the specification; or an error, and every rule that answers it."
    explain = commands.add_parser("explain", help="print a rule or an error", description=about, epilog=EXPLAIN_EXAMPLES, **raw)
    explain.add_argument("what", metavar="RULE|ERROR", help="a rule's id, or an error's name or number")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    options = parser().parse_args(argv)
    match options.command:
        case "serve":
            from fiducial.cli.serve import serve

            return serve(options)
        case "verify":
            from fiducial.cli.verify import verify

            return verify(options.long, options.only)
        case _:
            from fiducial.cli.explain import explain

            return explain(options.what)
