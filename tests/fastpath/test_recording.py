"""What a partition keeps of its transitions, for whoever asks the model the same; and where the ids of sessions come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastpath.folders import NOW, Ours, batch_of, create, delete, delete_records, look_up, produce, sent, stored, talk
from fiducial.models import messages as m
from fiducial.models.config_requests import Operation, Resource
from fiducial.models.errors import Error

Key = tuple[bytes, int]


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ours]:
    """A broker that keeps every transition."""
    with Ours(tmp_path) as broker:
        broker.node.core.record()
        yield broker


def kinds(ours: Ours, key: Key) -> list[str]:
    """What happened to a partition since the last time."""
    return [kind for kind, *_ in ours.node.core.recorded(*key)]


def configure(ours: Ours, topic: str, name: str, text: str) -> None:
    """Another configuration."""
    change = m.IncrementalAlterConfigsRequestAlterableConfig(name, Operation.SET, text)
    resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(Resource.TOPIC, topic, (change,))
    (done,) = talk(ours, m.IncrementalAlterConfigsRequest((resource,), False)).responses
    assert done.error_code == 0, done


# Transitions


def test_every_transition_is_kept_in_the_order_in_which_it_happened(ours: Ours) -> None:
    key = create(ours, "a", flush_messages="1"), 0
    produce(ours, "a", batch_of([NOW] * 2))
    stored(ours, "a")
    configure(ours, "a", "retention.ms", "5")
    delete_records(ours, "a", 1)
    ours.now += 10
    ours.node.housekeeping(ours.now)
    look_up(ours, "a", -1)
    # `stored` asks where the log begins, and reads until there is no more
    assert kinds(ours, key) == ["BEGIN", "PRODUCE", "COMMIT", "LOOK_UP", "FETCH", "FETCH", "CONFIGURE", "RAISE_START", "EXPIRE", "RETAIN", "LOOK_UP"]


def test_who_begins_to_keep_transitions_once_more_forgets_those_before(ours: Ours) -> None:
    key = create(ours, "a"), 0
    look_up(ours, "a", -1)
    ours.node.core.record()
    assert kinds(ours, key) == ["BEGIN"] and len(ours.node.core.configurations(*key)) == 1


def test_where_no_transitions_are_kept_there_are_none(tmp_path: Path) -> None:
    with Ours(tmp_path) as ours:
        key = create(ours, "a"), 0
        assert kinds(ours, key) == [] and ours.node.core.configurations(*key) == []


def test_a_transition_tells_when_it_happened_what_was_asked_and_what_came_of_it(ours: Ours) -> None:
    key, data = (create(ours, "a"), 0), batch_of([NOW + 5] * 3, producer=(7, 0, 0))
    ours.now += 5
    for _ in range(2):
        produce(ours, "a", data)
    refused = sent(ours, "a", batch_of([NOW], producer=(7, 0, 9)))
    assert refused.error_code == Error.OUT_OF_ORDER_SEQUENCE_NUMBER
    look_up(ours, "a", NOW + 1)
    begun, first, again, out_of_order, lookup = ours.node.core.recorded(*key)
    assert begun == ("BEGIN", NOW, (0, 0), b"", (0, 0, 0))
    assert first == ("PRODUCE", NOW + 5, (), data, (0, 0, 0, -1, 0, 3, 3))
    assert again == ("PRODUCE", NOW + 5, (), data, (0, 1, 0, NOW + 5, 0, 3, 3))
    assert out_of_order[4][:3] == (Error.OUT_OF_ORDER_SEQUENCE_NUMBER, 0, -1) and out_of_order[4][4:] == (0, 3, 3)
    assert lookup == ("LOOK_UP", NOW + 5, (NOW + 1, 0, -1, -1), b"", (0, 0, NOW + 5, 0))


def test_what_was_sent_is_kept_not_what_was_stamped(ours: Ours) -> None:
    key = create(ours, "a", message_timestamp_type="LogAppendTime", compression_type="zstd"), 0
    produce(ours, "a", batch_of([NOW]))
    second = batch_of([NOW, NOW])
    produce(ours, "a", second)
    assert ours.node.core.recorded(*key)[-1][3] == second != stored(ours, "a")[-len(second) :]


def test_transitions_are_told_once(ours: Ours) -> None:
    key = create(ours, "a"), 0
    assert kinds(ours, key) == ["BEGIN"] and kinds(ours, key) == []
    produce(ours, "a", batch_of([NOW]))
    assert kinds(ours, key) == ["PRODUCE"] and kinds(ours, key) == []


def test_those_of_a_partition_that_is_gone_are_told_too(ours: Ours) -> None:
    key = create(ours, "a"), 0
    produce(ours, "a", batch_of([NOW]))
    delete(ours, "a")
    assert kinds(ours, key) == ["BEGIN", "PRODUCE"] and kinds(ours, key) == []


def test_configurations_are_told_by_number(ours: Ours) -> None:
    key = create(ours, "a", retention_ms="1"), 0
    for text in ("2", "3"):
        configure(ours, "a", "retention.ms", text)
    numbers = [asked[-1] for kind, _, asked, *_ in ours.node.core.recorded(*key) if kind in {"BEGIN", "CONFIGURE"}]
    told = ours.node.core.configurations(*key)
    assert [told[number].retention_ms for number in numbers] == [1, 2, 3]
    assert told[-1] == ours.node.core.marks(*key)[2]


def test_of_a_partition_that_was_there_before_the_marks_are_kept_first(tmp_path: Path) -> None:
    with Ours(tmp_path) as ours:
        key = create(ours, "a"), 0
        ours.node.core.record()
        assert ours.node.core.recorded(*key) == [("BEGIN", NOW, (0, 0), b"", (0, 0, 0))]
        produce(ours, "a", batch_of([NOW]))
        assert kinds(ours, key) == ["PRODUCE"]


# Ids of sessions


def session(ours: Ours) -> int:
    """The id of a new one."""
    wanted = m.FetchTopic("a", partitions=(m.FetchPartition(0, partition_max_bytes=1000),))
    return int(talk(ours, m.FetchRequest(session_epoch=0, topics=(wanted,))).session_id)


def test_ids_of_sessions_are_drawn_by_the_control_plane_until_threads_draw_them(tmp_path: Path) -> None:
    with Ours(tmp_path) as ours:
        create(ours, "a")
        ids = iter((0, 5, 5, 6))
        ours.node.core.draw_session_id = lambda: next(ids)
        assert [session(ours), session(ours)] == [5, 6], "0 is none, and 5 was given out"
        ours.node.core.draw_session_ids_here()
        drawn = {session(ours) for _ in range(20)}
        assert len(drawn) == 20 and all(0 < one < 2**31 for one in drawn)
        assert next(ids, None) is None
