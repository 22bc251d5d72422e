"""The pytest plugin, as others use it: each test runs pytest in a folder of its own, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from conform.brokers import Tamper, honest, serving, without_api
from fiducial.cli.conform import selected
from fiducial.conformance import suite
from fiducial.models import specification
from fiducial.models.values import changed

ROOT = Path(__file__).parents[2]
USAGE_ERROR = 4
PRODUCE = 0


def run(folder: Path, *options: str, **files: str) -> tuple[int, str]:
    """The exit status of pytest on these files, and what it printed."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--strict-markers", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def conform(folder: Path, tamper: Tamper, *options: str, **files: str) -> tuple[int, str]:
    """The same, where a broker is judged."""
    with serving(tamper) as broker:
        return run(folder, "--conform", f"{broker.host}:{broker.port}", *options, **files)


def in_short(printed: str) -> dict[str, str]:
    """What came of each case, by its id."""
    found = re.findall(r"^([A-Z]+) +(?:\[1\] )?(?:conform::)?([A-Z]+-[A-Z]+-\d+/\S+|conform::\S+)", printed, re.MULTILINE)
    return {case: outcome for outcome, case in found}


# The fixture


def test_the_example_in_the_readme_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# test_.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    status, printed = run(tmp_path, test_greetings=example)
    assert status == 0 and "1 passed" in printed, printed


PARTITIONS = """
from confluent_kafka.admin import AdminClient, NewTopic

def test_a_topic_has_so_many_partitions(fiducial_broker):
    admin = AdminClient({"bootstrap.servers": fiducial_broker.bootstrap})
    admin.create_topics([NewTopic("a", num_partitions=-1)])["a"].result()
    assert len(admin.list_topics("a", 10).topics["a"].partitions) == 3
"""


