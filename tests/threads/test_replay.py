"""The replay can fail: a story that is told wrongly is not believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastpath.folders import NOW

from fiducial.conformance.batches import Item, build
from fiducial.fastpath.core import Core
from fiducial.models.log import LogConfig
from fiducial.models.settings import parse
from fiducial.models.state import Cluster
from threads.replay import Parted, Replay, Transition

TOPIC, KEY = "a", (bytes(16), 0)
CONFIG = LogConfig(segment_bytes=200)
#: Records of a producer, and a resend.
BATCHES = [build([Item(NOW)] * 2, producer=(7, 0, sequence)) for sequence in (0, 2, 2, 4)]


@pytest.fixture
def core(tmp_path: Path) -> Core:
    """A core that has recorded a few appends, and a configuration that changed in between."""
    made = Core(str(tmp_path), Cluster("ZmlkdWNpYWxmaWR1Y2lhbA", 1, "127.0.0.1", 9092), parse({}))
    made.record()
    made.create(*KEY, TOPIC, CONFIG, 0, NOW)
    for number, batch in enumerate(BATCHES):
        made.append(*KEY, batch, NOW + number)
        if number == 1:
            made.configure(*KEY, LogConfig(segment_bytes=200, append_time=True), NOW)
    made.keep_house(1000, NOW)
    return made


def recorded(core: Core) -> list[Transition]:
    """What it recorded."""
    return [Transition(*one) for one in core.recorded(*KEY)]


def tell(story: list[Transition], core: Core, folder: Path) -> Replay:
    """The story told to the model, and the model held against the core."""
    replay = Replay()
    replay.take(story, core.configurations(*KEY))
    replay.check_state(core, *KEY, folder / f"{TOPIC}-0")
    return replay


def test_a_true_story_is_believed(core: Core, tmp_path: Path) -> None:
    replay = tell(recorded(core), core, tmp_path)
    assert replay.kinds == {"BEGIN": 1, "PRODUCE": 3, "PRODUCE duplicate": 1, "CONFIGURE": 1, "EXPIRE": 1, "RETAIN": 1}


SPOILT: dict[str, Callable[[list[Transition]], list[Transition]]] = {
    "two steps in the other order": lambda story: [story[0], story[2], story[1], *story[3:]],
    "a step that nobody tells of": lambda story: [*story[:2], *story[3:]],
    "a step that is told twice": lambda story: [*story[:2], story[1], *story[2:]],
    "another time": lambda story: [*story[:4], story[4]._replace(now=NOW - 1), *story[5:]],
    "a high watermark that lags behind": lambda story: [*story[:1], story[1]._replace(came=(*story[1].came[:5], 0, story[1].came[6])), *story[2:]],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=list(SPOILT))
def test_a_story_told_wrongly_is_not_believed(core: Core, tmp_path: Path, spoil: Callable[[list[Transition]], list[Transition]]) -> None:
    story = spoil(recorded(core))
    with pytest.raises(Parted):
        tell(story, core, tmp_path)


def test_files_that_hold_other_bytes_are_noticed(core: Core, tmp_path: Path) -> None:
    first = min((tmp_path / f"{TOPIC}-0").glob("*.log"))
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    with pytest.raises(Parted, match="the bytes of the log"):
        tell(recorded(core), core, tmp_path)
