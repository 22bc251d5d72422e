"""Builds what is compiled: the fast path, C++ by Cython. All else stands in pyproject.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

FOLDER = Path("src/fiducial/fastpath")
JOBS = os.cpu_count() or 1
#: What only Linux has: the I/O threads, by epoll.
LINUX = {"connections", "epoll", "flusher", "front", "mail", "sending", "workers"}
ROOMS = [path for path in sorted(FOLDER.glob("*.pyx")) if sys.platform == "linux" or path.stem not in LINUX]


def extension(path: Path) -> Extension:
    """One room of the fast path. Wrapping is what arithmetic on offsets and sequences may rely on; the processor is asked at run time."""
    depends = [str(one) for one in (*FOLDER.glob("*.pxd"), *FOLDER.glob("*.h"))]
    return Extension(f"fiducial.fastpath.{path.stem}", [str(path)], language="c++", extra_compile_args=["-O3", "-std=c++17", "-fwrapv"], depends=depends)


setup(
    ext_modules=cythonize([extension(path) for path in ROOMS], language_level=3, nthreads=JOBS),
    options={"build_ext": {"parallel": JOBS}},
)
