"""What is reported of a run, in three ways that agree; and what the command line makes of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Address

from conform.brokers import HANG_UP, Broker, Tamper, honest, serving, without_api
from fiducial.cli import main
from fiducial.conformance import reports, suite
from fiducial.conformance.abstraction import Difference
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.client import Transcript
from fiducial.conformance.reports import Text, exit_status, junit
from fiducial.conformance.running import Finding, Judge, Result, Telling
from fiducial.models import messages as m
from fiducial.models import specification
from fiducial.models.values import changed

RULES = specification.rules()
CASE = suite.every()["LOG-BATCH-9/wrong-checksum"]
SHOULD = changed(CASE, id="LOG-BATCH-25/bomb", rules=("LOG-BATCH-25",))
WRONG = Difference("responses[0].error_code", "CORRUPT_MESSAGE", "NONE")


def result(verdict: Verdict, case: Case = CASE, *, note: str = "") -> Result:
    """A result in two versions, good in the first."""
    transcript = Transcript()
    transcript.add(1, "sent", b"before", "Produce v8", m.ProduceRequest())
    transcript.add(1, "sent", bytes(range(70)), "Produce v9", m.ProduceRequest(acks=-1))
    transcript.add(1, "received", b"\x00\x01", "answer to Produce v9", "no answer")
    found = (WRONG,) if verdict in (Verdict.FAIL, Verdict.NONSTRICT, Verdict.INFO) else ()
    bad = Telling(9, Finding(verdict, note, found, 2, "Produce v9 {acks -1}"), transcript)
    return Result(case, [Telling(8), bad] if verdict is not Verdict.NOT_APPLICABLE else [bad], 0.25)


PASSED, FAILED = result(Verdict.PASS), result(Verdict.FAIL)


@pytest.mark.parametrize(
    ("results", "is_strict", "status"),
    [
        ([PASSED, result(Verdict.NONSTRICT), result(Verdict.INFO), result(Verdict.NOT_APPLICABLE)], True, 0),
        ([PASSED, FAILED], False, 1),
        ([FAILED, result(Verdict.FAIL, SHOULD)], True, 1),
        ([PASSED, result(Verdict.INCONCLUSIVE)], False, 1),
        ([PASSED, result(Verdict.SUITE_ERROR)], False, 1),
        ([result(Verdict.NOT_APPLICABLE), result(Verdict.UNSUPPORTED_SETUP)], False, 2),
        ([PASSED, result(Verdict.FAIL, SHOULD)], False, 0),
        ([PASSED, result(Verdict.FAIL, SHOULD)], True, 4),
    ],
)
def test_the_exit_status_says_whether_every_must_held(results: list[Result], is_strict: bool, status: int) -> None:
    assert exit_status(results, RULES, is_strict=is_strict) == status


def test_a_failure_is_told_with_its_rule_its_story_and_what_was_said_last() -> None:
    lines = list(Text(RULES, is_coloured=False).failure(FAILED))
    said = "\n".join(lines)
    assert lines[0] == "fail  LOG-BATCH-9/wrong-checksum  (Produce v9)"
    assert lines[1].strip() == "LOG-BATCH-9 · A wrong checksum is refused (MUST, spec/log.md)"
    assert RULES["LOG-BATCH-9"].claim.split()[-1] in said
    assert "  1. Produce {acks -1" in said and "► 2. Produce v9 {acks -1}" in said
    assert "at responses[0].error_code:\n        expected CORRUPT_MESSAGE\n        got      NONE" in said
    assert "#1 → Produce v9: acks -1" in said and "#1 ← answer to Produce v9: no answer" in said
    assert "00010203 04050607" in said and "… (70 bytes)" in said and "Produce v8" not in said


def test_the_report_has_the_worst_last_and_how_many_of_each() -> None:
    told = [replace(one, ended_s=ended_s) for one, ended_s in zip((FAILED, PASSED, result(Verdict.NONSTRICT), result(Verdict.SUITE_ERROR, note="oh")), (5.0, 5.5, 5.2, 5.75), strict=True)]
    lines = list(Text(RULES, is_coloured=False).report(told))
    heads = [line.split()[0] for line in lines if re.match(r"[a-z]", line)]
    assert heads == ["nonstrict", "suite-error", "fail"]
    assert lines[-1] == "4 cases in 1.0 s: 1 pass, 1 nonstrict, 1 fail, 1 suite-error; broken: LOG-BATCH-9"
    assert "    error_code: NONE where CORRUPT_MESSAGE is expected" in lines


def test_colours_are_for_who_wants_them() -> None:
    assert "\x1b[31mfail\x1b[0m" in Text(RULES, is_coloured=True).heading(FAILED)
    assert "\x1b" not in "".join(Text(RULES, is_coloured=False).report([FAILED]))


def test_versions_that_follow_one_another_are_a_range() -> None:
    def told(*versions: int) -> str:
        return reports.in_versions(Result(CASE, [Telling(version, Finding(Verdict.FAIL)) for version in versions]))

    assert (told(7), told(7, 9), told(7, 8, 9)) == ("Produce v7", "Produce v7, v9", "Produce v7 to v9")
    assert reports.in_versions(PASSED) == ""


def test_junit_counts_as_the_exit_status_does_and_holds_no_forbidden_character() -> None:
    results = [PASSED, FAILED, result(Verdict.SUITE_ERROR, note="a\x00b"), result(Verdict.NOT_APPLICABLE, note="why"), result(Verdict.FAIL, SHOULD), result(Verdict.NONSTRICT)]
    (tests,) = ElementTree.fromstring(junit(results, RULES, "host:1", is_strict=False))
    assert {name: tests.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {"tests": "6", "failures": "1", "errors": "1", "skipped": "2"}
    assert [[kind.tag for kind in one] for one in tests] == [[], ["failure"], ["error"], ["skipped"], ["skipped"], ["system-out"]]
    assert tests[2][0].attrib == {"message": "a\ufffdb", "type": "suite-error"}
    assert tests[1].attrib == {"classname": "LOG-BATCH-9", "name": "LOG-BATCH-9/wrong-checksum", "time": "0.250"}
    (strict,) = ElementTree.fromstring(junit(results, RULES, "host:1", is_strict=True))
    assert strict.attrib["failures"] == "2"


#: What the schema that CI servers go by (the xunit plugin's junit-10.xsd) says of the elements that are written: attributes, those that must be, children.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), set(), {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, {"name", "tests", "failures", "errors"}, {"testcase"}),
    "testcase": ({"name", "time", "classname"}, {"name"}, {"failure", "error", "skipped", "system-out"}),
    **dict.fromkeys(("failure", "error", "skipped"), ({"type", "message"}, set(), set())),
    "system-out": (set(), set(), set()),
}


def test_junit_is_of_the_schema_that_servers_go_by() -> None:
    root = ElementTree.fromstring(junit([PASSED, *(result(verdict) for verdict in Verdict)], RULES, "host:1", is_strict=True))
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, needed, children = SCHEMA[element.tag]
        assert needed <= element.attrib.keys() <= attributes and {child.tag for child in element} <= children
        assert re.fullmatch(r"[0-9]+\.[0-9]{3}", element.attrib.get("time", "0.000"))


# The command line


def run(*arguments: str, tamper: Tamper = honest) -> tuple[int, Broker]:
    """`fiducial conform` at a broker in this process; its exit status."""
    with serving(tamper) as broker:
        return main(["conform", f"{broker.host}:{broker.port}", *arguments]), broker


def takes_anything(api_key: int, version: int, message: Any) -> Any:
    """Says that nothing was wrong with a batch."""
    if api_key != 0:
        return message
    topics = [changed(topic, partition_responses=tuple(changed(one, error_code=0) for one in topic.partition_responses)) for topic in message.responses]
    return changed(message, responses=tuple(topics))


def test_a_broker_is_judged_and_nothing_but_the_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    status, broker = run("--rule", "LOG-BATCH-9", "--rule", "IDEM-EPOCH-*", "--seed", "3")
    said = capsys.readouterr()
    assert status == 0 and said.err == ""
    assert re.fullmatch(r"6 cases in [0-9.]+ s: 6 pass\n", said.out)
    assert broker.topics == set()


def test_a_must_that_fails_is_told_everywhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "conform.xml"
    status, _ = run("--rule", "LOG-BATCH-9", "--junit", str(file), tamper=takes_anything)
    assert status == 1
    assert "fail  LOG-BATCH-9/wrong-checksum  (Produce v3 to v13)" in capsys.readouterr().out
    assert ElementTree.parse(file).getroot()[0].attrib["failures"] == "1"


def test_json_is_one_value_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = run("--rule", "LOG-BATCH-9", "--rule", "LOG-PRODUCE-11/no-timeout", "-o", "json", tamper=takes_anything)
    head, passed, failed, foot = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert head["cases"] == 2
    assert (passed["case"], passed["verdict"], passed["versions"]) == ("LOG-PRODUCE-11/no-timeout", "pass", list(range(3, 14)))
    assert (failed["verdict"], failed["level"], failed["rules"], failed["step"]) == ("fail", "MUST", ["LOG-BATCH-9"], 2)
    assert failed["differences"][0]["expected"] == "CORRUPT_MESSAGE"
    assert any(entry["told"].startswith("answer to Produce v3: ") and entry["bytes"] for entry in failed["transcript"])
    assert foot == {"verdicts": {"pass": 1, "fail": 1}, "exit_status": status} and status == 1


def test_a_broker_that_is_gone_or_never_was_there_is_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rule", "LOG-BATCH-9", tamper=lambda *_: HANG_UP)[0] == 3
    assert "does not answer ApiVersions" in capsys.readouterr().err
    asked: list[int] = []

    def dies(api_key: int, version: int, message: Any) -> Any:
        asked.append(api_key)
        return HANG_UP if asked.count(0) > 2 else message

    assert run("--rule", "LOG-BATCH-*", tamper=dies)[0] == 3
    said = capsys.readouterr()
    assert re.search(r"does not answer any more; [0-9]+ cases were not told", said.err)
    assert "fail  " in said.out or "inconclusive" in said.out


def test_an_interrupted_run_ends_without_a_traceback_and_leaves_no_topic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Judge, "tell", interrupted)
    status, broker = run("--rule", "LOG-BATCH-9")
    assert status == 130 and capsys.readouterr().err == "\nfiducial conform: interrupted\n"
    assert broker.topics == set()


def test_a_run_that_judged_nothing_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rule", "LOG-BATCH-9", tamper=without_api(0))[0] == 2
    assert "nothing was judged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "HOST:PORT"),
        (["localhost"], "HOST:PORT"),
        (["localhost:0"], "HOST:PORT"),
        (["localhost:9092", "--rule", "NO-SUCH-*"], "no case"),
        (["localhost:9092", "--api", "NoSuchApi"], "no case"),
        (["localhost:9092", "--junit", "/no/such/folder/x.xml"], "/no/such/folder/x.xml"),
    ],
)
def test_what_cannot_be_judged_is_refused_at_the_start(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", *arguments]) == 2
    said = capsys.readouterr()
    assert complaint in said.err and said.err.count("\n") == 1 and not said.out


def listed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What --list lists."""
    assert main(["conform", "--list", "-o", "json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_cases_are_chosen_by_rule_api_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    every = listed(capsys=capsys)
    assert [one["case"] for one in every] == list(suite.every())
    assert {one["case"] for one in listed("--rule", "LOG-BATCH-22", capsys=capsys)} == {one["case"] for one in every if "LOG-BATCH-22" in one["rules"]}
    assert [one["case"] for one in listed("--rule", "IDEM-ID-4/*", capsys=capsys)] == ["IDEM-ID-4/empty"]
    assert {one["case"] for one in listed("--api", "describeproducers", capsys=capsys)} == {one["case"] for one in every if "DescribeProducers" in one["apis"]}
    assert [one["level"] for one in every if one["case"] == "LOG-BATCH-3/null"] == ["INFO"]
    assert len(listed("--level", "MAY", capsys=capsys)) == len(every)


def test_a_seed_is_an_order(capsys: pytest.CaptureFixture[str]) -> None:
    one, again, other = (listed("--seed", seed, capsys=capsys) for seed in ("1", "1", "2"))
    assert one == again != other and sorted(map(str, one)) == sorted(map(str, other))


def test_the_list_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--list", "--rule", "IDEM-ID-4"]) == 0
    assert re.fullmatch(r"IDEM-ID-4/empty +MUST +An empty transactional id is refused \[InitProducerId\]\n", capsys.readouterr().out)


def test_the_reference_broker_is_judged_as_a_process(reference_broker: Address, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", reference_broker.bootstrap, "--rule", "LOG-PRODUCE-9"]) == 0
    assert "3 pass" in capsys.readouterr().out
