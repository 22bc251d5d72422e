"""`make peers`: every broker of the roster is judged by `fiducial conform`, and its deviations are reproduced; spec/peers is written anew.

A broker that is not to be had here is NOT RUN, which the exit status says, too; what was kept of it stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from fiducial.conformance import suite
from peers import page, results
from peers.kafka import NOT_RUN, PeerUnavailable
from peers.reproductions import NotSeen, deviations_of
from peers.results import Result, RunFailed
from peers.roster import PEERS, Peer, Settings

#: What the cases need that wait for retention and expiry, fill a group, or read as much as a broker gives: they are told to a second broker, which has it.
QUICK = {
    "log.retention.check.interval.ms": "50", "producer.id.expiration.ms": "1000", "fetch.max.bytes": "100000", "group.max.size": "2",
    "offsets.retention.check.interval.ms": "50", "group.initial.rebalance.delay.ms": "3000",
}  # fmt: skip

#: The exit status if Apache Kafka, or a broker of ours, does not pass.
FAILED = 1


def told(peer: Peer) -> tuple[list[Result], dict[str, str]]:
    """What comes of every case, and the deviations that their reproductions saw, each with what it saw."""
    found = told_to(peer, list(suite.every()), {})
    lacking = [one["case"] for one in found if one["verdict"] == "unsupported-setup"]
    if lacking:
        again = {one["case"]: one for one in told_to(peer, lacking, QUICK)}
        found = [again.get(one["case"], one) for one in found]
    return found, seen(peer)


def told_to(peer: Peer, cases: Sequence[str], settings: Settings) -> list[Result]:
    """What comes of these cases; stories of groups come last."""
    every = suite.every()
    of_groups = [case for case in cases if every[case].groups]
    return told_in_turn(peer, [case for case in cases if not every[case].groups], settings) + told_beside_each_other(peer, of_groups, settings)


def told_in_turn(peer: Peer, cases: Sequence[str], settings: Settings) -> list[Result]:
    """What comes of cases that are told one behind the other; a broker that does not survive one is started anew for the rest."""
    found: list[Result] = []
    while len(found) < len(cases):
        left = cases[len(found) :]
        with peer.serving(settings) as address:
            told_ = results.judged(address, left)
        is_dead = len(told_) < len(left)
        if is_dead:
            print(f"{peer.title} does not answer any more after {told_[-1]['case']}", file=sys.stderr, flush=True)
        if is_dead and len(told_) > 1 and told_[-1]["verdict"] == "inconclusive":
            told_.pop()  # it may not be this one that it died of
        found += told_
    return found


def told_beside_each_other(peer: Peer, cases: Sequence[str], settings: Settings) -> list[Result]:
    """What comes of cases that are told at the same time. If a broker does not survive that, each is told to one of its own: so it shows which was to blame."""
    if not cases:
        return []
    with peer.serving(settings) as address:
        found = results.judged(address, cases)
    if len(found) == len(cases):
        return found
    print(f"{peer.title} does not answer any more among stories of groups, which are told one by one", file=sys.stderr, flush=True)
    return [one for case in cases for one in told_in_turn(peer, [case], settings)]


def seen(peer: Peer) -> dict[str, str]:
    """Deviation → what its reproduction saw; those that are not there any more are left out, and said."""
    found: dict[str, str] = {}
    for deviation in deviations_of(peer.name):
        with peer.serving({}) as address:  # one may be that the broker dies
            host, _, port = address.rpartition(":")
            try:
                found[deviation.title] = deviation.reproduce((host, int(port)))
            except NotSeen as reason:
                print(f"{peer.title}: not seen any more: {deviation.title}: {reason}", file=sys.stderr)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the peers and write their pages; the exit status."""
    parser = argparse.ArgumentParser(prog="make peers", description="Judge other brokers, and ours, and write spec/peers")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"some of {', '.join(one.name for one in PEERS)} (default: all)")
    parser.add_argument("--pages", action="store_true", help="judge nobody, only write the pages of what is kept")
    options = parser.parse_args(argv)
    status = 0
    for peer in () if options.pages else PEERS:
        if options.peers and peer.name not in options.peers:
            continue
        try:
            found, confirmed = told(peer)
        except (PeerUnavailable, RunFailed) as reason:
            print(f"NOT RUN: {peer.title}: {reason}", file=sys.stderr, flush=True)
            status = status or NOT_RUN
            continue
        results.keep(peer, datetime.now(UTC).date().isoformat(), found, confirmed)
        failed = [one["case"] for one in found if one["verdict"] == "fail"]
        if failed and not peer.is_another:
            status = FAILED
        print(f"{peer.title} {peer.version()}: {len(found)} cases, {len(failed)} failed, {len(confirmed)} deviations confirmed", flush=True)
    for path, text in page.made().items():
        path.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
