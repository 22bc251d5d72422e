"""How a case is judged: each verdict comes where it should, at the step that decides it, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conform.brokers import HANG_UP, SAY_NOTHING, Broker, Tamper, honest, serving, without_api
from fiducial.conformance import codec, suite
from fiducial.conformance.abstraction import Difference
from fiducial.conformance.cases import Case, Odd, Step, Topic, Verdict, case, fetch, pipelined, produce
from fiducial.conformance.client import Unreachable
from fiducial.conformance.running import THE_END, Finding, Judge, Result, goes_on
from fiducial.conformance.suite.wire_requests import create, delete, identified, metadata, new, topics
from fiducial.conformance.symbols import Batch, OldIdOf, Record
from fiducial.conformance.target import Target
from fiducial.models import messages as m
from fiducial.models import specification
from fiducial.models.apis import APIS
from fiducial.models.values import changed

LEVELS = {rule.id: rule.level for rule in specification.rules().values()}
CASES = suite.every()
NEWEST_METADATA = APIS[3].max_version
PRODUCE, FETCH, METADATA, API_VERSIONS, CREATE_TOPICS = 0, 1, 3, 18, 19
SOUND = case("LOG-APPEND-1/sound", produce(Batch()), produce(Batch()), fetch())


@contextmanager
def judging(tamper: Tamper = honest, **settings: str) -> Iterator[tuple[Judge, Broker]]:
    """A judge, and the broker that it judges in few versions."""
    with serving(tamper, settings=settings) as broker:
        target = Target(broker.host, broker.port)
        target.versions[PRODUCE] = range(8, 11)
        yield Judge(target, LEVELS), broker


def judged(case: Case, tamper: Tamper = honest, **settings: str) -> Result:
    """What comes of a case."""
    with judging(tamper, **settings) as (judge, _):
        return judge.judge(case)


def on_produce(change: Callable[[m.PartitionProduceResponse], Any], *, since: int = 0) -> Tamper:
    """Tampers with each partition in a Produce answer."""

    def tamper(api_key: int, version: int, message: Any) -> Any:
        if api_key != PRODUCE or version < since:
            return message
        topics = [changed(topic, partition_responses=tuple(map(change, topic.partition_responses))) for topic in message.responses]
        return changed(message, responses=tuple(topics))

    return tamper


def instead(api_key: int, answer: Any) -> Tamper:
    """Answers one API with something else."""
    return lambda key, version, message: answer if key == api_key else message


def test_a_broker_that_answers_as_the_models_do_passes_in_every_version() -> None:
    result = judged(SOUND)
    assert (result.verdict, result.versions) == (Verdict.PASS, [8, 9, 10])


def test_a_wrong_answer_fails_at_its_step_and_place_in_the_versions_that_have_it() -> None:
    result = judged(SOUND, on_produce(lambda part: changed(part, base_offset=0), since=9))
    assert (result.verdict, result.versions) == (Verdict.FAIL, [9, 10])
    finding = result.worst.finding
    assert finding.step == 2 and finding.told.startswith("Produce v9 {acks -1")
    assert finding.differences == (Difference("responses[0].partition_responses[0].base_offset", 1, 0),)
    assert {entry.what for entry in result.worst.transcript.entries} > {"sent", "received"}


def test_batches_that_are_not_what_was_stored_fail() -> None:
    def shifts(key: int, version: int, message: Any) -> Any:
        if key != FETCH:
            return message
        (topic,) = message.responses
        (part,) = topic.partitions
        spoilt = part.records[:-1] + b"\x02"
        return changed(message, responses=(changed(topic, partitions=(changed(part, records=spoilt),)),))

    finding = judged(SOUND, shifts).worst.finding
    places = [one.place for one in finding.differences]
    assert places == ["responses[0].partitions[0].records[1].checksum", "responses[0].partitions[0].records[1].records"]


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (HANG_UP, THE_END),
        (b"\x00", "what is no answer: responses, byte 4: 4 bytes wanted, 1 are left"),
    ],
)
def test_no_answer_where_there_should_be_one_fails(answer: Any, got: str) -> None:
    result = judged(SOUND, instead(PRODUCE, answer))
    assert result.verdict is Verdict.FAIL and result.worst.finding.differences[0].got == got


def test_silence_fails_if_the_broker_answers_others_and_is_inconclusive_if_not() -> None:
    quick = changed(SOUND, deadline_s=0.2)
    result = judged(quick, instead(PRODUCE, SAY_NOTHING))
    assert result.verdict is Verdict.FAIL and result.worst.finding.differences[0].got == "silence"
    assert len(result.tellings) == 1  # it is not waited for again in every version
    falls_silent: list[int] = []

    def never_again(api_key: int, version: int, message: Any) -> Any:
        if api_key == PRODUCE:
            falls_silent.append(api_key)
        return SAY_NOTHING if api_key == PRODUCE else HANG_UP if falls_silent else message

    result = judged(quick, never_again)
    assert result.verdict is Verdict.INCONCLUSIVE and "none on another connection either" in result.worst.finding.note


def test_what_a_rule_allows_a_peer_is_nonstrict_and_the_story_goes_on() -> None:
    garbage = CASES["LOG-BATCH-13/garbage"]
    odd = on_produce(lambda part: changed(part, error_code=-1) if part.error_code else part)
    result = judged(garbage, odd)
    assert result.verdict is Verdict.NONSTRICT and result.worst.finding.step == 2
    assert result.worst.finding.differences[0].got == "UNKNOWN_SERVER_ERROR"
    assert sum(entry.told == "answer to Fetch v18" for entry in result.worst.transcript.entries) == 1
    other = judged(garbage, on_produce(lambda part: changed(part, error_code=2) if part.error_code else part))
    assert other.verdict is Verdict.FAIL


def test_a_story_ends_where_a_peer_took_what_we_refuse() -> None:
    refused_otherwise = Finding(Verdict.NONSTRICT, differences=(Difference("error_code", "INVALID_RECORD", "UNKNOWN_SERVER_ERROR"),))
    taken = Finding(Verdict.NONSTRICT, differences=(Difference("error_code", "MESSAGE_TOO_LARGE", "NONE"),))
    assert goes_on(refused_otherwise) and not goes_on(taken)
    assert goes_on(Finding(Verdict.PASS)) and not goes_on(Finding(Verdict.FAIL))


def test_where_kafka_itself_deviates_or_a_rule_may_be_kept_it_is_told_and_no_more() -> None:
    wrong = on_produce(lambda part: changed(part, base_offset=9))
    assert judged(changed(SOUND, is_info=True), wrong).verdict is Verdict.INFO
    assert judged(changed(SOUND, rules=("LOG-APPEND-8",)), wrong).verdict is Verdict.INFO
    assert judged(changed(SOUND, is_info=True)).verdict is Verdict.PASS


def test_what_is_not_advertised_is_not_judged() -> None:
    result = judged(SOUND, without_api(FETCH))
    assert result.verdict is Verdict.NOT_APPLICABLE and result.worst.finding.note == "Fetch not advertised"
    idempotent = changed(SOUND, producers=1)
    assert judged(idempotent, without_api(22)).worst.finding == Finding(Verdict.NOT_APPLICABLE, "InitProducerId not advertised")


def test_topics_that_are_not_to_be_had_are_no_fault() -> None:
    compacted = changed(SOUND, topics=(("a", Topic((("no.such.config", "1"),))),))
    result = judged(compacted)
    assert result.verdict is Verdict.UNSUPPORTED_SETUP and "CreateTopics answers INVALID_CONFIG" in result.worst.finding.note
    assert judged(SOUND, without_api(CREATE_TOPICS)).worst.finding.note == "CreateTopics is not served"


def test_a_fault_of_the_judge_is_told_apart() -> None:
    result = judged(changed(SOUND, story=(Step(m.ProduceRequest(acks=-1), version=99),)))
    assert result.verdict is Verdict.SUITE_ERROR and result.worst.finding.note == "ValueError: no layout of API 0 in version 99"


def test_no_two_tellings_share_a_producer() -> None:
    with judging() as (judge, _):
        one, other = judge.producer_ids(2), judge.producer_ids(2)
        assert len({*one, *other}) == 4


def test_topics_are_removed_whatever_comes_of_the_case() -> None:
    with judging(on_produce(lambda part: changed(part, base_offset=9))) as (judge, broker):
        assert broker.topics == set()
        assert judge.judge(SOUND).verdict is Verdict.FAIL
        assert judge.judge(changed(SOUND, story=(Step(m.ProduceRequest(), version=99),))).verdict is Verdict.SUITE_ERROR
        assert broker.topics == set()


def test_fetch_sessions_are_ended_whatever_comes_of_the_case() -> None:
    with judging(on_produce(lambda part: changed(part, base_offset=9))) as (judge, broker):
        judge.target.versions[FETCH] = range(12, 14)
        assert judge.judge(CASES["LOG-SESSION-1/begins"]).verdict is Verdict.FAIL
        assert judge.judge(CASES["LOG-SESSION-6/an-error"]).verdict is Verdict.PASS
        assert not broker.core.broker.sessions.by_id


def test_a_broker_that_does_not_remove_topics_is_judged_all_the_same() -> None:
    assert judged(SOUND, without_api(20)).verdict is Verdict.PASS


def test_the_oracle_has_the_defaults_that_topics_have_there() -> None:
    large = case("LOG-BATCH-8/by-default", produce(Batch((Record(content=bytes(500)),))), produce(Batch()), fetch())
    assert judged(large, message_max_bytes="300").verdict is Verdict.PASS
    assert judged(large).verdict is Verdict.PASS


def test_without_acks_nothing_is_heard_or_the_end() -> None:
    assert judged(CASES["LOG-PRODUCE-9/something-is-wrong"]).verdict is Verdict.PASS
    assert judged(CASES["LOG-PRODUCE-9/nothing-is-wrong"]).verdict is Verdict.PASS


def test_an_answer_to_what_has_none_fails() -> None:
    """The next request is then answered out of turn."""
    with serving() as broker:
        answer = broker.answer

        def answers_all(number: int, frame: bytes) -> bytes | None:
            given = answer(number, frame)
            body = codec.encode(m.ProduceResponse(), PRODUCE, 8, "response")
            return given if given != b"" else (4 + len(body)).to_bytes(4, "big") + frame[4:8] + body

        broker.answer = answers_all  # type: ignore[method-assign]
        target = Target(broker.host, broker.port)
        target.versions[PRODUCE] = range(8, 9)
        result = Judge(target, LEVELS).judge(CASES["LOG-PRODUCE-9/nothing-is-wrong"])
    assert result.verdict is Verdict.FAIL
    assert result.worst.finding.differences[0].got == "what is no answer: correlation id 1 where 2 was asked"


def test_an_id_that_is_given_twice_fails() -> None:
    def repeats(api_key: int, version: int, message: Any) -> Any:
        return changed(message, producer_id=7) if api_key == 22 else message

    result = judged(CASES["IDEM-ID-1/each-asker"], repeats)
    assert (result.verdict, result.worst.finding.step) == (Verdict.FAIL, 2)
    assert result.worst.finding.differences == (Difference("producer_id", "producer 1", "producer 0"),)


def test_a_broker_that_does_not_answer_is_unreachable() -> None:
    with serving(instead(API_VERSIONS, HANG_UP)) as broker, pytest.raises(Unreachable, match="does not answer ApiVersions"):
        Target(broker.host, broker.port)


NEW = case(
    "WIRE-TOPIC-40/new",
    create(new()),
    metadata("a", version=12),
    delete("a"),
    metadata("a", version=12),
    topics=topics("a"),
    sweep=None,
)


def test_topics_that_a_story_makes_are_known_by_their_ids_and_go_with_it() -> None:
    again = changed(NEW, story=(*NEW.story, create(new()), metadata(identified(OldIdOf("a")), identified("a"))))
    with judging() as (judge, broker):
        assert judge.judge(again).verdict is Verdict.PASS
        assert broker.topics == set()


def lagging(times: int) -> Tamper:
    """Says of topics that they are unknown, so many times before it tells the truth; but never in the newest version, in which the judge prepares."""
    asked: list[int] = []

    def tamper(api_key: int, version: int, message: Any) -> Any:
        if api_key != METADATA or version == NEWEST_METADATA or len(asked) >= times:
            return message
        asked.append(version)
        return changed(message, topics=tuple(changed(topic, error_code=3, partitions=(), topic_id=bytes(16)) for topic in message.topics))

    return tamper


def test_what_was_changed_may_take_a_moment_to_show_but_not_for_ever() -> None:
    def found(tamper: Tamper, patience_s: float) -> Verdict:
        with serving(tamper) as broker:
            return Judge(Target(broker.host, broker.port), LEVELS, patience_s=patience_s).judge(NEW).verdict

    assert found(lagging(3), 5) is Verdict.PASS
    assert found(lagging(3), 0) is Verdict.FAIL
    assert found(lagging(1000), 0.1) is Verdict.FAIL


def test_a_question_is_asked_again_only_behind_a_change() -> None:
    asks = case("WIRE-META-9/asks", metadata("a", version=12), sweep=None)
    assert judged(asks, lagging(1)).verdict is Verdict.FAIL


def test_what_others_may_notice_is_told_only_if_that_is_allowed() -> None:
    noticed = changed(SOUND, is_destructive=True)
    result = judged(noticed)
    assert result.verdict is Verdict.NOT_APPLICABLE and "--allow-destructive" in result.worst.finding.note
    with serving() as broker:
        assert Judge(Target(broker.host, broker.port), LEVELS, is_allowed_all=True).judge(noticed).verdict is Verdict.PASS


def test_what_a_story_did_is_undone_whatever_came_of_it() -> None:
    undo = delete("left-behind").body
    left = case("WIRE-TOPIC-40/left", create(new("left-behind")), metadata("a", version=12), sweep=None, afterwards=(undo,))
    with judging(lagging(1_000)) as (judge, broker):
        judge.patience_s = 0
        assert judge.judge(left).verdict is Verdict.FAIL
        assert broker.topics == set()


def test_some_stories_need_a_cluster_of_one_node() -> None:
    with judging() as (judge, _):
        judge.target.nodes = 3
        result = judge.judge(changed(NEW, needs_one_node=True))
    assert result.verdict is Verdict.UNSUPPORTED_SETUP and result.worst.finding.note == "a cluster of one node is needed, and this one has 3"


def test_a_story_in_a_version_that_the_broker_does_not_say_it_serves_is_not_told() -> None:
    asks = case("WIRE-META-9/asks", metadata("a", version=12), sweep=None)
    with judging() as (judge, _):
        assert judge.judge(asks).verdict is Verdict.PASS
        judge.target.advertised = {**judge.target.advertised, METADATA: (0, 11)}
        result = judge.judge(asks)
    assert result.verdict is Verdict.NOT_APPLICABLE and result.worst.finding.note.startswith("not advertised: Metadata v12")


def test_pipelined_requests_leave_together_and_frames_can_come_in_pieces() -> None:
    story = case("WIRE-FRAME-10/two", *pipelined(produce(Batch()), produce(Batch())), fetch(odd=Odd(piece=40)))
    result = judged(story)
    assert result.verdict is Verdict.PASS
    said = [entry.what for entry in result.tellings[0].transcript.entries]
    assert said[:5] == [said[0], "sent", "sent", "received", "received"]
