"""Exploration: a guest touches nothing of others; what it finds is short, told once, and can be told again, by a trace and by a program of its own."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from conftest import Address
from peers.kafka import Kafka

from conform.brokers import HANG_UP, Broker, Tamper, honest, serving, without_api
from fiducial.cli import main
from fiducial.conformance import codec
from fiducial.conformance.abstraction import Difference
from fiducial.conformance.batches import stored_batches
from fiducial.conformance.client import Deadline, Unreachable
from fiducial.conformance.exploration import reproducers, standalone, traces
from fiducial.conformance.exploration.explorer import Budget, Counterexample, Explorer, budget_of
from fiducial.conformance.exploration.group_histories import GroupHistories
from fiducial.conformance.exploration.histories import NAMES, Histories
from fiducial.conformance.exploration.pairs import Pair, Story, World, run
from fiducial.conformance.exploration.steps import OF_GROUPS, Raw, Spoilt, Step
from fiducial.conformance.exploration.targets import Remote, talk
from fiducial.conformance.exploration.traces import NoTrace, as_json, from_json
from fiducial.conformance.founding import PROTOCOL, TYPE, join
from fiducial.conformance.symbols import (
    Ago,
    Batch,
    Generation,
    GroupId,
    IdOf,
    Member,
    Name,
    OldIdOf,
    Record,
    Records,
    View,
)
from fiducial.conformance.target import SetupRefused, Target
from fiducial.models import messages as m
from fiducial.models.apis import APIS
from fiducial.models.config_requests import Resource
from fiducial.models.errors import Error
from fiducial.models.flaws import FLAWS, switched_on
from fiducial.models.topics import is_valid_name
from fiducial.models.values import changed

SERVED = {api.key: range(api.min_version, api.max_version + 1) for api in APIS.values()}
PRODUCE, FETCH, SYNC_GROUP, API_VERSIONS, CREATE_TOPICS, INIT_PRODUCER_ID = 0, 1, 14, 18, 19, 22
SEED = 3
#: A group does not wait for members before its first rebalance.
AT_ONCE = {"group.initial.rebalance.delay.ms": "0"}
Flaw = Callable[[], AbstractContextManager[None]]


def flaw(name: str) -> Flaw:
    """A flaw of the registry, to be switched on while a request is decided."""
    return lambda: switched_on(FLAWS[name])


@contextmanager
def exploring(tamper: Tamper = honest, flaw: Flaw = nullcontext, **settings: str) -> Iterator[tuple[Explorer, Broker]]:
    """An explorer, and the broker that it explores."""
    with serving(tamper, flaw=flaw, settings=AT_ONCE | settings) as broker:
        explorer = Explorer(Target(broker.host, broker.port), SEED, lambda _: None)
        try:
            yield explorer, broker
        finally:
            explorer.close()


def found_by(flaw: Flaw, requests: int = 3000) -> Counterexample:
    """The first that is found at a broker with a flaw."""
    with exploring(flaw=flaw) as (explorer, _):
        return next(explorer.explore(Budget(requests=requests)))


# A guest


def test_a_guest_asks_about_its_own_topics_and_changes_nothing_else() -> None:
    asked = set()
    for seed in range(40):
        for step in Histories(seed, served=SERVED).steps(200):
            body = step.body
            asked.add(type(body))
            assert not isinstance(body, Raw)
            for resource in getattr(body, "resources", ()):
                assert resource.resource_type == Resource.TOPIC
            if isinstance(body, m.MetadataRequest):
                assert body.topics is not None and not body.allow_auto_topic_creation and step.api_version >= 4
            if isinstance(body, m.CreateTopicsRequest):
                assert all(topic.num_partitions < 10 for topic in body.topics)
    assert {m.ProduceRequest, m.FetchRequest, m.DeleteTopicsRequest, m.AlterConfigsRequest, m.CreatePartitionsRequest} <= asked
    assert not asked & {m.ApiVersionsRequest, m.FindCoordinatorRequest, m.ListConfigResourcesRequest, m.DescribeLogDirsRequest, m.DescribeClusterRequest}


def test_a_guest_asks_about_its_own_groups() -> None:
    asked, others = set(), []
    for seed in range(20):
        for step in GroupHistories(seed, served=SERVED).steps(200):
            asked.add(type(step.body))
            keeps = isinstance(step.body, m.OffsetCommitRequest | m.OffsetDeleteRequest)
            named = [step.body.group_id] if keeps else getattr(step.body, "groups_names", ())
            others += [one for one in named if not isinstance(one, GroupId)]
    assert set(OF_GROUPS) <= asked and m.ListGroupsRequest not in asked and not others


def test_every_name_that_could_be_a_topics_is_one_of_ours() -> None:
    names = World({}, mentioned=NAMES, prefix="p-1").names
    assert {name for name in NAMES if is_valid_name(name)} == set(names)
    assert all(name.startswith("p-1-") and len(name) <= 249 for name in names.values()) and len(set(names.values())) == len(names)


def test_only_what_is_served_is_asked_in_versions_that_are_served() -> None:
    served = {PRODUCE: range(7, 9), FETCH: range(4, 13), 3: range(1, 10), CREATE_TOPICS: range(2, 6), 20: range(1, 6)}
    steps = [*Histories(SEED, served=served).steps(400)]
    assert {step.api_key for step in steps} == set(served)
    assert all(one.api_version in served[one.api_key] for step in steps for one in (step, step.waiting) if one is not None)


def test_topics_and_settings_of_others_are_as_they_were_and_ours_are_gone() -> None:
    with serving(settings=AT_ONCE) as broker:
        other = Remote("another client", broker.host, broker.port)
        (made,) = talk(other, CREATE_TOPICS, m.CreateTopicsRequest((m.CreatableTopic("plain", 2, 1), ), 1000)).topics
        records: Any = Batch().data(other.view)
        data = m.TopicProduceData("plain", made.topic_id, (m.PartitionProduceData(0, records),))
        talk(other, PRODUCE, m.ProduceRequest(acks=-1, topic_data=(data,)))
        before = broker.core.broker
        explorer = Explorer(Target(broker.host, broker.port), SEED, lambda _: None)
        assert list(explorer.explore(Budget(requests=500))) == []
        explorer.close()
        after = broker.core.broker
        assert explorer.asked == 500 and explorer.reached["rule IDEM-SEQ-2"] and explorer.reached["woken"]
        assert broker.topics == {"plain"} and after.topics.by_name["plain"] == before.topics.by_name["plain"]
        assert {key: after.partitions[key] for key in before.partitions} == dict(before.partitions) and after.settings == before.settings


def test_a_broker_that_cannot_be_explored_is_refused() -> None:
    with serving(without_api(CREATE_TOPICS)) as broker, pytest.raises(SetupRefused, match="not advertised"):
        Explorer(Target(broker.host, broker.port), SEED, lambda _: None)
    with serving(settings=AT_ONCE) as broker:
        target = Target(broker.host, broker.port)
        target.nodes = 3
        with pytest.raises(SetupRefused, match="stands alone; this one is of 3"):
            Explorer(target, SEED, lambda _: None)


def test_what_a_broker_does_not_serve_or_make_is_done_without() -> None:
    def makes_no_compacted_topics(api_key: int, version: int, message: Any) -> Any:
        if api_key == API_VERSIONS:
            return without_api(INIT_PRODUCER_ID, SYNC_GROUP, 44)(api_key, version, message)
        if api_key != CREATE_TOPICS:
            return message
        return changed(message, topics=tuple(changed(topic, error_code=40) if "probe-compacted" in topic.name else topic for topic in message.topics))

    with exploring(makes_no_compacted_topics) as (explorer, _):
        assert "compacted" not in explorer.topics and "plain" in explorer.topics and explorer.kind is Histories
        assert list(explorer.explore(Budget(requests=150))) == []


def test_the_topics_have_the_defaults_that_the_broker_tells() -> None:
    with exploring(message_max_bytes="300", log_message_timestamp_type="LogAppendTime") as (explorer, _):
        assert list(explorer.explore(Budget(requests=300))) == []


# What is found


def test_a_counterexample_is_minimal_and_names_the_rule() -> None:
    with exploring(flaw=flaw("A21")) as (explorer, broker):
        found = next(explorer.explore(Budget(requests=3000)))
        assert found.rules == ("LOG-FETCH-8",) and len(found.story.steps) == 3 and found.story.is_steady
        for left_out in range(2):
            steps = [step for number, step in enumerate(found.story.steps) if number != left_out]
            again = run(explorer.pair(found.story.world), steps)
            assert again is None or not again.places() & found.story.places()
    assert broker.topics == set()


def answering_always(field: str, number: int) -> Tamper:
    """Says the same of each partition in a Produce answer."""

    def tamper(api_key: int, version: int, message: Any) -> Any:
        if api_key != PRODUCE:
            return message
        topics = tuple(changed(topic, partition_responses=tuple(changed(part, **{field: number}) for part in topic.partition_responses)) for topic in message.responses)
        return changed(message, responses=topics)

    return tamper


def test_what_was_found_once_is_not_looked_for_again_and_histories_go_on_behind_it() -> None:
    said: list[str] = []
    with exploring(answering_always("base_offset", 77)) as (explorer, _):
        explorer.tell = said.append
        (found,) = explorer.explore(Budget(requests=200))
        assert explorer.histories == 2
    assert [one.place.rpartition(".")[2] for one in found.differences] == ["base_offset"]
    assert len([line for line in said if "looking for a short story" in line]) == 1


def test_a_known_wrong_verdict_ends_a_history_and_each_is_told_once() -> None:
    with exploring(answering_always("error_code", 7)) as (explorer, _):
        found = list(explorer.explore(Budget(requests=100)))
        assert explorer.histories > len(found) + 3
    marks = [one.story.marks() for one in found]
    assert len(set(marks)) == len(marks) and all(one.story.steps[-1].api_key == PRODUCE for one in found)


def test_what_was_said_is_told_from_its_beginning_and_decoded() -> None:
    entries = found_by(flaw("A21")).entries
    assert entries[0].what.startswith("connected to") and {entry.connection for entry in entries} == {1}
    assert [entry.told for entry in entries[1:]] == [told for version in (18, 18, 18) for told in (f"Fetch v{version}", f"answer to Fetch v{version}")]
    assert all(isinstance(entry.message, m.FetchRequest | m.FetchResponse) for entry in entries[1:])


def test_a_broker_that_is_gone_is_unreachable_and_one_that_stumbles_is_asked_on() -> None:
    begun: list[int] = []

    def dies(api_key: int, version: int, message: Any) -> Any:
        begun.append(api_key)
        return HANG_UP if begun.count(PRODUCE) > 20 else message

    with serving(dies, settings=AT_ONCE) as broker:
        explorer = Explorer(Target(broker.host, broker.port), SEED, lambda _: None)
        with pytest.raises(Unreachable, match="does not answer any more"):
            list(explorer.explore(Budget(requests=2000)))

    stumbled: list[int] = []

    def stumbles(api_key: int, version: int, message: Any) -> Any:
        if api_key == CREATE_TOPICS and len(message.topics) == 5 and not stumbled:
            stumbled.append(version)
            return HANG_UP
        return message

    with exploring(stumbles) as (explorer, _):
        assert list(explorer.explore(Budget(requests=100))) == []
        assert (explorer.unfinished, explorer.asked) == (1, 100)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("10", (10, None)), ("30s", (None, 30)), ("5m", (None, 300)), ("1h", (None, 3600)), ("x", None), ("", None), ("s", None), ("-1", None), ("5d", None), ("²", None)],
)
def test_a_budget_is_a_number_of_requests_or_a_duration(text: str, budget: tuple[int | None, float | None] | None) -> None:
    found = budget_of(text)
    assert (found and (found.requests, found.seconds)) == budget


def test_a_budget_of_time_ends() -> None:
    budget = Budget(seconds=1000)
    assert budget.left(10**9) > 0 and 0 <= budget.done(0) < 1
    assert replace(budget, begun=budget.begun - 1001).left(0) == 0
    assert Budget(requests=10).left(7) == 3 and Budget(requests=10).done(5) == 0.5


# Traces


def test_every_step_survives_json() -> None:
    for seed in range(8):
        for step in (*Histories(seed, keeps_house=True).steps(150), *GroupHistories(seed).steps(150)):
            assert from_json(json.loads(json.dumps(as_json(step)))) == step


def test_no_two_classes_of_a_step_have_one_name() -> None:
    modules = {kind.__module__ for kind in traces.CLASSES.values()}
    assert len(modules) == 3 and {"Step", "Batch", "ProduceRequest"} <= traces.CLASSES.keys()
    assert len(traces.CLASSES) == sum(len([kind for kind in traces.CLASSES.values() if kind.__module__ == module]) for module in modules)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fiducial": "trace"}', '{"fiducial": "trace", "world": {"topics": {}, "resized": [], "unsized": []}, "steps": [{"": "Nothing"}]}'])
def test_what_is_no_trace_is_refused(text: str) -> None:
    with pytest.raises(NoTrace):
        traces.read(text)


def test_a_trace_is_replayed_where_it_differs_and_where_it_does_not() -> None:
    found = found_by(flaw("D9"))
    text = traces.written(found.story, found.seed, found.rules, "host:1")
    world, steps = traces.read(text)
    assert json.loads(text)["rules"] == ["IDEM-EPOCH-2"] and len(steps) == 2
    with exploring(flaw=flaw("D9")) as (explorer, _):
        again = explorer.replay(world, steps)
        assert again is not None and again.rules == ("IDEM-EPOCH-2",)
    with exploring() as (explorer, broker):
        assert explorer.replay(world, steps) is None
    assert broker.topics == set()


# Programs


def program_says(file: Path, broker: Broker) -> tuple[int, str]:
    """The exit status and the output of a program, run by a Python that knows nothing of us."""
    done = subprocess.run([sys.executable, "-I", "-S", str(file), f"{broker.host}:{broker.port}"], capture_output=True, text=True, timeout=60, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def assert_reproduced(found: Counterexample, plant: Flaw, file: Path) -> None:
    """The program of a counterexample sees the same at a broker with the flaw, not at one without, and leaves nothing behind."""
    file.write_text(reproducers.written(found, file.name))
    for flaw, is_there in ((plant, True), (nullcontext, False)):
        with serving(flaw=flaw, settings=AT_ONCE) as broker:
            status, said = program_says(file, broker)
            assert broker.topics == set()
        assert status == int(is_there), said
        assert f"the last answer is {'the same as' if is_there else 'not the one of'} then" in said
        assert all(f"expected {one.expected}, got {one.got}" in said for one in found.differences)


@pytest.mark.parametrize("name", ["A9", "A21", "D9", "D11", "X5"])
def test_a_program_shows_what_was_found_and_needs_nothing_but_python(name: str, tmp_path: Path) -> None:
    assert_reproduced(found_by(flaw(name)), flaw(name), tmp_path / "repro.py")


STORY_TOPIC: Any = Name("plain")
ID: Any = IdOf("plain")
OLD_ID: Any = OldIdOf("later")
LATER: Any = Name("later")


def produce(*batches: Batch, version: int = 13, topic: Any = STORY_TOPIC, topic_id: Any = ID, acks: int = -1) -> Step:
    """Batches for one partition."""
    records: Any = Records(batches)
    return Step(m.ProduceRequest(None, acks, 1000, (m.TopicProduceData(topic, topic_id, (m.PartitionProduceData(0, records),)),)), version)


def fetch(topic_id: Any = ID, **fields: Any) -> Step:
    """What one partition has."""
    part = m.FetchPartition(0, partition_max_bytes=1 << 20)
    return Step(m.FetchRequest(max_bytes=1 << 20, topics=(m.FetchTopic(STORY_TOPIC, topic_id, (part,)),), **fields), 18)


CREATE_LATER = Step(m.CreateTopicsRequest((m.CreatableTopic(LATER, 1, 1),), 1000), 7)
DELETE_LATER = Step(m.DeleteTopicsRequest((m.DeleteTopicState(LATER),), (), 1000), 6)
LAST = fetch()
STORIES = {
    "times, in a batch that is packed": [produce(Batch((Record(Ago(5000)), Record(Ago(4000))), codec=1)), produce(Batch((Record(Ago(9000)),))), LAST],
    "an unsound checksum stays unsound": [produce(Batch(producer=1, fault="wrong checksum")), produce(Batch(producer=1)), LAST],
    "ids of topics that come and go": [CREATE_LATER, produce(Batch(), topic=LATER, topic_id=IdOf("later")), DELETE_LATER, CREATE_LATER, fetch(OLD_ID), LAST],
    "a fetch that waits": [changed(produce(Batch()), waiting=fetch(max_wait_ms=60_000, min_bytes=1)), LAST],
    "without acks": [produce(Batch(), acks=0), produce(Batch(fault="count 0"), acks=0), LAST],
    "a frame that is spoilt": [changed(LAST, spoilt=Spoilt(behind=b"more")), LAST],
}


@pytest.mark.parametrize("name", STORIES)
def test_a_program_sends_what_the_story_sends(name: str, tmp_path: Path) -> None:
    """What a fetch is answered is spoilt, so that something differs; to tell it again must come to the same."""

    def no_watermark(api_key: int, version: int, message: Any) -> Any:
        if api_key != FETCH:
            return message
        topics = tuple(changed(topic, partitions=tuple(changed(part, last_stable_offset=99) for part in topic.partitions)) for topic in message.responses)
        return changed(message, responses=topics)

    world = World({"plain": {}}, mentioned=NAMES)
    with exploring(no_watermark) as (explorer, broker):
        found = explorer.told(Story(world, STORIES[name], []), SEED, 1)
        assert found.differences
        file = tmp_path / "repro.py"
        file.write_text(reproducers.written(found, file.name))
        status, said = program_says(file, broker)
    assert status == 1 and "the same as then" in said


GROUP: Any = GroupId()
FIRST: Any = Member(0)
SECOND: Any = Member(1)
NOW: Any = Generation()


def joins(member_id: Any) -> Step:
    """A member joins the group that is there."""
    return Step(join(GROUP, member_id), 9)


def syncs(member_id: Any, *given: m.SyncGroupRequestAssignment) -> Step:
    """A member syncs."""
    return Step(m.SyncGroupRequest(GROUP, NOW, member_id, None, TYPE, PROTOCOL, given), 5)


HEARTBEAT = Step(m.HeartbeatRequest(GROUP, NOW, SECOND), 4)
GROUP_STORIES = {
    "an answer at once": [HEARTBEAT],
    "two wait, each on a connection of its own": [
        joins(""), joins(SECOND), joins(FIRST), syncs(SECOND), syncs(FIRST, m.SyncGroupRequestAssignment(SECOND, b"s")), HEARTBEAT,
    ],
    "the last step ends what another waits for": [joins(""), joins(SECOND), joins(FIRST)],
}  # fmt: skip


def other_words(story: str) -> Tamper:
    """What is answered last is another protocol, or another error."""

    def tamper(api_key: int, version: int, message: Any) -> Any:
        if "the last step" not in story:
            return changed(message, error_code=Error.NOT_COORDINATOR) if api_key == HEARTBEAT.api_key else message
        return changed(message, protocol_name="other") if api_key == joins(FIRST).api_key and message.error_code == Error.NONE else message

    return tamper


@pytest.mark.parametrize("name", GROUP_STORIES)
def test_a_program_tells_a_story_of_a_group(name: str, tmp_path: Path) -> None:
    """It founds the group anew; members go by the ids of now; with another last answer it is not as then."""
    world = World({}, mentioned=NAMES, groups=("g", "h"))
    with exploring(other_words(name)) as (explorer, broker):
        found = explorer.told(Story(world, GROUP_STORIES[name], []), SEED, 1)
        assert found.differences and len(found.asked) == len(GROUP_STORIES[name])
        file, before = tmp_path / "repro.py", set(broker.core.broker.groups.live)
        file.write_text(reproducers.written(found, file.name))
        status, said = program_says(file, broker)
        assert status == 1 and "the same as then" in said, said
        assert set(broker.core.broker.groups.live) == before
    with serving(settings=AT_ONCE) as broker:
        status, said = program_says(file, broker)
        assert not broker.core.broker.groups.live
    assert status == 0 and "not the one of then" in said


def test_times_go_with_the_clock_and_checksums_with_them() -> None:
    """A day later, the same batch is a day younger, and sound; one that was unsound stays so."""
    day_ms = 86_400_000
    view = View(1_700_000_000_000, {"plain": "conform-00000000-1-plain"}, {"plain": b"i" * 16}, [5])
    for fault, is_sound in (("", True), ("wrong checksum", False)):
        step = reproducers.step_of(produce(Batch((Record(Ago(5000)), Record(Ago(4000))), codec=1, producer=0, fault=fault)), view)
        broker = object.__new__(standalone.Broker)
        broker.story, broker.begun_ms, broker.producers, broker.ids = {"begun_ms": view.begun_ms}, view.begun_ms + day_ms, [(77).to_bytes(8, "big")], {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(standalone.Broker, "id_of", lambda *_: b"j" * 16)
            frame = broker.frame(step)
        (topic,) = codec.read_request(frame).message.topic_data
        (batch,), _ = stored_batches(topic.partition_data[0].records)
        assert topic.topic_id == b"j" * 16 and batch.is_sound is is_sound and batch.header.producer_id == 77
        assert (batch.header.base_timestamp, batch.header.max_timestamp) == (view.begun_ms + day_ms - 5000, view.begun_ms + day_ms - 4000)


def test_the_old_id_of_a_topic_is_the_last_that_went(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = object.__new__(standalone.Broker)
    broker.topics = {"t": [b"1", b"2", b"3"]}
    monkeypatch.setattr(standalone.Broker, "id_of", lambda *_: b"3")
    assert broker.value(b"was", "old topic", "t") == b"2"
    broker.topics = {"t": [b"3"]}
    assert broker.value(b"was", "old topic", "t") == b"was"


def test_without_acks_nothing_is_noted_or_the_end() -> None:
    with exploring() as (explorer, _):
        found = explorer.told(Story(World({"plain": {}}, mentioned=NAMES), STORIES["without acks"], []), SEED, 1)
    nothing, the_end, fetched = reproducers.steps_of(found)
    assert (nothing["then"], the_end["then"]) == (None, "") and fetched["then"].startswith("00000007")


def test_a_program_imports_nothing_but_the_standard_library() -> None:
    source = resources.files("fiducial.conformance.exploration").joinpath("standalone.py").read_text()
    names = [name for node in ast.walk(ast.parse(source)) for name in imported(node)]
    assert names and set(names) <= sys.stdlib_module_names


def imported(node: ast.AST) -> list[str]:
    """What a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


