"""The wheel: one package with everything that serving and explaining need, and nothing of the tests."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_import_name_holds_the_folders_by_relative_links() -> None:
    links = [path for path in (ROOT / "src/fiducial").iterdir() if path.is_symlink()]
    assert {"models", "reference", "spec"} <= {link.name for link in links}
    for link in links:
        assert not link.readlink().is_absolute()
        assert (ROOT / link.name).is_dir() or (ROOT / "tests" / link.name).is_dir()


def test_the_specification_is_readable_beside_the_code() -> None:
    assert resources.files("fiducial").joinpath("spec").is_dir()


def test_serving_requires_no_test_tool() -> None:
    always = [one for one in importlib.metadata.requires("fiducial") or [] if "extra ==" not in one]
    names = sorted(one.partition(">")[0].partition("=")[0] for one in always)
    assert names == ["attrs", "cramjam", "crc32c", "immutables", "kio"]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_extra_for_judging_is_what_the_suite_imports_and_nothing_else() -> None:
    judging, always = PROJECT["project"]["optional-dependencies"]["conform"], PROJECT["project"]["dependencies"]
    contracts = [one for one in PROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "only"]
    allowed = {name for one in contracts if one["source_modules"][0] in ("fiducial.conformance", "fiducial.models") for name in one["allowed"]}
    assert {one.partition(">")[0] for one in judging} == allowed
    assert set(judging) <= set(always), "the same in the same versions"


JUDGE = """\
import sys
for name in ("cython", "kio", "setuptools", "fiducial.fastpath", "fiducial.reference"):
    sys.modules[name] = None
from fiducial.cli import main
sys.exit(main(["conform", "--list"]))
"""


def test_judging_needs_no_server_and_no_build() -> None:
    listed = subprocess.run([sys.executable, "-c", JUDGE], capture_output=True, text=True, check=True, timeout=60)
    assert "LOG-BATCH-9/wrong-checksum" in listed.stdout and "WIRE-FRAME-1/none" in listed.stdout


def test_the_wheel_holds_one_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignore)
    (source / "spec/sample.md").write_text("# A page of the specification\n")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True, timeout=900)  # it compiles
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        told = archive.read("fiducial-0.1.0.dist-info/METADATA").decode()
    assert all(f"Requires-Dist: {one}; extra == \"conform\"\n" in told for one in PROJECT["project"]["optional-dependencies"]["conform"])
    assert {name.partition("/")[0] for name in names} == {"fiducial", "fiducial-0.1.0.dist-info"}
    assert {path.stem for path in (source / "fastpath").glob("*.pyx")} == {
        Path(name).name.partition(".")[0] for name in names if name.startswith("fiducial/fastpath/") and name.endswith(".so")
    }
    for folder, pattern in (("models", "**/*.py"), ("reference", "*.py"), ("fastpath", "*.py"), ("spec", "*.md"), ("spec", "coverage.json")):
        expected = {f"fiducial/{path.relative_to(source)}" for path in (source / folder).glob(pattern)}
        assert expected <= names
    judge = source / "tests/conformance"
    assert {f"fiducial/conformance/{path.relative_to(judge)}" for path in judge.glob("**/*.py")} <= names
    assert not [name for name in names if "__pycache__" in name or "/test" in name]
