"""For tests with pytest: the fixture `fiducial_broker`, and `--conform HOST:PORT`, which makes each case of `fiducial conform` a test.

pytest finds this by the entry point of the wheel. It imports nothing of ours until one of the two is asked for.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fiducial.conformance.cases import Case
    from fiducial.conformance.reports import Text
    from fiducial.conformance.running import Judge, Result

STOP_TIMEOUT_S = 10


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `fiducial conform` takes, as far as it chooses cases; and the settings of the fixture's broker."""
    parser.addini("fiducial_settings", "settings of fiducial_broker, by Kafka's names: a line each, NAME=VALUE", "linelist", [])
    group = parser.getgroup("fiducial", "a broker, held against the rules of Kafka's protocol (fiducial)")
    group.addoption("--conform", metavar="HOST:PORT", help="judge this broker: each case of `fiducial conform` is a test, marked `conform`")
    group.addoption("--conform-rule", action="append", default=[], metavar="ID|GLOB", help="cases of these rules, or these cases; may be repeated")
    group.addoption("--conform-api", metavar="NAME", help="cases that ask this API, such as Produce")
    group.addoption("--conform-level", choices=("MUST", "SHOULD", "MAY"), help="cases of rules that bind at least so much")
    group.addoption("--conform-strict", action="store_true", help="a SHOULD that fails is a failure")
    group.addoption("--conform-allow-destructive", action="store_true", help="tell cases that others at this broker may notice, too")


# A broker of ours


@dataclass(frozen=True)
class Broker:
    """Where it listens."""

    host: str
    port: int

    @property
    def bootstrap(self) -> str:
        """HOST:PORT, as clients take it."""
        return f"{self.host}:{self.port}"


@pytest.fixture(scope="session")
def fiducial_broker(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker beside the tests, on a free port, its data in a temporary folder: one for all tests of the session."""
    folder = tmp_path_factory.mktemp("fiducial")
    settings = [option for line in pytestconfig.getini("fiducial_settings") for option in ("--set", line)]
    command = [sys.executable, "-m", "fiducial", "serve", "--listen", "127.0.0.1:0", "--data", str(folder / "data"), *settings]
    said = folder / "stderr"
    with said.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().removeprefix("listening on ").strip().rpartition(":")
            if not port:
                pytest.fail(f"the broker did not start: {said.read_text().strip()}", pytrace=False)
            yield Broker(host, int(port))
            process.send_signal(signal.SIGTERM)
            if process.wait(STOP_TIMEOUT_S):
                pytest.fail(f"the broker did not stop as it should: {said.read_text().strip()}", pytrace=False)
        finally:
            process.kill()


# Any broker, judged


def pytest_configure(config: pytest.Config) -> None:
    """The mark by which `-m` tells cases from tests, where there are any."""
    if config.getoption("conform"):
        config.addinivalue_line("markers", "conform: a case of `fiducial conform`")


@pytest.hookimpl(tryfirst=True)  # before -k, -m and whoever sorts
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The cases that are asked for come behind the tests."""
    if config.getoption("conform"):
        items += Cases.from_parent(session, name="conform", nodeid="conform").collect()


def pytest_collection_finish(session: pytest.Session) -> None:
    """What takes its time begins at once."""
    told = [item for item in session.items if isinstance(item, Told)]
    if told and not session.config.getoption("collectonly"):
        told[0].judge.begin(item.case for item in told)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing is left with the broker."""
    for item in session.items[-1:]:
        if isinstance(item, Told):
            item.judge.close()


class Cases(pytest.Collector):
    """The cases, and whom they are told to."""

    def collect(self) -> Iterable[pytest.Item]:
        """A test for each case that is asked for. UsageError if there is none, or if the broker is not there."""
        from fiducial.cli.arguments import Refused, address
        from fiducial.cli.conform import selected
        from fiducial.conformance import suite
        from fiducial.conformance.client import Unreachable
        from fiducial.conformance.reports import Text
        from fiducial.conformance.running import Judge
        from fiducial.conformance.target import SetupFailed, SetupRefused, Target
        from fiducial.models import specification

        rules = specification.rules()
        option = self.config.getoption
        wanted = Namespace(rule=option("conform_rule"), api=option("conform_api"), level=option("conform_level"), seed=None)
        try:
            cases = selected(list(suite.every().values()), rules, wanted)
            target = Target(*address(option("conform")))
            levels = {name: rule.level for name, rule in rules.items()}
            judge = Judge(target, levels, is_allowed_all=option("conform_allow_destructive"))
        except (Refused, Unreachable, SetupFailed, SetupRefused) as reason:
            raise pytest.UsageError(f"--conform: {reason}") from None
        text = Text(rules, is_coloured=False)
        return [Told.from_parent(self, name=case.id, case=case, judge=judge, text=text) for case in cases]


class Unjudged(Exception):
    """Nobody knows whether the rule holds."""


class Broken(Exception):
    """The rule does not hold."""


class Told(pytest.Item):
    """A case. It is told while it is set up: so one that could not be judged is an error, and one that fails a failure."""

    def __init__(self, *, case: Case, judge: Judge, text: Text, **how: Any) -> None:
        super().__init__(**how)
        self.case, self.judge, self.text = case, judge, text
        self.result: Result
        self.add_marker("conform")

    def setup(self) -> None:
        """Tell it."""
        from fiducial.conformance.cases import Verdict
        from fiducial.conformance.reports import UNKNOWN, UNTOLD

        self.result = self.judge.judge(self.case)
        if self.result.verdict in UNTOLD:
            pytest.skip(self.why())
        if self.result.verdict in UNKNOWN:
            if self.result.verdict is Verdict.INCONCLUSIVE and not self.judge.target.is_lively():
                self.session.shouldfail = f"{self.judge.target.host}:{self.judge.target.port} does not answer any more"
            raise Unjudged(self.at_length())

    def runtest(self) -> None:
        """What came of it: a peer that does otherwise, as it may, fails as expected."""
        from fiducial.conformance.cases import Verdict
        from fiducial.models.specification import Level

        if self.result.verdict in (Verdict.NONSTRICT, Verdict.INFO):
            pytest.xfail(self.why())
        if self.result.verdict is Verdict.FAIL:
            if self.text.rules[self.case.rule].level is not Level.MUST and not self.config.getoption("conform_strict"):
                pytest.xfail(f"no MUST: {self.why()}")
            raise Broken(self.at_length())

    def why(self) -> str:
        """The verdict, and its reason in a line."""
        from fiducial.conformance.reports import told_shortly

        finding = self.result.worst.finding
        return f"{self.result.verdict.value}: {finding.note or '; '.join(map(told_shortly, finding.differences[:1]))}"

    def at_length(self) -> str:
        """The report of `fiducial conform`."""
        return "\n".join(self.text.failure(self.result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report, and not where in this file it was raised."""
        return str(excinfo.value) if isinstance(excinfo.value, Unjudged | Broken) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """What it is called, with its own id, which is also what --conform-rule takes."""
        return self.path, None, self.case.id
