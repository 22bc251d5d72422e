"""Fetch sessions: a client that fetches the same again and again says, and is told, only what is new (LOG-SESSION).

Below Fetch v7 there are none: the same stories are then told of full fetches.
"""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import Case, MadeAnew, Removed, Step, Topic, delete_records, fetch_from, produce, wanted
from fiducial.conformance.suite.batches import SOUND, TWO_TOPICS
from fiducial.conformance.suite.fetch import SOUND_BYTES, TWO_PARTITIONS, fetched
from fiducial.conformance.symbols import IdOf, Name, SessionId
from fiducial.models import messages as m

NEW, NONE = 0, -1
#: Fetch by names; by ids.
BY_NAME, BY_ID = 12, 13


def begun(*topics: m.FetchTopic, **more: Any) -> Step:
    """A full fetch that begins a session."""
    return fetch_from(*topics or (wanted(),), session=(0, NEW), **more)


def incremental(epoch: int, *topics: m.FetchTopic, session: int = 0, **more: Any) -> Step:
    """The fetch of this epoch in a session."""
    return fetch_from(*topics, session=(SessionId(session), epoch), **more)


def forgotten(*indexes: int, topic: str = "a") -> tuple[m.ForgottenTopic, ...]:
    """Partitions that are not to be read any more."""
    name: Any = Name(topic)
    topic_id: Any = IdOf(topic)
    return (m.ForgottenTopic(name, topic_id, indexes),)


BEGINNINGS = (
    fetched("LOG-SESSION-1/begins", produce(SOUND), begun(), begun(), incremental(1), incremental(1, session=1)),
    fetched("LOG-SESSION-1/of-no-partition", produce(SOUND), fetch_from(session=(0, NEW)), incremental(1, wanted()), incremental(2)),
    fetched("LOG-SESSION-1/without", produce(SOUND), fetch_from(wanted(), session=(0, NONE)), incremental(1)),
    fetched("LOG-SESSION-1/ends", produce(SOUND), begun(), fetch_from(wanted(), session=(SessionId(), NONE)), incremental(1), also=("LOG-SESSION-2",)),
    fetched(
        "LOG-SESSION-1/begins-anew",
        produce(SOUND),
        begun(),
        incremental(1),
        fetch_from(wanted(), session=(SessionId(), NEW)),
        incremental(2),
        incremental(1, session=1),
        also=("LOG-SESSION-2",),
    ),
    fetched("LOG-SESSION-1/on-another-connection", produce(SOUND), begun(), incremental(1, connection=2), incremental(2)),
    fetched("LOG-SESSION-2/never-begun", produce(SOUND), incremental(1, wanted())),
    fetched("LOG-SESSION-3/ahead-and-behind", produce(SOUND), begun(), incremental(2), incremental(-2), incremental(1), incremental(1), incremental(2)),
    fetched(
        "LOG-SESSION-3/what-was-refused-changed-nothing",
        produce(SOUND),
        begun(),
        incremental(7, wanted(1), forgotten=forgotten(0)),
        incremental(1),
    ),
    fetched("LOG-SESSION-4/names-then-ids", produce(SOUND), begun(version=BY_NAME), incremental(1, version=BY_ID), incremental(1, version=BY_NAME), sweep=None),
    fetched("LOG-SESSION-4/ids-then-names", produce(SOUND), begun(version=BY_ID), incremental(1, version=BY_NAME), incremental(1, version=BY_ID), sweep=None),
    fetched("LOG-SESSION-5/in-order", produce(SOUND), begun(), *(incremental(epoch) for epoch in range(1, 6))),
)

