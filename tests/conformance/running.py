"""Telling a story to the oracle and to a broker, step by step, and comparing what they answer.

Every telling has topics of its own, under a name that nobody else has, and a connection of its own; nothing depends on what other cases did, or on
whether their topics could be removed.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any

from fiducial.conformance.abstraction import Abstraction, Difference, differences, wall_clock_ms
from fiducial.conformance.cases import SEVERITY, Case, Step, Topic, Verdict
from fiducial.conformance.client import (
    Answer,
    Broken,
    Closed,
    Connection,
    Deadline,
    Heard,
    Silence,
    Transcript,
    Unreachable,
)
from fiducial.conformance.oracle import KEYS, Expected, Oracle
from fiducial.conformance.symbols import View, spoken, words
from fiducial.conformance.target import SetupFailed, SetupRefused, Target
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.errors import Error
from fiducial.models.settings import Settings, parse
from fiducial.models.specification import Level
from fiducial.models.state import Cluster

THE_END, NOTHING = "the end of the connection", "nothing"


@dataclass(frozen=True)
class Finding:
    """What is to be said of a telling that did not simply pass, and of which step."""

    verdict: Verdict
    note: str = ""
    differences: tuple[Difference, ...] = ()
    step: int = 0  # counted from 1; 0: before the story began
    told: str = ""  # that step in words


@dataclass
class Telling:
    """One telling of a story in one version of the request that is swept, and what came of it."""

    version: int | None
    finding: Finding = Finding(Verdict.PASS)
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def verdict(self) -> Verdict:
        """What came of it."""
        return self.finding.verdict


@dataclass
class Result:
    """What came of a case: the worst of its tellings."""

    case: Case
    tellings: list[Telling]
    seconds: float = 0.0

    @property
    def worst(self) -> Telling:
        """The first of the tellings than which none is worse."""
        return max(self.tellings, key=lambda one: SEVERITY.index(one.verdict))

    @property
    def verdict(self) -> Verdict:
        """What came of it."""
        return self.worst.verdict

    @property
    def versions(self) -> list[int]:
        """The versions in which that came of it."""
        return [one.version for one in self.tellings if one.verdict is self.verdict and one.version is not None]


class Unexpected(Exception):
    """The oracle does not do what a story needs: the suite is wrong."""


class Judge:
    """Tells cases to one broker. Levels by rule, from the specification."""

    def __init__(self, target: Target, levels: dict[str, Level]) -> None:
        self.target = target
        self.levels = levels
        self.prefix = f"conform-{secrets.token_hex(4)}"
        self.settings = self.defaults()
        self.given: list[int] = []

    def defaults(self) -> Settings:
        """The settings that the oracle needs to have topics like the target's; ours, if no topic is to be had, for then no story is told."""
        name = f"{self.prefix}-probe"
        try:
            self.target.make_topics({name: Topic()})
        except SetupRefused:
            return parse({})
        try:
            return self.target.topic_defaults(name)
        finally:
            self.target.remove_topics([name])

    def producer_ids(self, count: int) -> list[int]:
        """Ids that were given to us; the same for every telling, since a partition of its own knows none of them."""
        self.given += [self.target.new_producer_id() for _ in range(count - len(self.given))]
        return self.given[:count]

    # A case

    def judge(self, case: Case) -> Result:
        """Tell it in every version that both know; whatever happens, there is a result."""
        begun = time.monotonic()
        try:
            tellings = self.tellings(case)
        except SetupRefused as reason:
            tellings = [untold(Verdict.UNSUPPORTED_SETUP, str(reason))]
        except (SetupFailed, Unreachable) as reason:
            tellings = [untold(Verdict.INCONCLUSIVE, str(reason))]
        except Exception as error:  # a fault of ours must not pass for one of theirs
            tellings = [untold(Verdict.SUITE_ERROR, f"{type(error).__name__}: {error}")]
        return Result(case, tellings, time.monotonic() - begun)

    def tellings(self, case: Case) -> list[Telling]:
        """One for each version of the request that is swept; one, if none is."""
        if missing := [APIS[key].name for key in sorted(case.api_keys) if not self.target.serves(key)]:
            return [untold(Verdict.NOT_APPLICABLE, f"{', '.join(missing)} not advertised")]
        if case.producers and not self.target.serves(KEYS[m.InitProducerIdRequest]):
            return [untold(Verdict.NOT_APPLICABLE, "InitProducerId not advertised")]
        versions = self.versions(case)
        names = [self.names(case, index) for index in range(len(versions))]
        wanted = {each[called]: topic for each in names for called, topic in case.topics if topic.partitions}
        ids = self.target.make_topics(wanted)
        try:
            return [self.tell(case, version, each, ids) for version, each in zip(versions, names, strict=True)]
        finally:
            self.target.remove_topics(wanted)

    def versions(self, case: Case) -> list[int | None]:
        """The versions to tell it in."""
        return [None] if case.sweep is None else list(self.target.versions[KEYS[case.sweep]])

    def names(self, case: Case, telling: int) -> dict[str, str]:
        """What the topics of a story are called in one telling."""
        slug = case.id.replace("/", ".").lower()
        return {called: f"{self.prefix}-{slug}-{telling}-{called}" for called, _ in case.topics}

    # A telling

    def tell(self, case: Case, version: int | None, names: dict[str, str], ids: dict[str, bytes]) -> Telling:
        """Tell the story once."""
        telling = Telling(version)
        begun_ms = wall_clock_ms()
        theirs = View(begun_ms, names, {called: ids[name] for called, name in names.items() if name in ids})
        ours = View(begun_ms, names)
        oracle = self.oracle(case, ours)
        theirs.producer_ids += self.producer_ids(case.producers)
        with Conversation(self.target, Deadline(case.deadline_s), telling.transcript) as conversation:
            for number, step in enumerate(case.story, 1):
                asked = self.version_of(case, step, version)
                now = wall_clock_ms()
                expected = oracle.ask(spoken(step.body, ours), asked, now=now, client_id=step.client_id, connection=step.connection)
                heard = conversation.ask(step, asked, spoken(step.body, theirs))
                remember(ours, expected.message)
                remember(theirs, heard.message if isinstance(heard, Answer) else None)
                if isinstance(heard, Silence) and not self.target.is_lively():
                    finding = Finding(Verdict.INCONCLUSIVE, f"no answer within {heard.waited_s:g} s, and none on another connection either")
                else:
                    finding = self.weighed(case, expected, abstract(expected, ours), abstract_heard(heard, theirs))
                if SEVERITY.index(finding.verdict) > SEVERITY.index(telling.verdict):
                    telling.finding = replace(finding, step=number, told=f"{APIS[step.api_key].name} v{asked} {words(step.body)}")
                if not goes_on(finding):
                    break
        return telling

    def oracle(self, case: Case, view: View) -> Oracle:
        """One with the topics and producers of a story, which its view then knows."""
        cluster = Cluster("fiducialfiducialfiduci", self.target.node_id, self.target.host, self.target.port)
        oracle = Oracle(cluster, self.settings, seed=1)
        now = wall_clock_ms()
        for called, topic in case.topics:
            if not topic.partitions:
                continue
            configs = tuple(m.CreatableTopicConfig(*one) for one in topic.config)
            wanted = m.CreatableTopic(view.names[called], topic.partitions, 1, (), configs)
            (made,) = oracle.ask(m.CreateTopicsRequest((wanted,)), APIS[19].max_version, now=now).message.topics
            if made.error_code != Error.NONE:
                raise Unexpected(f"the oracle does not make topic {called}: {made.error_message}")
            view.topic_ids[called] = made.topic_id
        for _ in range(case.producers):
            remember(view, oracle.ask(m.InitProducerIdRequest(None), APIS[22].max_version, now=now).message)
        return oracle

    def version_of(self, case: Case, step: Step, version: int | None) -> int:
        """The version that a step is asked in."""
        if step.version is not None:
            return step.version
        if version is not None and case.sweep is not None and step.api_key == KEYS[case.sweep]:
            return version
        return self.target.newest(step.api_key)

    def weighed(self, case: Case, expected: Expected, wanted: Any, got: Any) -> Finding:
        """What is to be said of one step."""
        found = tuple(differences(wanted, got))
        if not found:
            return Finding(Verdict.PASS)
        if case.is_info or self.levels[case.rule] is Level.MAY:
            return Finding(Verdict.INFO, differences=found)
        if expected.allowed and not list(differences(wanted, got, expected.allowed)):
            return Finding(Verdict.NONSTRICT, differences=found)
        return Finding(Verdict.FAIL, differences=found)


