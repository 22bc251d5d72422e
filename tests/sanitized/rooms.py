"""The rooms of the fast path built with a sanitizer, in build/sanitized/NAME, all else of the package beside them by links; and Python run on them.

    folder = built(ADDRESS)
    subprocess.run([sys.executable, ...], env=environment(ADDRESS, folder))

What has not changed is not compiled again. A process that finds something says so on stderr and ends with the exit status FOUND.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "sanitized"
#: What a sanitizer ends the process with, once it has reported.
FOUND = 86
#: What the compiler reads.
SOURCES = (".pyx", ".pxd", ".h")
MODULE_SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))  # asked here: the first two threads that ask at once may get nothing
#: Reports name lines and callers; wrapping is what the rooms rely on, as in setup.py; the library checks its own bounds.
FLAGS = ("-std=c++17", "-fwrapv", "-O1", "-g1", "-fno-omit-frame-pointer", "-D_GLIBCXX_ASSERTIONS")
MODULE_SUFFIX, PYTHON_HEADERS = str(sysconfig.get_config_var("EXT_SUFFIX")), sysconfig.get_path("include")


class CompilerMissing(Exception):
    """This machine cannot build with that sanitizer; says why."""


@dataclass(frozen=True)
class Sanitizer:
    """A way to build the rooms."""

    name: str
    compiler: str
    flags: tuple[str, ...]
    runtimes: tuple[str, ...]  # the libraries that are loaded before Python, as the compiler knows them
    options: Mapping[str, str]  # of the runtimes: environment variables


#: Python keeps what it has to the end of the process, on purpose.
ADDRESS_OPTIONS = {
    "ASAN_OPTIONS": f"detect_leaks=0:exitcode={FOUND}",
    "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:exitcode={FOUND}",
}
ADDRESS = Sanitizer(
    "address", "g++", ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), ("libasan.so", "libubsan.so"), ADDRESS_OPTIONS
)
THREAD = Sanitizer("thread", "g++", ("-fsanitize=thread",), ("libtsan.so",), {"TSAN_OPTIONS": f"halt_on_error=1:exitcode={FOUND}"})
SANITIZERS = {one.name: one for one in (ADDRESS, THREAD)}


def runtime(sanitizer: Sanitizer, library: str) -> str:
    """Where the compiler has a library."""
    try:
        asked = subprocess.run([sanitizer.compiler, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise CompilerMissing(f"{sanitizer.compiler} is not installed") from None
    path = Path(asked.stdout.strip())
    if not path.is_absolute():
        raise CompilerMissing(f"{sanitizer.compiler} has no {library}")
    return str(path.resolve())


def environment(sanitizer: Sanitizer, folder: Path) -> dict[str, str]:
    """With this, Python imports the rooms in `folder`. It takes all memory from the runtime, so that no overrun stays within an arena of its own."""
    return {
        **os.environ,
        **sanitizer.options,
        "LD_PRELOAD": ":".join(runtime(sanitizer, library) for library in sanitizer.runtimes),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": f"{folder}:{ROOT / 'tests'}",
    }


def built(sanitizer: Sanitizer, tree: Path = ROOT, folder: Path | None = None, beside: Sequence[Path] = ()) -> Path:
    """The folder to import from, made or brought up to date: the rooms of `tree`, a checkout, and what else is to be compiled beside the package."""
    folder = folder or FOLDER / sanitizer.name
    for library in sanitizer.runtimes:
        runtime(sanitizer, library)
    with alone(folder):
        begin(folder, " ".join((sanitizer.compiler, *FLAGS, *sanitizer.flags)))
        link(tree, folder / "fiducial")
        for path in beside:
            copy(path, folder / path.name)
        compile_all(sanitizer, folder, [*(folder / path.name for path in beside), *folder.glob("fiducial/fastpath/*.pyx")])
    return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else builds in the folder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def begin(folder: Path, command: str) -> None:
    """What was built by another command is of no use."""
    told = folder / "command"
    if not told.exists() or told.read_text(encoding="utf-8") != command:
        shutil.rmtree(folder / "fiducial", ignore_errors=True)
        told.write_text(command, encoding="utf-8")


def link(tree: Path, package: Path) -> None:
    """The package: what is compiled as copies, that keep their time while they are the same; all else as links."""
    rooms = package / "fastpath"
    rooms.mkdir(parents=True, exist_ok=True)
    for path in (tree / "src" / "fiducial").iterdir():
        if path.name not in ("__pycache__", "fastpath"):
            relink(package / path.name, path)
    for path in (tree / "fastpath").iterdir():
        if path.suffix in SOURCES:
            copy(path, rooms / path.name)
        elif path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__"):
            relink(rooms / path.name, path)
    for path in rooms.iterdir():
        if path.suffix in (*SOURCES, ".py") and not (tree / "fastpath" / path.name).exists():
            path.unlink()


def relink(link: Path, path: Path) -> None:
    """A link to what is really there."""
    link.unlink(missing_ok=True)
    link.symlink_to(path.resolve())


def copy(path: Path, to: Path) -> None:
    """The same bytes; not touched if it has them."""
    if not to.exists() or to.read_bytes() != path.read_bytes():
        shutil.copyfile(path, to)


def compile_all(sanitizer: Sanitizer, folder: Path, sources: Sequence[Path]) -> None:
    """Cython and the compiler, for what is older than what it is made from."""
    cython = [sys.executable, "-m", "Cython.Build.Cythonize", "-3", "-q", f"--parallel={os.cpu_count()}"]
    carry_out([*cython, *sorted(str(path.relative_to(folder)) for path in sources)], folder)
    headers_ns = max(path.stat().st_mtime_ns for path in folder.glob("fiducial/fastpath/*.h"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda path: compile_one(sanitizer, path.with_suffix(".cpp"), headers_ns), sources))


def compile_one(sanitizer: Sanitizer, source: Path, headers_ns: int) -> None:
    """One extension module, if it is older than what it is made from."""
    module = source.with_suffix(MODULE_SUFFIX)
    if module.exists() and module.stat().st_mtime_ns > max(source.stat().st_mtime_ns, headers_ns):
        return
    flags = (*FLAGS, *sanitizer.flags, "-fPIC", "-shared", f"-I{PYTHON_HEADERS}")
    carry_out([sanitizer.compiler, *flags, source.name, "-o", f"{module.name}.new"], source.parent)
    Path(f"{module}.new").rename(module)


def carry_out(command: Sequence[str], folder: Path) -> None:
    """Run it there; RuntimeError with what it says if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
