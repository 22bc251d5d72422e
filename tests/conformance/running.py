"""Telling a story to the oracle and to a broker, step by step, and comparing what they answer.

Every telling has topics of its own, under a name that nobody else has, and a connection of its own; nothing depends on what other cases did, or on
whether their topics could be removed.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import gt, lt
from threading import Lock
from typing import Any

from fiducial.conformance.abstraction import Abstraction, Difference, differences, wall_clock_ms
from fiducial.conformance.cases import (
    SEVERITY,
    Awaited,
    Case,
    Group,
    MadeAnew,
    Removed,
    SideEnds,
    Step,
    StillWaits,
    TimePasses,
    Topic,
    Verdict,
)
from fiducial.conformance.client import (
    Answer,
    Asked,
    Broken,
    Closed,
    Connection,
    Deadline,
    Heard,
    Silence,
    Transcript,
    Unreachable,
)
from fiducial.conformance.codec import INT32
from fiducial.conformance.founding import Founded, NobodyLetIn, NotFounded, founded, grown
from fiducial.conformance.oracle import KEYS, Expected
from fiducial.conformance.others import without_others
from fiducial.conformance.script import Script
from fiducial.conformance.symbols import View, spoken
from fiducial.conformance.target import SetupFailed, SetupRefused, Target, Voice
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.errors import Error
from fiducial.models.settings import Settings, parse
from fiducial.models.specification import Level
from fiducial.models.state import Cluster
from fiducial.models.values import ZERO_UUID

THE_END, NOTHING, SILENCE, ANSWERED = "the end of the connection", "nothing", "silence", "an answer"
#: So long a broker is given to take in a request whose answer is not awaited yet, and until so many who come later are answered, for it may be busy;
#: and at most so long, until it shows in what is told of a group.
ARRIVAL_S, COME_LATER, ARRIVAL_S_MAX = 0.05, 3, 2.0
#: So many groups are founded at once: it takes a broker as long as one (GROUP-JOIN-10).
FOUNDED_AT_ONCE = 250
#: So often others are founded, where nobody is let into any.
FOUNDED_TRIES = 10
#: So many stories of groups are told at the same time.
BESIDE_EACH_OTHER = 24
#: Between two times that the same is asked.
PAUSE_S = 0.02
#: Some brokers answer a change before all of them know of it (WIRE-TOPIC-43, WIRE-CONFIG-32): so long, questions behind one are asked again.
PATIENCE_S = 5.0
#: What can bring and take topics; what can change something that is asked about; and what asks, without changing anything.
DELETE_TOPICS, DESCRIBE_GROUPS = KEYS[m.DeleteTopicsRequest], KEYS[m.DescribeGroupsRequest]
CHANGE_TOPICS = frozenset({KEYS[m.CreateTopicsRequest], DELETE_TOPICS, KEYS[m.MetadataRequest]})
CHANGES = CHANGE_TOPICS | {KEYS[one] for one in (m.CreatePartitionsRequest, m.IncrementalAlterConfigsRequest, m.AlterConfigsRequest)}
QUESTIONS = frozenset(
    KEYS[one]
    for one in (
        m.MetadataRequest, m.DescribeTopicPartitionsRequest, m.DescribeConfigsRequest, m.ListConfigResourcesRequest, m.ListOffsetsRequest,
        m.DescribeLogDirsRequest,
    )
)  # fmt: skip


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
    ended_s: float = 0.0  # when
    known: str = ""  # why it is known to fail, and until when (see `baseline`)

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


class Judge:
    """Tells cases to one broker. Levels by rule, from the specification; `patience_s`: how long a change may take until it shows."""

    def __init__(self, target: Target, levels: dict[str, Level], *, patience_s: float = PATIENCE_S, is_allowed_all: bool = False) -> None:
        self.target = target
        self.levels = levels
        self.patience_s = patience_s
        self.is_allowed_all = is_allowed_all
        self.prefix = f"conform-{secrets.token_hex(4)}"
        self.group_names = (f"{self.prefix}-{number}" for number in itertools.count())
        self.founded: list[Founded] = []  # groups of one member that no story has yet
        self.wanted = 0  # so many of them will be needed yet
        self.founding = Lock()
        self.beside = ThreadPoolExecutor(BESIDE_EACH_OTHER)
        self.begun: dict[str, Future[Result]] = {}  # by case
        self.settings, self.changes, self.first_epoch = self.defaults()

    def defaults(self) -> tuple[Settings, m.IncrementalAlterConfigsRequest, int]:
        """The settings, and their changes, that the oracle needs to have topics like the target's, and the leader epoch in which these begin; ours, if no
        topic is to be had, for then no story is told."""
        name = f"{self.prefix}-probe"
        try:
            self.target.make_topics({name: Topic()})
        except SetupRefused:
            return parse({}), m.IncrementalAlterConfigsRequest(), 0
        try:
            return self.target.topic_defaults(name), self.target.changed_defaults(name), self.target.first_epoch(name)
        finally:
            self.target.remove_topics([name])

    def producer_ids(self, count: int) -> list[int]:
        """Ids that no other telling has: a broker may know a producer in all partitions at once, though none should (kfake does)."""
        return [self.target.new_producer_id() for _ in range(count)]

    def begin(self, cases: Iterable[Case]) -> None:
        """Of cases that will be judged, let those of groups be told from now on, beside each other and the rest: mostly they wait."""
        of_groups = [case for case in cases if case.groups]
        self.wanted += sum(map(self.count_founded, of_groups))
        self.begun |= {case.id: self.beside.submit(self.judged, case) for case in of_groups}

    def close(self) -> None:
        """Leave nothing behind."""
        self.beside.shutdown(cancel_futures=True)
        self.target.remove_groups([one.group_id for one in self.founded])
        self.founded.clear()

    # Groups

    def groups(self, case: Case) -> dict[str, Founded]:
        """The groups of one telling, by what the story calls them."""
        return {called: self.group(group) for called, group in case.groups}

    def count_founded(self, case: Case) -> int:
        """How many groups a case finds, if it is told at all."""
        is_served = case.sweep is None or self.target.serves(KEYS[case.sweep])
        return len(self.versions(case)) * sum(not group.is_absent for _, group in case.groups) if is_served else 0

    def group(self, wanted: Group) -> Founded:
        """A group as a story needs it, or the name of one."""
        if wanted.is_absent:
            (name,) = self.target.coordinated(self.group_names, 1)
            return Founded(name, (), 0)
        with Voice(self.target) as voice:
            try:
                with self.founding:
                    if not self.founded:
                        self.founded += self.new_groups(voice, min(max(self.wanted, 1), FOUNDED_AT_ONCE))
                    self.wanted -= 1
                    group = self.founded.pop()
                return grown(voice, group, wanted.others) if wanted.others else group
            except NotFounded as reason:
                raise SetupRefused(str(reason)) from None

    def new_groups(self, voice: Voice, count: int) -> list[Founded]:
        """So many new groups; others, if nobody was let into any: a broker that often looks for what is empty may have forgotten them all."""
        for _ in range(FOUNDED_TRIES):
            with suppress(NobodyLetIn):
                return founded(voice, self.target.coordinated(self.group_names, count))
        raise NotFounded("nobody is let into a new group")

    # A case

    def judge(self, case: Case) -> Result:
        """What comes of a case; of one that is begun, once it has come."""
        if case.id in self.begun:
            return self.begun.pop(case.id).result()
        self.wanted += self.count_founded(case)
        return self.judged(case)

    def judged(self, case: Case) -> Result:
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
        ended = time.monotonic()
        return Result(case, tellings, ended - begun, ended)

    def tellings(self, case: Case) -> list[Telling]:
        """One for each version of the request that is swept; one, if none is."""
        if missing := [APIS[key].name for key in sorted(case.api_keys) if not self.target.serves(key)]:
            return [untold(Verdict.NOT_APPLICABLE, f"{', '.join(missing)} not advertised")]
        if unserved := [step.told(step.version) for step in case.story if self.is_unserved(step)]:
            return [untold(Verdict.NOT_APPLICABLE, f"not advertised: {unserved[0]}")]
        if case.is_destructive and not self.is_allowed_all:
            return [untold(Verdict.NOT_APPLICABLE, "others may notice: --allow-destructive")]
        if case.needs_one_node and self.target.nodes > 1:
            return [untold(Verdict.UNSUPPORTED_SETUP, f"a cluster of one node is needed, and this one has {self.target.nodes}")]
        if case.producers and not self.target.serves(KEYS[m.InitProducerIdRequest]):
            return [untold(Verdict.NOT_APPLICABLE, "InitProducerId not advertised")]
        for name, bound, is_beyond, needed in (*((*one, gt, "at most") for one in case.settings), *((*one, lt, "at least") for one in case.at_least)):
            if (there := self.target.setting(name)) is None or is_beyond(there, bound):
                return [untold(Verdict.UNSUPPORTED_SETUP, f"{name} is {'not told' if there is None else there}, and {bound} {needed} is needed")]
        versions = self.versions(case)
        if not versions:
            return [untold(Verdict.NOT_APPLICABLE, f"not advertised from v{case.sweep_from} on")]
        names = [self.names(case, index) for index in range(len(versions))]
        wanted = {each[called]: topic for each in names for called, topic in case.topics if topic.partitions}
        ids = self.target.make_topics(wanted)
        groups = [self.groups(case) for _ in versions]
        try:
            return list(until_silence(self.told(case, *one, ids) for one in zip(versions, names, groups, strict=True)))
        finally:
            self.target.remove_topics([name for each in names for name in each.values()])
            self.target.remove_groups([one.group_id for each in groups for one in each.values()])

    def is_unserved(self, step: Step) -> bool:
        """Is it in a version that has a layout, and that the broker does not say it serves?"""
        known = APIS.get(step.api_key) if step.api_key is not None else None
        if known is None or step.version is None:
            return False
        lowest, highest = self.target.advertised[known.key]
        return known.min_version <= step.version <= known.max_version and not lowest <= step.version <= highest

    def versions(self, case: Case) -> list[int | None]:
        """The versions to tell it in."""
        return [None] if case.sweep is None else [one for one in self.target.versions[KEYS[case.sweep]] if one >= case.sweep_from]

    def names(self, case: Case, telling: int) -> dict[str, str]:
        """What the topics of a story are called in one telling."""
        slug = case.id.replace("/", ".").lower()
        return {called: f"{self.prefix}-{slug}-{telling}-{called}".ljust(topic.characters, "x") for called, topic in case.topics}

    def undo(self, case: Case) -> None:
        """Leave the broker's settings as they were, if it lets us."""
        for request in case.afterwards:
            with suppress(SetupFailed, SetupRefused, Unreachable):
                self.target.ask(spoken(request, View(wall_clock_ms(), node_id=self.target.node_id)))

    # A telling

    def told(self, case: Case, version: int | None, names: dict[str, str], groups: dict[str, Founded], ids: dict[str, bytes]) -> Telling:
        """Tell the story once, and undo what it did."""
        try:
            return self.tell(case, version, names, groups, ids)
        finally:
            self.undo(case)

    def tell(self, case: Case, version: int | None, names: dict[str, str], groups: dict[str, Founded], ids: dict[str, bytes]) -> Telling:
        """Tell the story once."""
        telling = Telling(version)
        cluster = Cluster("fiducialfiducialfiduci", self.target.node_id, self.target.host, self.target.port)
        group_ids = {called: one.group_id for called, one in groups.items()}
        script = Script(case, cluster, self.settings, self.changes, names, group_ids, wall_clock_ms)
        known = {called: ids[name] for called, name in names.items() if name in ids}
        theirs = View(script.view.begun_ms, names, known, node_id=self.target.node_id, advertised=self.target.advertised, is_about_versions=case.is_about_versions)
        theirs.groups, theirs.shortest_session_ms = group_ids, script.view.shortest_session_ms
        for one in groups.values():
            theirs.has_founded(one.members, one.generation)
        theirs.first_epoch = self.first_epoch
        theirs.producer_ids += self.producer_ids(case.producers)
        with Conversation(self.target, case, theirs, telling.transcript, self.patience_s) as conversation:
            for number, step in enumerate(case.story, 1):
                asked = self.version_of(case, step, version)
                expected = script.expected(step, asked)
                wanted = abstract(expected, script.view)
                heard = conversation.heard(step, asked, wanted)
                if step.waits and case.groups and not step.in_any_order:
                    conversation.catch_up(script.groups(), script.view)
                if step.api_key in CHANGE_TOPICS:
                    script.follow()
                    conversation.follow(step, script.view)
                    wanted = abstract(expected, script.view)
                if isinstance(heard, Silence) and not self.target.is_lively():
                    finding = Finding(Verdict.INCONCLUSIVE, f"no answer within {heard.waited_s:g} s, and none on another connection either")
                else:
                    finding = self.weighed(case, expected, wanted, abstract_heard(heard, theirs))
                if SEVERITY.index(finding.verdict) > SEVERITY.index(telling.verdict):
                    telling.finding = replace(finding, step=number, told=step.told(asked))
                if not goes_on(finding):
                    break
        return telling

    def version_of(self, case: Case, step: Step, version: int | None) -> int | None:
        """The version that a step is asked in; None if it is no request."""
        if step.version is not None or step.api_key is None:
            return step.version
        if version is not None and case.sweep is not None and step.api_key == KEYS[case.sweep]:
            return version
        return self.target.newest(step.api_key)

    def weighed(self, case: Case, expected: Expected, wanted: Any, got: Any) -> Finding:
        """What is to be said of one step."""
        wanted, got = without_others(wanted, got, own(case))
        found = tuple(differences(wanted, got, rule=case.rule))
        if not found:
            return Finding(Verdict.PASS)
        if case.is_info or self.levels[case.rule] is Level.MAY:
            return Finding(Verdict.INFO, differences=found)
        if expected.allowed and not list(differences(wanted, got, expected.allowed, rule=case.rule)):
            return Finding(Verdict.NONSTRICT, differences=found)
        return Finding(Verdict.FAIL, differences=found)


