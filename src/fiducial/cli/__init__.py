"""The command `fiducial`: serve, verify, explain. Each imports what it needs only when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

SERVE_EXAMPLES = """\
settings have Kafka's own names, in --set and in the file:
  fiducial serve
  fiducial serve --listen 127.0.0.1:0 --set num.partitions=3 --set log.retention.hours=1
  fiducial serve --config server.properties
"""

EXPLAIN_EXAMPLES = """\
  fiducial explain LOG-BATCH-9
  fiducial explain OUT_OF_ORDER_SEQUENCE_NUMBER
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="fiducial", description="A Kafka-compatible message log that is formally specified.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter
    serve = commands.add_parser("serve", help="start a broker", epilog=SERVE_EXAMPLES, formatter_class=raw)
    serve.add_argument("--reference", action="store_true", help="the broker that is only its models, in memory (the only one so far)")
    serve.add_argument("--listen", default="127.0.0.1:9092", metavar="HOST:PORT", help="where to listen; port 0 picks one (%(default)s)")
    serve.add_argument("--data", metavar="DIR", help="where to keep data (not for the reference broker, which keeps it in memory)")
    serve.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; wins over --config; may be repeated")
    serve.add_argument("--config", type=Path, metavar="FILE", help="a file of settings, as Kafka's server.properties")
    verify = commands.add_parser("verify", help="check everything: models, proofs, referee, tests")
    verify.add_argument("--long", action="store_true", help="the long campaigns")
    verify.add_argument("--only", choices=("lint", "models", "referee", "tests"), help="one part")
    explain = commands.add_parser("explain", help="a rule, or an error and every rule that answers it", epilog=EXPLAIN_EXAMPLES, formatter_class=raw)
    explain.add_argument("what", metavar="RULE|ERROR")
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

            return verify(long=options.long, only=options.only)
        case _:
            from fiducial.models.explain import explain

            return explain(options.what, sys.stdout)
