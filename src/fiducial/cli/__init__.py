"""The command `fiducial`: serve, groups, lag, conform, verify, explain. Each imports what it needs only when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

#: The exit status for a command line or a setting that is not accepted, as argparse has it.
USAGE = 2
#: That of a program that SIGINT ended, as shells have it.
INTERRUPTED = 130

EXAMPLES = """\
examples:
  fiducial serve                                  a broker on 127.0.0.1:9092, its data in ./fiducial-data
  fiducial groups 127.0.0.1:9092                  the consumer groups of a cluster, any that speaks Kafka's protocol
  fiducial lag 127.0.0.1:9092                     how far they are behind
  fiducial conform 127.0.0.1:9092                 judge a broker, any that speaks Kafka's protocol
  fiducial explain LOG-BATCH-9                    a rule of the specification
  fiducial explain OUT_OF_ORDER_SEQUENCE_NUMBER   an error, and the rules that answer it
  fiducial verify                                 check everything (from a checkout)
"""

SERVE_EXAMPLES = """\
The first line on stdout is `listening on HOST:PORT`, and there is one for each listener. SIGINT and SIGTERM stop the broker. Settings have Kafka's own names, in
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
  fiducial serve --listen 0.0.0.0:9092 --set advertised.listeners=PLAINTEXT://broker.example:9092
  fiducial serve --listen SSL://broker.example:9093 --set ssl.keystore.location=key-and-certificates.pem
  fiducial serve --listen 10.0.0.1:9092 --listen SSL://192.0.2.1:9093 --set ssl.keystore.location=key-and-certificates.pem
  fiducial serve --listen 127.0.0.1:9092,INSIDE://10.0.0.1:9094 --set listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT
  fiducial serve --metrics 127.0.0.1:9308
  fiducial serve --reference --flaw P29
  kcat -b 127.0.0.1:9092 -t greetings -P <<< hello && kcat -b 127.0.0.1:9092 -t greetings -C -e
"""

GROUPS_EXAMPLES = """\
All nodes are asked, from any one of them on. Members and their partitions are told of classic groups; groups of another type are listed.

JSON (-o json), one object on a line: {"bootstrap", "groups": [{"group", "type", "state", "protocol_type", "protocol", "coordinator" (a node's
id), "members": [{"member_id", "instance_id", "client_id", "host", "partitions": [{"topic", "partition"}]}], "error"}]}. "members" is null if
nobody tells them, with the reason in "error" if there is one; "partitions" if the assignment cannot be read; "instance_id" if there is none.

Exit status 0; 1: the cluster cannot be reached or does not tell, or a group that is named is not there; 2: a command line that is not accepted.

examples:
  fiducial groups 127.0.0.1:9092
  fiducial groups 127.0.0.1:9092 checkout
  fiducial groups broker-1:9092,broker-2:9092 -o json
"""

LAG_EXAMPLES = """\
  COMMITTED   where the group goes on: the offset of the first record that it has not read
  LAG         the end of the log (the high watermark) less that; what was deleted unread counts too
  BEHIND      now, by the clock of this machine, less the time of the first unread record that is there; 0s if there is none
  CLIENT      the member that reads the partition now

Of a topic, and in all, the lag is the sum and the time the longest. A partition whose lag nobody knows counts in neither, and is told of.

JSON (-o json), one object on a line: {"bootstrap", "groups": [{"group", "type", "state", "lag", "behind_ms", "unknown_partitions", "topics": [{"topic",
"lag", "behind_ms", "unknown_partitions", "partitions": [{"partition", "committed", "log_start", "log_end", "lag", "behind_ms", "member_id", "client_id",
"host", "note"}]}], "error"}], "lag", "behind_ms", "unknown_partitions"}. What is not known is null; "note" has the reason, or is empty; "error" is of
the group's offsets, null if they are told.

Exit status 0; 1: the cluster cannot be reached or does not tell, or a group that is named is not there; 2: a command line that is not accepted.

examples:
  fiducial lag 127.0.0.1:9092
  fiducial lag 127.0.0.1:9092 checkout shipping --watch 2
  fiducial lag 127.0.0.1:9092 -o json | jq '.groups[] | {group, lag, behind_ms}'
"""

CONFORM_EXAMPLES = """\
Each case is a short story about a rule of the specification, told in every version of its requests that the broker advertises; what
should be answered is asked of the models. It makes topics of its own (conform-*), and removes them. What there are no cases of yet is
not judged: --list shows what is.

  pass               as the rule says
  nonstrict          otherwise, but as the rule allows a peer
  info               otherwise, where Apache Kafka does not keep the rule either, or the rule is a MAY
  fail               otherwise
  not-applicable     the broker does not advertise what is asked, or others may notice and --allow-destructive is not given
  unsupported-setup  the topics that the story needs are not to be had
  inconclusive       the broker, or the way to it, failed
  suite-error        the judge failed

