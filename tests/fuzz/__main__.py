"""`make fuzz`: ten million inputs, half an hour of two cores; whatever is found lies in build/fuzz/findings, with a report on the screen.

    python -m fuzz                      all targets
    python -m fuzz frames batches       some
    python -m fuzz --seconds 60         so long each, instead of so many inputs
    python -m fuzz frames FILE...       what these inputs do: how a finding is seen again
    python -m fuzz --keep               the corpus anew: the fewest inputs that reach what all of build/fuzz/corpus reach
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sanitized.rooms import CompilerMissing

from fuzz import seeds
from fuzz.engine import CORPUS, GROWN, TARGETS, Bounds, Outcome, built, merged, reproduced, run

#: Of ten million: the frames are what strangers send, and the slowest.
RUNS = {"frames": 3_000_000, "batches": 5_000_000, "messages": 2_000_000}
#: The exit statuses if something is found, and without the compiler.
FOUND, NOT_RUN = 1, 3


def fuzzed(folder: Path, targets: Sequence[str], seconds: int) -> list[Outcome]:
    """Each target, beside one another; what they find new is kept for the next time."""

    def of(target: str) -> Outcome:
        return run(folder, target, Bounds(seconds=seconds) if seconds else Bounds(runs=RUNS[target]), GROWN / target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(of, targets))


def keep(folder: Path, targets: Sequence[str]) -> None:
    """The smallest corpus that reaches what the seeds, and all that was found since, reach. Messages have too many layouts for that: the seeds alone."""
    for target in targets:
        seeded, kept = GROWN.with_name("seeds") / target, GROWN.with_name("kept") / target
        seeds.write(target, seeded)
        shutil.rmtree(kept, ignore_errors=True)
        merged(folder, target, kept, [seeded] if target == "messages" else [CORPUS / target, seeded, GROWN / target])
        shutil.rmtree(CORPUS / target, ignore_errors=True)
        shutil.copytree(kept, CORPUS / target)
        print(f"{target}: {sum(1 for _ in kept.iterdir())} inputs")


def tell(outcomes: Sequence[Outcome]) -> int:
    """The exit status."""
    print(f"{'target':<10} {'inputs':>12} {'edges reached':>14} {'MB at most':>11}")
    for one in outcomes:
        print(f"{one.target:<10} {one.inputs:>12,} {one.edges:>14,} {one.peak_mb:>11,}  {'FOUND' if one.report else ''}")
    print(f"{'all':<10} {sum(one.inputs for one in outcomes):>12,}")
    for one in outcomes:
        if one.report:
            print(f"\n{one.target}:\n{one.report}")
    return FOUND if any(one.report for one in outcomes) else 0


def main(argv: Sequence[str]) -> int:
    """The exit status: 0 if nothing is found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="TARGET|FILE")
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args(argv)
    targets = [name for name in options.names if name in TARGETS] or list(TARGETS)
    files = [Path(name).resolve() for name in options.names if name not in TARGETS]
    if files and len(targets) != 1:
        parser.error("name the target of the files")
    try:
        folder = built()
    except CompilerMissing as reason:
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return NOT_RUN
    if options.keep:
        keep(folder, targets)
        return 0
    return tell([reproduced(folder, targets[0], files)] if files else fuzzed(folder, targets, options.seconds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
