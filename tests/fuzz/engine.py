"""libFuzzer over the rooms: it is built with them into build/sanitized/fuzz, and each target runs in a process of its own.

    folder = built()
    run(folder, "frames", Bounds(runs=100_000), GROWN / "frames")

An input that ends a process lies in build/fuzz/findings, and `reproduced` says what it does.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sanitized.rooms import ADDRESS_OPTIONS, ROOT, Sanitizer, carry_out, environment, runtime
from sanitized.rooms import built as built_with

HERE = Path(__file__).parent
#: How the rooms are watched by it, and compiled; vptr and function need a runtime of C++ that Python does not load, and look for what is not here.
FUZZ = Sanitizer(
    "fuzz",
    "clang++",
    ("-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize=vptr,function", "-fno-sanitize-recover=all"),
    ("libclang_rt.asan-x86_64.so",),
    {**ADDRESS_OPTIONS, "ASAN_OPTIONS": f"{ADDRESS_OPTIONS['ASAN_OPTIONS']}:verify_asan_link_order=0:quarantine_size_mb=16:malloc_context_size=2"},
)
LIBRARY = "libclang_rt.fuzzer_no_main-x86_64.a"
HARNESS = tuple(HERE / name for name in ("memory_files.pyx", "mutation.pyx", "targets.pyx"))
CORPUS = HERE / "corpus"
#: What is found on the way, to go on from: inputs that reach something new, and those that end the process.
GROWN, FINDINGS = ROOT / "build" / "fuzz" / "corpus", ROOT / "build" / "fuzz" / "findings"
#: Of each target: how long an input may be (bytes).
TARGETS = {"frames": 2048, "batches": 2048, "messages": 1024}
#: An input that hangs, and memory that grows. How long an input computes the harness counts itself, so this may be patient with a busy machine.
LIMITS = ("-entropic=0", "-timeout=120", "-rss_limit_mb=1500", "-malloc_limit_mb=500")
#: What runs a target. libFuzzer runs it again where it wants another process.
PROGRAM = "#!{python}\nimport sys\n\nimport targets\n\ntargets.main({target!r}, sys.argv)\n"


@dataclass(frozen=True)
class Bounds:
    """How far a run goes; 0: no bound."""

    runs: int = 0
    seconds: int = 0
    seed: int = 0  # 0: any


@dataclass(frozen=True)
class Outcome:
    """What came of a run: empty `report` if nothing was found."""

    target: str
    inputs: int
    edges: int  # of the control flow, that were reached
    peak_mb: int
    report: str


def built(tree: Path = ROOT, folder: Path | None = None) -> Path:
    """The rooms and the harness. CompilerMissing without clang, or without its libFuzzer."""
    library = runtime(FUZZ, LIBRARY)
    folder = built_with(FUZZ, tree, folder, HARNESS)
    engine = folder / "libfuzzer.so"
    if not engine.exists() or engine.stat().st_mtime_ns < (HERE / "mutator.cpp").stat().st_mtime_ns:
        whole = ["-Wl,--whole-archive", library, "-Wl,--no-whole-archive"]
        carry_out([FUZZ.compiler, "-O1", "-fPIC", "-shared", str(HERE / "mutator.cpp"), *whole, "-lpthread", "-o", str(engine)], folder)
    for target in TARGETS:
        program = folder / target
        program.write_text(PROGRAM.format(python=sys.executable, target=target), encoding="utf-8")
        program.chmod(0o755)
    return folder


def started(folder: Path, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """libFuzzer on one target. Its library comes first: the sanitizers have weak doubles of what the rooms tell it."""
    variables = environment(FUZZ, folder)
    variables["LD_PRELOAD"] = f"{folder / 'libfuzzer.so'}:{variables['LD_PRELOAD']}"
    return subprocess.run([str(folder / target), *options], env=variables, cwd=folder, capture_output=True, text=True, errors="replace", check=False)


def run(folder: Path, target: str, bounds: Bounds, grown: Path, findings: Path = FINDINGS) -> Outcome:
    """Mutate the corpus until a bound is reached, or something is found, which goes to `findings`; what reaches something new goes to `grown`."""
    for one in (grown, findings):
        one.mkdir(parents=True, exist_ok=True)
    ends = [f"-runs={bounds.runs or -1}", f"-max_total_time={bounds.seconds}", f"-seed={bounds.seed}"]
    reads = [f"-max_len={TARGETS[target]}", f"-artifact_prefix={findings}/{target}-", "-print_final_stats=1"]
    done = started(folder, target, *ends, *reads, *LIMITS, str(grown), str(CORPUS / target))
    return outcome(target, done)


def outcome(target: str, done: subprocess.CompletedProcess[str]) -> Outcome:
    """What libFuzzer says in the end."""

    def last(pattern: str) -> int:
        found = re.findall(pattern, done.stderr)
        return int(found[-1]) if found else 0

    inputs, peak_mb = last(r"stat::number_of_executed_units: +(\d+)"), last(r"stat::peak_rss_mb: +(\d+)")
    return Outcome(target, inputs, last(r" cov: (\d+)"), peak_mb, "" if done.returncode == 0 else shortened(done.stderr))


def shortened(said: str) -> str:
    """From where the finding is told."""
    lines = said.splitlines()
    is_report = re.compile(r"ERROR: |runtime error: |^Traceback|told nonsense|Assertion ")
    first = next((at for at, line in enumerate(lines) if is_report.search(line)), max(0, len(lines) - 40))
    return "\n".join(lines[first : first + 60])


def reproduced(folder: Path, target: str, paths: Sequence[Path]) -> Outcome:
    """Each of these inputs once."""
    return outcome(target, started(folder, target, *LIMITS, "-print_final_stats=1", *map(str, paths)))


def merged(folder: Path, target: str, into: Path, sources: Sequence[Path]) -> None:
    """Of the inputs in `sources`, the smallest that reach together what all of them reach."""
    for one in (into, *sources):
        one.mkdir(parents=True, exist_ok=True)
    done = started(folder, target, "-set_cover_merge=1", "-use_counters=0", f"-max_len={TARGETS[target]}", *LIMITS, str(into), *map(str, sources))
    if done.returncode != 0:
        raise RuntimeError(shortened(done.stderr))

