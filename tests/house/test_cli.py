"""The command line: settings, errors, starting and stopping, and that nothing is imported before it is needed."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from fiducial.cli import main, properties, verify
from fiducial.cli.cluster import Cluster
from fiducial.cli.verify import FAILED, NOT_RUN, PASSED, Result, is_accepted, table
from fiducial.models import specification
from fiducial.models.messages import DescribeLogDirsRequest

ROOT = Path(__file__).parents[2]
FIDUCIAL = [sys.executable, "-m", "fiducial"]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=1\nb = 2\nc:3\nd 4\ne", {"a": "1", "b": "2", "c": "3", "d": "4", "e": ""}),
        ("# comment\n  ! comment\n\n a=1", {"a": "1"}),
        ("a=1,\\\n   2,\\\r\n   3\nb=4", {"a": "1,2,3", "b": "4"}),
        ("a=1\\\\\nb=2\\", {"a": "1\\", "b": "2"}),
        ("a=1\\\n# no comment\nb=2", {"a": "1# no comment", "b": "2"}),
        ("with\\=equals=x=y\nwith\\ blank:\\u0041\\t.", {"with=equals": "x=y", "with blank": "A\t."}),
        ("a==1\na=2", {"a": "2"}),
    ],
)
def test_properties_are_read_as_java_reads_them(text: str, pairs: dict[str, str]) -> None:
    assert properties.parse(text) == pairs


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--set", "no.such.setting=1"], "no.such.setting"),
        (["--set", "num.partitions=many"], "num.partitions"),
        (["--set", "num.partitions=0"], "num.partitions"),
        (["--set", "num.network.threads=0"], "num.network.threads"),
        (["--set", "num.partitions"], "NAME=VALUE"),
        (["--listen", "9092"], "HOST:PORT"),
        (["--listen", "localhost:70000"], "HOST:PORT"),
        (["--reference", "--data", "/tmp/data"], "memory"),
        (["--data", ""], "--data takes a folder"),
        (["--listen", "*:0"], "who listens at 0.0.0.0 has to say where clients find it"),
        (["--listen", "0:0"], "who listens at 0.0.0.0 has to say where clients find it"),
        (["--reference", "--listen", "0:0"], "who listens at 0.0.0.0 has to say where clients find it"),
        (["--set", "log.dirs=/x", "--set", "num.io.threads=8"], "there are no settings 'log.dirs' (it is --data), 'num.io.threads'"),
        (["--listen", "SSL://127.0.0.1:0", "--set", f"ssl.keystore.location={__file__}"], "there are not a private key and the certificates of it in it"),
        (["--reference", "--driver", "epoll"], "--driver"),
        (["--config", "/no/such/file"], "/no/such/file"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1 and not said.out


def test_the_command_line_wins_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "server.properties"
    file.write_text("num.partitions=0\n")
    assert main(["serve", "--config", str(file), "--set", "num.partitions=zero"]) == 2
    assert "'zero'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_broker_says_where_it_listens_and_stops_when_told(number: signal.Signals) -> None:
    command = [*FIDUCIAL, "serve", "--reference", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        assert address.startswith("127.0.0.1:") and not address.endswith(":0")
        assert address in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()


def test_ctrl_c_while_a_command_is_at_work_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fiducial.fastpath.server.run", interrupted)
    assert main(["serve"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [["explain", "WIRE-FRAME-1"], ["conform", "--list"]], ids=" ".join)
def test_who_reads_no_more_is_told_nothing(command: list[str]) -> None:
    with subprocess.Popen([*FIDUCIAL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # long before anything is printed
        assert (process.stderr.read(), process.wait(30)) == ("", 0)


def test_a_broker_can_be_started_in_its_own_folder(tmp_path: Path) -> None:
    with subprocess.Popen([*FIDUCIAL, "serve", "--listen", "127.0.0.1:0", "--data", "."], stdout=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        try:
            assert process.stdout is not None
            with Cluster(process.stdout.readline().removeprefix("listening on ").strip()) as cluster:
                (told,) = cluster.node(1).ask(DescribeLogDirsRequest(None)).results
            assert told.log_dir == str(tmp_path)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_what_is_no_folder_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"fiducial: {tmp_path / 'file'} is no folder\n"


def test_a_taken_port_is_a_clear_error() -> None:
    command = [*FIDUCIAL, "serve", "--listen", "203.0.113.1:9092"]  # an address that no machine has
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 1
    assert "cannot listen on 203.0.113.1:9092" in done.stderr and "Traceback" not in done.stderr


def imported_by(code: str) -> set[str]:
    """The top-level modules in a new interpreter after `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert capsys.readouterr().out == f"fiducial {project['version']}\n"


def test_help_imports_no_dependency() -> None:
    assert not {"attrs", "immutables", "kio", "asyncio"} & imported_by("import fiducial.cli; fiducial.cli.parser()")


def test_serving_imports_no_test_tool() -> None:
    tools = {"hypothesis", "z3", "crosshair", "pytest", "grimp", "mypy"}
    assert not tools & imported_by("import fiducial.cli.serve, fiducial.reference.server, fiducial.fastpath.server")


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: only Linux has I/O threads")
def test_who_serves_plain_clients_needs_neither_asyncio_nor_openssl_nor_codecs() -> None:
    large = {"asyncio", "ssl", "_ssl", "_hashlib", "cramjam"}
    assert not large & imported_by("import fiducial.cli.serve, fiducial.fastpath.server, fiducial.fastpath.loop")


def test_verify_names_the_tools_that_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_z3(name: str) -> ModuleSpec | None:
        return None if name == "z3" else importlib.util.find_spec(name)

    monkeypatch.setattr(verify, "find_spec", without_z3)
    assert main(["verify"]) == 2
    assert "z3 not installed: pip install" in capsys.readouterr().err


def test_the_table_is_plain_where_nobody_looks() -> None:
    lines = table([Result("lint", PASSED, 1.25), Result("referee", NOT_RUN, 0, "no java")]).splitlines()
    assert lines[1:] == ["lint      passed       1.2", "referee   NOT RUN      0.0  no java"]


def test_what_did_not_run_fails_where_everything_was_promised_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert is_accepted(Result("referee", NOT_RUN, 0))
    assert not is_accepted(Result("referee", FAILED, 0))
    monkeypatch.setenv("CI", "true")
    assert not is_accepted(Result("referee", NOT_RUN, 0))


def explained(what: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", what]) == 0
    return capsys.readouterr().out


def test_a_rule_is_explained_with_all_that_hangs_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = explained("log-batch-9", capsys)
    assert said.startswith("LOG-BATCH-9 · A wrong checksum is refused\n")
    for part in ("MUST, since Kafka 0.11 (KIP-98); answers CORRUPT_MESSAGE (2)", "seen on Apache Kafka 4.3.1", "Why: "):
        assert part in said
    assert "checksum_is_wrong (models/log.py:" in said and "models/test_log.py::test_a_faulty_batch_is_refused" in said
    above, _, below = said.partition("► 3  LOG-BATCH-9")
    assert "LOG-BATCH-8 " in above and "LOG-BATCH-10 " in below


def test_an_error_is_explained_by_the_rules_that_answer_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = explained("OUT_OF_ORDER_SEQUENCE_NUMBER", capsys)
    assert said == explained("45", capsys)
    assert [line.split()[0] for line in said.splitlines() if line.startswith("  IDEM-")] == ["IDEM-EPOCH-2", "IDEM-SEQ-2"]
    assert "may succeed when it is tried again" in explained("CORRUPT_MESSAGE", capsys)
    assert "No rule answers it yet" in explained("SASL_AUTHENTICATION_FAILED", capsys)


def test_what_is_neither_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "IDEM-SEQ"]) == 2
    assert "neither a rule nor an error; perhaps IDEM-SEQ-1, IDEM-SEQ-2" in capsys.readouterr().err


def test_every_rule_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in specification.rules():
        assert explained(rule, capsys).startswith(f"{rule} · ")