A baseline lists failures that do not count, each with a reason and the day from which on it counts again; what has expired, or does not fail
any more, is said:

  [[known]]
  case = "LOG-BATCH-9/*"      # a case; a rule, which is all its cases; or a pattern of either
  reason = "broken since 2.1, see issue 77"
  expires = 2027-01-31

With --explore the broker is asked valid, invalid and boundary requests at random, each answer held against what the models allow. A history that
ends in a difference is shrunk until nothing can be left out of it, and written into a folder: SEED-N.json (for --replay), SEED-N.py (a program that
needs nothing but Python, and sends the very bytes), SEED-N.mmd (a sequence diagram, as Mermaid text). What was found once is not told again. If the
broker dies of it, SEED-gone.json is a trace of what it was asked last. All topics are the run's own (conform-*), and go with it; no setting of the broker is changed.

JSON lines (-o json): first {"target", "cases", "seed", "assumed" (settings that the broker does not tell)}; then each case: {"case", "rules", "level", "verdict", "versions", "seconds"},
and, if it did not pass, {"note", "step", "told", "known" (why, if the baseline has it), "differences": [{"place", "expected", "got"}], "transcript":
[{"ms", "connection", "what", "told", "bytes" (hexadecimal)}]}; at last {"verdicts" (how many of each), "exit_status"}. With --explore: {"target", "explore",
"replay", "seed"}; each counterexample: {"history", "verdict", "level", "rules", "told", "differences", "files"}; at last {"requests", "histories",
"unfinished", "found", "exit_status"}.

Exit status 0: every MUST that was judged held; 1: a MUST failed, or a case was inconclusive or a suite-error; 2: a command line that is
not accepted, or no case was told; 3: the broker cannot be reached, or no more; 4: only SHOULD failed, with --strict. NO_COLOR turns colours off.

examples:
  fiducial conform 127.0.0.1:9092
  fiducial conform 127.0.0.1:9092 --rule 'IDEM-*' --level MUST
  fiducial conform 127.0.0.1:9092 --rule LOG-BATCH-9/wrong-checksum -o json
  fiducial conform 127.0.0.1:9092 --junit conform.xml --html conform.html --badge conform.svg
  fiducial conform 127.0.0.1:9092 --baseline known.toml
  fiducial conform 127.0.0.1:9092 --explore 5m --html explored.html
  fiducial conform 127.0.0.1:9092 --replay conform-found/271828-1.json
  fiducial conform --list
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