def until_silence(tellings: Iterable[Telling]) -> Iterator[Telling]:
    """The tellings as they come. Who was silent once need not be waited for again in every version."""
    for telling in tellings:
        yield telling
        if any(one.got == SILENCE for one in telling.finding.differences):
            return


def untold(verdict: Verdict, why: str) -> Telling:
    """A story that could not be told."""
    return Telling(None, Finding(verdict, why))


def goes_on(finding: Finding) -> bool:
    """Is the story worth going on with? If a peer refused in other words, its state is still ours; if it took what we refuse, it is not."""
    if finding.verdict is Verdict.NONSTRICT:
        return all(one.got != Error.NONE.name for one in finding.differences)
    return finding.verdict is Verdict.PASS


class Conversation:
    """The broker's part in one telling: the connections, each made when it is needed, and what the broker gave out."""

    def __init__(self, target: Target, case: Case, view: View, transcript: Transcript, patience_s: float) -> None:
        self.target = target
        self.patience_s = patience_s
        self.has_changed = False  # the story changed something that may take a moment to show
        self.rule = case.rule
        self.topics, self.own = dict(case.topics), own(case)
        self.view = view
        self.deadline = Deadline(case.deadline_s)
        self.transcript = transcript
        self.connections: dict[int, Connection] = {}

    def heard(self, step: Step, version: int | None, wanted: Any) -> Heard | None:
        """What comes of a step; None for nothing, where nothing is awaited. `wanted`: what should come, as it is compared."""
        match step.body:
            case TimePasses(ms):
                time.sleep(spoken(ms, self.view) / 1000)
                return None
            case Removed(topic):
                self.remove(topic)
                return None
            case MadeAnew(topic):
                self.make_anew(topic)
                return None
            case SideEnds():
                self.connection(step.connection).flush()
                self.connection(step.connection).say_no_more()
                return None
            case Awaited():
                return self.listened(step.connection)
            case StillWaits():
                return self.looked_for(step.connection, is_there=wanted == ANSWERED)
        heard = self.asked(step, version)
        until = self.deadline if step.until else Deadline(self.patience_s)
        while (step.until or self.may_lag(step, heard)) and not until.has_passed and self.is_another(wanted, heard):
            time.sleep(PAUSE_S)
            heard = self.asked(step, version)
        self.has_changed |= step.api_key in CHANGES
        return heard

    def is_another(self, wanted: Any, heard: Heard | None) -> bool:
        """Does what was heard differ in what is compared?"""
        return any(True for _ in differences(*without_others(wanted, abstract_heard(heard, self.view), self.own), rule=self.rule))

    def may_lag(self, step: Step, heard: Heard | None) -> bool:
        """Is it a question, asked behind a change, that can be asked again?"""
        return self.has_changed and step.api_key in QUESTIONS and isinstance(heard, Answer)

    def asked(self, step: Step, version: int | None) -> Heard | None:
        """What comes back if a request is sent."""
        assert step.api_key is not None and version is not None
        connection = self.connection(step.connection)
        self.hold(step, version, connection)
        if step.is_pipelined:
            if not step.expects_answer:
                connection.expect_nothing()
            return None
        connection.flush(step.odd.piece)
        if step.waits:
            if not step.in_any_order:
                self.let_arrive()
            return None
        if step.expects_answer:
            return self.listened(step.connection)
        # Whether an error ends the connection shows when the next request is answered, or not.
        connection.expect_nothing()
        after = connection.ask(API_VERSIONS, 0, m.ApiVersionsRequest())
        return None if isinstance(after, Answer) else self.ended(step.connection, after)

    def let_arrive(self) -> None:
        """What was sent is with the broker, as far as that shows: others, who came later, are answered."""
        time.sleep(ARRIVAL_S)
        for _ in range(COME_LATER):
            self.target.is_lively()

    def hold(self, step: Step, version: int, connection: Connection) -> None:
        """A request in bytes, ready to go."""
        assert step.api_key is not None
        body, correlation_id = spoken(step.body, self.view), connection.next_id()
        frame = step.frame(body, version, correlation_id)
        size = len(frame) if step.odd.size is None else step.odd.size
        connection.hold(Asked(step.numbered(correlation_id), step.api_key, version), INT32.pack(size) + frame, body)

    def follow(self, step: Step, ours: View) -> None:
        """Take note of the topics of the story that have come and gone; a broker may need a moment until it shows."""
        until = Deadline(self.patience_s)
        there = self.target.topic_ids(self.view.names)
        while late(step, there.keys(), ours.topic_ids.keys()) and not until.has_passed:
            time.sleep(PAUSE_S)
            there = self.target.topic_ids(self.view.names)
        for called in self.view.names:
            known = self.view.topic_ids.get(called)
            if known is not None and there.get(called) != known:
                self.view.has_lost(called)
            if called in there and there[called] != ZERO_UUID:
                self.view.topic_ids[called] = there[called]

    def catch_up(self, ours: Any, view: View) -> None:
        """Wait until the groups of the story are told of as the oracle tells of them, so that nothing overtakes what waits there."""
        until, wanted = Deadline(ARRIVAL_S_MAX), Abstraction(view).of(ours)
        asked = m.DescribeGroupsRequest(tuple(self.view.groups.values()))
        while not until.has_passed and self.target.serves(DESCRIBE_GROUPS):
            if not list(differences(wanted, Abstraction(self.view).of(self.target.ask(asked)), rule=self.rule)):
                break
            time.sleep(PAUSE_S)

    def listened(self, number: int) -> Heard:
        """The answer on a connection, or what came instead."""
        self.connection(number).flush()
        heard = self.connection(number).receive()
        if isinstance(heard, Answer):
            self.view.has_given(heard.message)
            return heard
        return self.ended(number, heard)

    def looked_for(self, number: int, *, is_there: bool) -> Answer | None:
        """Is there an answer on a connection? If one should be, it is waited for; but it is left there."""
        patience_s = self.patience_s if is_there else ARRIVAL_S
        return None if self.connection(number).is_silent(patience_s) else Answer(b"", ANSWERED)

    def ended(self, number: int, heard: Heard) -> Heard:
        """What was heard; the connection is of no use any more."""
        self.connections.pop(number).close()
        return heard

    def connection(self, number: int) -> Connection:
        """One of several."""
        if number not in self.connections:
            self.connections[number] = Connection(self.target.host, self.target.port, self.deadline, self.transcript)
        return self.connections[number]

    def remove(self, topic: str) -> None:
        """A topic of the story goes."""
        self.target.delete_topic(self.view.names[topic])
        self.view.has_lost(topic)

    def make_anew(self, topic: str) -> None:
        """A topic of the story goes, and comes again."""
        name = self.view.names[topic]
        self.remove(topic)
        self.view.topic_ids[topic] = self.target.make_topics({name: self.topics[topic]})[name]

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections.values():
            connection.close()
        self.target.end_sessions(self.view.sessions)


def own(case: Case) -> Collection[str]:
    """What a story calls its topics and groups."""
    return {called for called, _ in (*case.topics, *case.groups)}


def late(step: Step, there: AbstractSet[str], expected: AbstractSet[str]) -> AbstractSet[str]:
    """The topics that have yet to go, or to come, behind a step that deletes or creates some."""
    return there - expected if step.api_key == DELETE_TOPICS else expected - there


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
            return SILENCE
    raise AssertionError(f"{heard} is nothing that can be heard")