def test_the_brokers_settings_stand_in_the_ini_file(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfiducial_settings =\n    num.partitions=3\n    log.retention.hours=1\n")
    status, printed = run(tmp_path, test_partitions=PARTITIONS)
    assert status == 0, printed


def test_a_setting_that_is_none_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfiducial_settings = nonsense=3\n")
    status, printed = run(tmp_path, test_partitions=PARTITIONS)
    assert status == 1 and "the broker did not start: fiducial serve: " in printed and "nonsense" in printed, printed


# The cases


def test_each_case_is_a_test_by_its_id_beside_the_users_own(tmp_path: Path) -> None:
    rules = ["--conform-rule", "LOG-PRODUCE-1", "--conform-rule", "LOG-BATCH-9"]
    own = "def test_of_the_users_own():\n    pass\n"
    status, printed = conform(tmp_path, honest, *rules, test_own=own)
    ids = ["LOG-PRODUCE-1/acks-2", "LOG-PRODUCE-1/negative-acks", "LOG-PRODUCE-1/most-acks", "LOG-BATCH-9/wrong-checksum"]
    assert status == 0 and in_short(printed) == dict.fromkeys(ids, "PASSED") and "5 passed" in printed, printed
    _, printed = conform(tmp_path, honest, *rules, "-m", "conform", "-k", "most-acks or own")
    assert in_short(printed) == {"LOG-PRODUCE-1/most-acks": "PASSED"} and "1 passed, 4 deselected" in printed, printed


def chosen(**how: Any) -> set[str]:
    """The cases that the command line would choose."""
    wanted = Namespace(**{"rule": ["LOG-*"], "level": "MUST", "api": "fetch", "seed": None} | how)
    return {case.id for case in selected(list(suite.every().values()), specification.rules(), wanted)}


def test_cases_are_chosen_as_on_the_command_line(tmp_path: Path) -> None:
    assert chosen() not in (chosen(rule=[]), chosen(level=None), chosen(api=None)), "each choice matters"
    choice = ["--conform-rule", "LOG-*", "--conform-level", "MUST", "--conform-api", "fetch", "--collect-only", "-q"]
    status, printed = conform(tmp_path, honest, *choice)
    assert status == 0 and set(re.findall("^conform::(.+)$", printed, re.MULTILINE)) == chosen(), printed
    status, printed = conform(tmp_path, honest, "--conform-rule", "LOG-NONE-1")
    assert status == USAGE_ERROR and "ERROR: --conform: no case is of these rules" in printed, printed


def adds_one(api_key: int, _version: int, message: Any) -> Any:
    """A broker that answers with the offset behind the one that it means."""
    if api_key != PRODUCE:
        return message
    (topic,) = message.responses
    (part,) = topic.partition_responses
    return changed(message, responses=(changed(topic, partition_responses=(changed(part, base_offset=part.base_offset + 1),)),))


def test_a_case_that_fails_says_what_the_command_line_would(tmp_path: Path) -> None:
    status, printed = conform(tmp_path, adds_one, "--conform-rule", "LOG-APPEND-1/offsets")
    assert status == 1 and in_short(printed) == {"LOG-APPEND-1/offsets": "FAILED"}, printed
    for line in ("LOG-APPEND-1 · ", "at responses[0].partition_responses[0].base_offset:", "expected 0", "got      1", "what was said last"):
        assert line in printed
    assert "pytest_plugin.py" not in printed


def test_what_the_broker_does_not_serve_is_skipped_with_the_reason(tmp_path: Path) -> None:
    status, printed = conform(tmp_path, without_api(21), "--conform-rule", "IDEM-EXPIRE-2")
    assert status == 0 and "1 skipped" in printed and "not-applicable: DeleteRecords not advertised" in printed, printed


#: Whatever is judged comes out as its case is called here.
ARRANGED = """
from fiducial.conformance.cases import Verdict
from fiducial.conformance.running import Finding, Judge, Result, Telling

OUTCOMES = {{{outcomes}}}

def judge(self, case):
    return Result(case, [Telling(None, Finding(Verdict(OUTCOMES[case.id]), "so it was arranged"))])

Judge.judge = judge
"""
#: All but the last are of rules that are a MUST.
OUTCOMES = {
    "LOG-PRODUCE-1/acks-2": ("pass", "PASSED"),
    "LOG-PRODUCE-1/negative-acks": ("fail", "FAILED"),
    "LOG-PRODUCE-1/most-acks": ("nonstrict", "XFAIL"),
    "LOG-BATCH-10/count-0": ("info", "XFAIL"),
    "LOG-BATCH-10/count-one-more": ("inconclusive", "ERROR"),
    "LOG-BATCH-10/negative-count": ("suite-error", "ERROR"),
    "{should}": ("fail", "XFAIL"),
}
UNTOLD = {"LOG-BATCH-5/magic-0": "not-applicable", "LOG-BATCH-5/magic-1": "unsupported-setup"}


def a_should() -> str:
    """A case of a rule that is a SHOULD."""
    rules = specification.rules()
    return next(case.id for case in suite.every().values() if rules[case.rule].level.value == "SHOULD" and not case.is_info)


def test_every_verdict_has_its_outcome(tmp_path: Path) -> None:
    wanted = {case.format(should=a_should()): both for case, both in OUTCOMES.items()}
    arranged = {case: verdict for case, (verdict, _) in wanted.items()} | UNTOLD
    conftest = ARRANGED.format(outcomes=", ".join(f"{case!r}: {verdict!r}" for case, verdict in arranged.items()))
    rules = [option for case in arranged for option in ("--conform-rule", case)]
    status, printed = conform(tmp_path, honest, *rules, conftest=conftest)
    assert status == 1 and in_short(printed) == {case: outcome for case, (_, outcome) in wanted.items()}, printed
    assert "1 failed, 1 passed, 2 skipped, 3 xfailed, 2 errors" in printed
    assert all(f"{verdict}: so it was arranged" in printed for verdict in ("nonstrict", "info", *UNTOLD.values()))
    _, printed = conform(tmp_path, honest, *rules, "--conform-strict", conftest=conftest)
    assert in_short(printed)[a_should()] == "FAILED", printed


def test_a_broker_that_cannot_be_reached_is_a_usage_error(tmp_path: Path) -> None:
    status, printed = run(tmp_path, "--conform", "127.0.0.1:1")
    assert status == USAGE_ERROR and "ERROR: --conform: 127.0.0.1:1 cannot be reached: Connection refused" in printed, printed
    status, printed = run(tmp_path, "--conform", "somewhere")
    assert status == USAGE_ERROR and "ERROR: --conform: which broker? HOST:PORT, not 'somewhere'" in printed, printed


def test_with_a_broker_that_is_gone_the_run_ends(tmp_path: Path) -> None:
    gone = ARRANGED.format(outcomes="").replace("OUTCOMES[case.id]", '"inconclusive"') + "\nfrom fiducial.conformance.target import Target\nTarget.is_lively = lambda self: False\n"
    status, printed = conform(tmp_path, honest, "--conform-rule", "LOG-PRODUCE-1", conftest=gone)
    assert status == 1 and "does not answer any more" in printed and len(in_short(printed)) == 1, printed


# Where neither is used

UNUSED = """
import sys

def test_nothing_of_ours_is_imported(pytestconfig):
    assert {name for name in sys.modules if name.startswith("fiducial")} == {"fiducial", "fiducial.pytest_plugin"}
    assert not [line for line in pytestconfig.getini("markers") if "conform" in line]
"""


def test_where_it_is_not_used_it_costs_nothing_and_registers_no_mark(tmp_path: Path) -> None:
    status, printed = run(tmp_path, test_unused=UNUSED)
    assert status == 0, printed


def test_pytest_finds_it_in_the_wheel() -> None:
    found = {one.name: one.value for one in importlib.metadata.entry_points(group="pytest11")}
    assert found["fiducial"] == "fiducial.pytest_plugin"