def untold(verdict: Verdict, why: str) -> Telling:
    """A story that could not be told."""
    return Telling(None, Finding(verdict, why))


def goes_on(finding: Finding) -> bool:
    """Is the story worth going on with? If a peer refused in other words, its state is still ours; if it took what we refuse, it is not."""
    if finding.verdict is Verdict.NONSTRICT:
        return all(one.got != Error.NONE.name for one in finding.differences)
    return finding.verdict is Verdict.PASS


class Conversation:
    """The connections of one telling, each made when it is needed."""

    def __init__(self, target: Target, deadline: Deadline, transcript: Transcript) -> None:
        self.target = target
        self.deadline = deadline
        self.transcript = transcript
        self.connections: dict[int, Connection] = {}

    def ask(self, step: Step, version: int, message: Any) -> Heard | None:
        """What comes back; None for nothing, where nothing is awaited."""
        connection = self.connections.get(step.connection)
        if connection is None:
            connection = Connection(self.target.host, self.target.port, self.deadline, self.transcript)
            self.connections[step.connection] = connection
        connection.send(step.api_key, version, message, client_id=step.client_id)
        if step.expects_answer:
            heard: Heard | None = connection.receive()
        else:  # whether an error ends the connection shows when the next request is answered, or not
            connection.expect_nothing()
            after = connection.ask(API_VERSIONS, 0, m.ApiVersionsRequest())
            heard = None if isinstance(after, Answer) else after
        if isinstance(heard, Closed | Silence | Broken):
            self.connections.pop(step.connection).close()
        return heard

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections.values():
            connection.close()


def remember(view: View, message: Any) -> None:
    """An id that was given out."""
    if isinstance(message, m.InitProducerIdResponse) and message.error_code == Error.NONE:
        view.producer_ids.append(message.producer_id)


def abstract(expected: Expected, view: View) -> Any:
    """What the oracle expects, to be compared."""
    if expected.closes:
        return THE_END
    return NOTHING if expected.message is None else Abstraction(view).of(expected.message)


def abstract_heard(heard: Heard | None, view: View) -> Any:
    """What was heard, to be compared."""
    match heard:
        case None:
            return NOTHING
        case Answer(_, message):
            return Abstraction(view).of(message)
        case Broken(_, problem):
            return f"what is no answer: {problem}"
        case Closed(_):
            return THE_END
        case Silence():
            return "silence"
    raise AssertionError(f"{heard} is nothing that can be heard")