# The command line


def command(*arguments: str, broker: Broker, folder: Path) -> int:
    """`fiducial conform` at a broker; its exit status."""
    return main(["conform", f"{broker.host}:{broker.port}", "--seed", str(SEED), "--found", str(folder), *arguments])


def test_what_is_explored_is_reported_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, html = tmp_path / "found", tmp_path / "page.html"
    with serving(flaw=flaw("A21"), settings=AT_ONCE) as broker:
        assert command("--explore", "300", "--html", str(html), broker=broker, folder=folder) == 1
        said = capsys.readouterr()
        assert said.err == "" and said.out.startswith("fail  history 3, step 173, in short:\n    LOG-FETCH-8 · ")
        assert said.out.endswith("300 requests in 2 histories, seed 3: 1 counterexample\n")
        assert {file.name for file in folder.iterdir()} == {"3-1.json", "3-1.py", "3-1.mmd"}
        assert "An asker that is ahead is refused" in html.read_text()
        assert command("--replay", str(folder / "3-1.json"), broker=broker, folder=folder) == 1
        assert capsys.readouterr().out.endswith("what differed then differs\n")
    with serving(settings=AT_ONCE) as broker:
        assert command("--replay", str(folder / "3-1.json"), broker=broker, folder=folder) == 0
        assert capsys.readouterr().out == "nothing differs\n"