class Version(argparse.Action):
    """Looks the version up when it is asked for: that takes longer than to read a command line."""

    def __call__(self, parser: argparse.ArgumentParser, *_others: Any) -> NoReturn:
        from importlib.metadata import version

        print("fiducial", version("fiducial"))
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    about = "A Kafka-compatible message log that is formally specified."
    top = argparse.ArgumentParser(prog="fiducial", description=about, epilog=EXAMPLES, **raw)
    top.add_argument("--version", action=Version, nargs=0, help="say which version this is, and end")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="start a broker", description="Start a broker.", epilog=SERVE_EXAMPLES, **raw)
    serve.add_argument("--reference", action="store_true", help="the broker that is only its models: slow, in memory, obviously right")
    serve.add_argument("--listen", action="append", metavar="[NAME://]HOST:PORT", help="where to listen, for clients that speak as the NAME says: PLAINTEXT, which is the default, SSL, or one of listener.security.protocol.map; port 0 picks one; may be repeated (default: 127.0.0.1:9092)")
    serve.add_argument("--data", metavar="DIR", help="where to keep data (default: ./fiducial-data; the reference broker keeps it in memory)")
    serve.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; wins over --config; may be repeated")
    serve.add_argument("--config", type=Path, metavar="FILE", help="a file of settings, in the format of Kafka's server.properties")
    serve.add_argument("--metrics", metavar="HOST:PORT", help="tell Prometheus there, at /metrics, of groups and their lag, of logs, of traffic, and of the broker; port 0 picks one")
    serve.add_argument("--driver", choices=("epoll", "asyncio"), help="who serves clients: I/O threads, as many as num.network.threads says, or one event loop (default: epoll on Linux)")
    serve.add_argument("--flaw", action="append", default=[], metavar="NAME", help="have a bug on purpose, with --reference, to see who notices; may be repeated")
    serve.add_argument("--list-flaws", action="store_true", help="list the bugs that --flaw can switch on, and serve nothing")
    about = "The consumer groups of a cluster, any that speaks Kafka's protocol: who is in them, and what is assigned to whom."
    add_viewer(commands.add_parser("groups", help="list consumer groups", description=about, epilog=GROUPS_EXAMPLES, **raw), "of these groups, the members too")
    about = "How far the consumer groups of a cluster are behind, any that speaks Kafka's protocol: by partition, topic and in all."
    add_viewer(commands.add_parser("lag", help="how far they are behind", description=about, epilog=LAG_EXAMPLES, **raw), "only these groups")
    about = "Judge a broker, any that speaks Kafka's protocol, by the rules of the specification."
    conform = commands.add_parser("conform", help="judge a broker", description=about, epilog=CONFORM_EXAMPLES, **raw)
    conform.add_argument("target", nargs="?", metavar="HOST:PORT", help="the broker to judge")
    conform.add_argument("--list", action="store_true", help="list the cases that would be told, and tell none")
    conform.add_argument("--rule", action="append", default=[], metavar="ID|GLOB", help="cases of these rules, or these cases; may be repeated")
    conform.add_argument("--api", metavar="NAME", help="cases that ask this API, such as Produce")
    conform.add_argument("--level", choices=("MUST", "SHOULD", "MAY"), help="cases of rules that bind at least so much")
    conform.add_argument("--strict", action="store_true", help="a SHOULD that fails counts")
    others = "tell also what others may notice: settings of the broker are changed and taken back, and Kafka's controller steps down once or twice"
    conform.add_argument("--allow-destructive", action="store_true", help=others)
    conform.add_argument("--seed", type=int, metavar="N", help="shuffle the cases so (default: in the order of --list)")
    conform.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a report to read, or JSON lines (default: %(default)s)")
    conform.add_argument("--explore", metavar="N|DURATION", help="tell no cases, but random histories: so many requests, or for so long (30s, 5m)")
    conform.add_argument("--replay", type=Path, metavar="FILE", help="tell again what --explore found: a trace that it wrote")
    found = "where --explore writes what it finds (default: ./%(default)s)"
    conform.add_argument("--found", type=Path, default=Path("conform-found"), metavar="DIR", help=found)
    conform.add_argument("--baseline", type=Path, metavar="FILE", help="failures that are known, with reason and expiry date (TOML, see below)")
    conform.add_argument("--html", type=Path, metavar="FILE", help="write a page to read there too: one file, needs nothing from elsewhere")
    conform.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML there too")
    conform.add_argument("--badge", type=Path, metavar="FILE", help="write a badge (SVG) there too")
    about = "Check everything: lint, models explored and proved, Apache Kafka as referee, tests."
    verify = commands.add_parser("verify", help="check everything", description=about, epilog=VERIFY_EXAMPLES, **raw)
    verify.add_argument("--long", action="store_true", help="the long campaigns")
    verify.add_argument("--only", choices=PARTS, help="one part")
    about = "Print a rule of the specification; or an error, and every rule that answers it."
    explain = commands.add_parser("explain", help="print a rule or an error", description=about, epilog=EXPLAIN_EXAMPLES, **raw)
    explain.add_argument("what", metavar="RULE|ERROR", help="a rule's id, or an error's name or number")
    return top


def add_viewer(command: argparse.ArgumentParser, of_groups: str) -> None:
    """What every command takes that looks at a cluster."""
    command.add_argument("bootstrap", metavar="HOST:PORT", help="a broker of the cluster; or several, with commas, to try one after another")
    command.add_argument("group", nargs="*", metavar="GROUP", help=of_groups)
    command.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a table to read, or an object of JSON (default: %(default)s)")
    command.add_argument("--watch", type=float, metavar="SECONDS", help="look again and again, so often, until Ctrl-C")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status. Who presses Ctrl-C, or reads no more of what is printed, knows why it ends, and is told nothing."""
    try:
        status = run(parser().parse_args(argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def run(options: argparse.Namespace) -> int:
    """Run the command that was read."""
    match options.command:
        case "serve":
            from fiducial.cli.serve import serve

            return serve(options)
        case "conform":
            from fiducial.cli.conform import conform

            return conform(options)
        case "groups":
            from fiducial.cli.groups import groups

            return groups(options)
        case "lag":
            from fiducial.cli.lag import lag

            return lag(options)
        case "verify":
            from fiducial.cli.verify import verify

            return verify(options.long, options.only)
        case _:
            from fiducial.cli.explain import explain

            return explain(options.what)