NEWS = (
    fetched(
        "LOG-SESSION-6/records",
        begun(wanted(), wanted(index=1)),
        incremental(1),
        produce(SOUND, index=1),
        incremental(2),
        incremental(3),
        incremental(4, wanted(1, index=1)),
        incremental(5),
        topics=TWO_PARTITIONS,
    ),
    fetched(
        "LOG-SESSION-6/log-start",
        *[produce(SOUND)] * 3,
        begun(wanted(3), wanted(index=1)),
        delete_records(2),
        incremental(1),
        incremental(2),
        topics=TWO_PARTITIONS,
    ),
    fetched(
        "LOG-SESSION-6/high-watermark",
        produce(SOUND),
        begun(wanted(), wanted(index=1), max_bytes=SOUND_BYTES),
        produce(SOUND, index=1),
        incremental(1, max_bytes=SOUND_BYTES),
        incremental(2, wanted(1), max_bytes=SOUND_BYTES),
        topics=TWO_PARTITIONS,
    ),
    fetched("LOG-SESSION-6/an-error", begun(wanted(9), wanted(index=1)), incremental(1), incremental(2, wanted(0)), incremental(3), topics=TWO_PARTITIONS),
    fetched("LOG-SESSION-6/what-does-not-exist", begun(wanted(), wanted(index=7)), incremental(1), incremental(2), also=("LOG-FETCH-4",)),
    fetched("LOG-SESSION-7/made-anew", produce(SOUND), begun(), Step(MadeAnew("a")), incremental(1), incremental(2)),
    fetched("LOG-SESSION-7/deleted", produce(SOUND), begun(), Step(Removed("a")), incremental(1), incremental(2), also=("LOG-FETCH-4",)),
    fetched(
        "LOG-SESSION-9/to-the-end-of-the-line",
        produce(SOUND),
        produce(SOUND, index=1),
        begun(wanted(), wanted(index=1), max_bytes=SOUND_BYTES),
        *(incremental(epoch, max_bytes=SOUND_BYTES) for epoch in range(1, 5)),
        topics=TWO_PARTITIONS,
    ),
    fetched(
        "LOG-SESSION-9/the-rest-keep-their-places",
        *(produce(SOUND, index=index) for index in range(3)),
        begun(wanted(index=2), wanted(), wanted(index=1), max_bytes=2 * SOUND_BYTES),
        *(incremental(epoch, max_bytes=2 * SOUND_BYTES) for epoch in range(1, 5)),
        topics=(("a", Topic(partitions=3)),),
    ),
)

CHANGES = (
    fetched("LOG-SESSION-10/another-offset", produce(SOUND), produce(SOUND), begun(), incremental(1, wanted(1)), incremental(2), incremental(3, wanted(2)), incremental(4)),
    fetched("LOG-SESSION-10/the-leader-epoch-stays", produce(SOUND), begun(wanted(leader_epoch=9)), incremental(1), incremental(2), also=("LOG-FETCH-8",)),
    fetched("LOG-SESSION-10/one-more", produce(SOUND, topic="b"), begun(), incremental(1, wanted(topic="b")), incremental(2), topics=TWO_TOPICS),
    fetched(
        "LOG-SESSION-10/forgotten",
        produce(SOUND),
        produce(SOUND, index=1),
        begun(wanted(), wanted(index=1)),
        incremental(1, forgotten=forgotten(0)),
        incremental(2),
        incremental(3, wanted()),
        topics=TWO_PARTITIONS,
    ),
    fetched(
        "LOG-SESSION-10/named-and-forgotten",
        produce(SOUND),
        produce(SOUND, index=1),
        begun(wanted(), wanted(index=1)),
        incremental(1, wanted(), forgotten=forgotten(0)),
        incremental(2),
        topics=TWO_PARTITIONS,
    ),
    fetched("LOG-SESSION-10/forgotten-that-was-not-there", produce(SOUND), begun(), incremental(1, forgotten=forgotten(1)), incremental(2), topics=TWO_PARTITIONS),
    fetched("LOG-SESSION-11/all-forgotten", produce(SOUND), begun(), incremental(1, forgotten=forgotten(0)), incremental(2)),
    fetched("LOG-SESSION-11/named-and-forgotten", produce(SOUND), begun(), incremental(1, wanted(), forgotten=forgotten(0)), incremental(2)),
)

#: An epoch that a session remembers, and a version that cannot tell of a divergence.
OLD_VERSION = (
    fetched(
        "LOG-FETCH-6/told-in-a-version-that-cannot",
        *[produce(SOUND)] * 2,
        begun(wanted(5, last_epoch=0), version=BY_NAME),
        incremental(1, version=BY_NAME - 1),
        sweep=None,
        is_info=True,
    ),
)

CASES: tuple[Case, ...] = (*BEGINNINGS, *NEWS, *CHANGES, *OLD_VERSION)