def test_what_is_explored_is_told_in_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(flaw=flaw("A21"), settings=AT_ONCE) as broker:
        assert command("--explore", "200", "-o", "json", broker=broker, folder=tmp_path) == 1
    head, found, foot = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (head["explore"], head["seed"]) == ("200", SEED)
    assert (found["level"], found["rules"], found["verdict"]) == ("MUST", ["LOG-FETCH-8"], "fail")
    assert foot == {"requests": 200, "histories": 2, "unfinished": 0, "found": 1, "exit_status": 1}


def test_a_broker_that_keeps_the_rules_is_explored_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(settings=AT_ONCE) as broker:
        assert command("--explore", "120", broker=broker, folder=tmp_path / "found") == 0
        assert broker.topics == set()
    assert capsys.readouterr().out == "120 requests in 1 histories, seed 3: nothing differs\n" and not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--explore", "soon"], "not 'soon'"),
        (["--explore", "9", "--junit", "x.xml"], "--junit is about cases"),
        (["--replay", "/no/such/file"], "cannot replay /no/such/file"),
        (["--replay", __file__], "it cannot be read"),
    ],
)
def test_what_cannot_be_explored_is_refused_at_the_start(arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["conform", "127.0.0.1:1", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_an_interrupted_exploration_leaves_no_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Step] = []

    def interrupted(self: Pair, step: Step) -> list[Difference]:
        asked.append(step)
        if len(asked) > 20:
            raise KeyboardInterrupt
        return ask(self, step)

    ask = Pair.ask
    monkeypatch.setattr(Pair, "ask", interrupted)
    with serving(settings=AT_ONCE) as broker:
        assert command("--explore", "100", broker=broker, folder=tmp_path) == 130
        assert broker.topics == set()
    assert capsys.readouterr().err == "\nfiducial conform: interrupted\n"


def test_where_there_is_no_broker_there_is_nothing_to_explore(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(settings=AT_ONCE) as broker:
        gone = f"{broker.host}:{broker.port}"
    assert main(["conform", gone, "--explore", "10"]) == 3
    with serving(lambda *_: HANG_UP) as broker:
        assert main(["conform", f"{broker.host}:{broker.port}", "--explore", "10"]) == 3
    assert "does not answer ApiVersions" in capsys.readouterr().err


def test_what_a_broker_was_asked_before_it_died_can_be_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def dies(api_key: int, version: int, message: Any) -> Any:
        asked.append(api_key)
        return HANG_UP if asked.count(PRODUCE) > 20 else message

    with serving(dies, settings=AT_ONCE) as broker:
        assert command("--explore", "500", broker=broker, folder=tmp_path) == 3
    said = capsys.readouterr()
    assert "does not answer any more" in said.err and f"what it was asked last is in {tmp_path}/3-gone.json" in said.err
    assert re.search(r"[0-9]+ requests in [0-9]+ histories, 1 of them unfinished, seed 3: ", said.out)
    _, steps = traces.read((tmp_path / "3-gone.json").read_text())
    assert steps and all(isinstance(step, Step) for step in steps)


# Brokers as they are


def test_apache_kafka_is_explored_and_nothing_differs(kafka: Kafka, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["conform", kafka.bootstrap, "--explore", "1000", "--seed", "3", "--found", str(tmp_path)]) == 0, capsys.readouterr().out
    there, give_up = Remote("Apache Kafka", kafka.host, kafka.port), Deadline(30)
    while any(topic.name.startswith("conform-") for topic in talk(there, 3, m.MetadataRequest(None, False)).topics):
        assert not give_up.has_passed, "topics of ours are left"  # it answers a deletion before it has carried it out


#: Its history asks for a time that a segment has which is deleted, and lies there until the broker keeps house.
ASKS_OF_OLD_SEGMENTS = 5


@pytest.mark.parametrize("is_allowed_for", [True, False])
def test_a_broker_may_keep_house_in_the_middle_of_a_history(monkeypatch: pytest.MonkeyPatch, *, is_allowed_for: bool) -> None:
    if not is_allowed_for:
        monkeypatch.setattr(Pair, "has_kept_house", lambda *_: False)
    with exploring(honest, nullcontext, **{"log.retention.check.interval.ms": "1000"}) as (explorer, _):
        found = explorer.history(ASKS_OF_OLD_SEGMENTS, 225, Budget(requests=225))
        assert (found is None) is is_allowed_for and (explorer.reached["has kept house"] > 0) is is_allowed_for


def test_our_brokers_are_explored_and_nothing_differs(reference_broker: Address, fast_broker: Address, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for broker in (reference_broker, fast_broker):
        assert main(["conform", broker.bootstrap, "--explore", "600", "--seed", "4", "--found", str(tmp_path)]) == 0, capsys.readouterr().out

