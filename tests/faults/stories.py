"""Crashes that chance seldom brings about: each story makes one image that a crash may leave, and has it judged."""

from __future__ import annotations

import fnmatch
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.check import Check, Lossy, Report
from faults.histories import HOUR_MS, SMALL
from faults.images import Image, Shadow
from faults.run import Run
from fiducial.models.restarts import Stop

#: The files of the first segment of the log that the stories are about, and of the second, which begins after three batches.
FIRST, SECOND = "a-0/00000000000000000000", "a-0/00000000000000000003"
INDEXES = (".index", ".timeindex")


@dataclass
class Stories:
    """Told in a folder; `cuts` images of power cuts at each operation, where a story is about every crash."""

    work: Path
    report: Report
    cuts: int
    folder: Path = field(init=False)  # of the story that is being told

    def tell(self) -> None:
        """Each of them; Violation at the first whose end is not allowed."""
        self.cut_in_the_middle("delete")
        self.cut_in_the_middle("compact")
        self.sent_again()
        self.begun_anew()
        self.forced_before_a_roll(is_told_again=False)
        self.forced_before_a_roll(is_told_again=True)
        self.forced_after_a_start()
        self.deleted_already()
        self.let_go_meanwhile()
        self.without_indexes()
        self.found_at_a_start()
        self.come_back()
        self.come_back_empty()
        self.left_behind()
        shutil.rmtree(self.folder)

    # What they have in common

    def begin(self, **config: str) -> Run:
        """A broker in a new folder, with one empty log; few batches fill a segment of it."""
        self.folder = self.work / "story"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        run = Run(self.folder / "run")
        run.start()
        run.create("a", 1, **{**SMALL, **config})
        return run

    def judged(self, run: Run, image: Image, stop: Stop = Stop.POWER_CUT) -> Check:
        """It is allowed that this is left at the end of the run."""
        check = Check(run, self.folder, self.report)
        check.one(image, run.steps[-1], stop)
        return check

    def every_crash(self, run: Run) -> None:
        """So is all that a crash in the run may leave."""
        Check(run, self.folder, self.report).every_crash(cuts=self.cuts, random=Random(1))

    # The stories

    def cut_in_the_middle(self, policy: str) -> None:
        """A power cut takes the last batch of a sealed segment that was not forced to the disk, and its entries in the indexes, but not the segment behind
        it. Chance seldom does all of that. However far the log was said to be on the disk, it has no gap."""
        run = self.begin(cleanup_policy=policy)
        produce(run, 4)
        run.checkpoint()
        run.kill()
        image = at_the_end(run).image({}, {})
        assert sorted(fnmatch.filter(image, "a-0/*.log")) == [f"{FIRST}.log", f"{SECOND}.log"]
        for suffix, kept in ((".log", 2), (".index", 1), (".timeindex", 1)):
            keep(image, FIRST + suffix, kept, kept + 1)
        check = self.judged(run, image)
        assert check.lossy[-1].broker.partitions[run.key("a")].log.end == 2

    def sent_again(self) -> None:
        """A batch is sent again under another policy than at first: then it is on the disk when it is answered."""
        run = self.begin()
        produce(run, 1, producer=5)
        run.configure("a", "flush.messages", "1")
        run.resend("a", 0, 5, 1, 0)
        run.kill()
        self.every_crash(run)

    def begun_anew(self) -> None:
        """A power cut takes a whole log, but not what was written down of its producers in the middle of it. Then the log comes there again by other
        batches, and the next power cut takes nothing but changes of names."""
        run = self.begin()
        produce(run, 4, producer=5)
        run.kill()
        image = at_the_end(run).image({}, {})
        assert fnmatch.filter(image, "a-0/*.window") == [f"{SECOND}.window"]
        image[f"{FIRST}.log"] = b""
        check = self.judged(run, image)
        second = check.act_after(check.lossy[-1])
        second.start()
        produce(second, 3, producer=6)
        second.kill()
        self.judged(second, with_names_back(at_the_end(second)))

    def forced_before_a_roll(self, *, is_told_again: bool) -> None:
        """All records are forced to the disk, and that is written down; then a segment begins, perhaps that is written down too, and a power cut takes the
        last entries in the indexes of the one before. They are not believed."""
        run = self.begin(flush_ms="100")
        produce(run, 3)
        run.flush(100)
        produce(run, 1)
        if is_told_again:
            run.checkpoint()
        run.kill()
        image = at_the_end(run).image({}, {})
        assert f"{SECOND}.log" in image
        for suffix in INDEXES:
            keep(image, FIRST + suffix, 1, 2)
        self.judged(run, image)

    def forced_after_a_start(self) -> None:
        """The same of a segment whose indexes a start has settled: a batch comes after that has no entry of its own, but the last one when the segment is
        sealed."""
        run = self.begin(index_interval_bytes="4096", flush_ms="100")
        produce(run, 1)
        run.kill()
        run.start()
        produce(run, 1)
        run.flush(100)
        run.now += 2 * HOUR_MS
        produce(run, 1)
        run.kill()
        image = at_the_end(run).image({}, {})
        assert len(image[f"{FIRST}.timeindex"] or b"") == 2 * 12, "an entry of the start, and the one of the seal"
        keep(image, f"{FIRST}.timeindex", 1, 2)
        self.judged(run, image)

    def deleted_already(self) -> None:
        """Somebody deletes records that retention has let go of, which no power cut brings back from then on."""
        run = self.begin()
        produce(run, 18, producer=5)
        run.keep_house()
        assert run.broker.partitions[run.key("a")].log.start > 0
        run.delete_records("a", 0, 1)
        run.draw_producer_id()  # the deletion has been answered
        run.kill()
        self.judged(run, with_names_back(at_the_end(run)))

    def let_go_meanwhile(self) -> None:
        """Retention lets go of segments that nothing has forced, and before another thread has forced what follows them, a batch is answered that is to be on
        the disk. A power cut takes nothing but what was not forced there, and brings those segments back: they do not stand in the batch's way."""
        run = self.begin()
        produce(run, 4, producer=5)
        later = forced_later(run)
        run.keep_house(11 * HOUR_MS)
        assert len(later) == 1
        run.configure("a", "flush.messages", "1")
        produce(run, 1, producer=5)
        run.draw_producer_id()  # the batch has been answered
        later.clear()
        run.kill()
        shadow = at_the_end(run)
        image = with_names_back(shadow, forced(shadow))
        assert f"{FIRST}.log" in image
        self.judged(run, image)

    def without_indexes(self) -> None:
        """The indexes of a segment that is forced are missing; while a start makes them anew, the process is killed, or the power cut."""
        run = self.begin()
        produce(run, 4)
        run.flush()
        run.kill()
        image = at_the_end(run).image({}, {})
        for suffix in INDEXES:
            del image[FIRST + suffix]
        check = Check(run, self.folder, self.report)
        second = check.act_after(Lossy(image, check.judge(check.found_on(image), run.steps[-1], Stop.POWER_CUT), {}))
        second.start()
        second.kill()
        self.every_crash(second)

    def found_at_a_start(self) -> None:
        """A kill leaves a file of producers that is not on the disk yet. The start that believes it lets older ones go, and of who wrote into a segment
        that is gone no other tells. Then a power cut takes nothing but what was not forced to the disk."""
        run = self.begin()
        produce(run, 1, producer=5)
        produce(run, 3, producer=6)
        run.flush()
        run.delete_records("a", 0, 3)
        run.keep_house()
        produce(run, 3, producer=6)
        run.kill()
        run.start()
        run.kill()
        shadow = at_the_end(run)
        image = shadow.image({}, forced(shadow))
        assert sorted(fnmatch.filter(image, "a-0/*.log")) == [f"{SECOND}.log", "a-0/00000000000000000006.log"]
        assert fnmatch.filter(image, "a-0/*.window") == ["a-0/00000000000000000006.window"]
        self.judged(run, image)

    def come_back(self) -> None:
        """A segment goes that lies below an answered log start, and then the log starts are written down again. A power cut brings it back: it takes
        nothing but changes of names."""
        run = self.begin()
        produce(run, 4)
        run.flush()
        run.delete_records("a", 0, 3)
        run.keep_house()
        run.checkpoint()
        run.kill()
        shadow = at_the_end(run)
        assert f"{FIRST}.log" not in shadow.image({}, {})
        image = with_names_back(shadow)
        assert f"{FIRST}.log" in image
        self.judged(run, image)

    def come_back_empty(self) -> None:
        """Retention lets go of a segment, and before another thread has forced anything of it, it is written down how far the log is on the disk. A power
        cut leaves the segment's name, and none of its records."""
        run = self.begin()
        produce(run, 1)
        later = forced_later(run)
        run.keep_house(11 * HOUR_MS)
        run.checkpoint()
        later.clear()
        run.kill()
        shadow = at_the_end(run)
        image = shadow.image({}, forced(shadow))
        assert image.get(f"{FIRST}.log") == b"" == image["a-0/00000000000000000001.log"]
        self.judged(run, image)

    def left_behind(self) -> None:
        """A power cut takes a batch in the middle, so all that is behind it goes. Another takes its place, just as long: what lay behind does not follow it."""
        run = self.begin()
        produce(run, 3)
        run.kill()
        image = at_the_end(run).image({}, {})
        content = image[f"{FIRST}.log"]
        assert content is not None
        size = len(content) // 3
        image[f"{FIRST}.log"] = content[:size] + bytes(size) + content[2 * size :]
        check = self.judged(run, image)
        second = check.act_after(check.lossy[-1])
        second.start()
        produce(second, 1)
        second.kill()
        self.judged(second, at_the_end(second).image({}, {}), Stop.KILLED)


def produce(run: Run, batches: int, *, producer: int = -1) -> None:
    """So many batches, of a record each."""
    for _ in range(batches):
        run.produce("a", producer=producer)


def forced_later(run: Run) -> list[object]:
    """What housekeeping would have forced to the disk from now on; another thread would, and has not come to it."""
    assert run.node is not None
    later: list[object] = []
    run.node.elsewhere = lambda *what: later.append(what)
    return later


def at_the_end(run: Run) -> Shadow:
    """The disk after all that was done."""
    shadow = Shadow(run.image)
    for operation in run.disk.operations:
        shadow.do(operation)
    return shadow


def with_names_back(shadow: Shadow, contents: dict[int, bytes] | None = None) -> Image:
    """No change of names is there that was not forced to the disk."""
    return shadow.image(dict.fromkeys(map(id, shadow.folders.values()), 0), contents or {})


def forced(shadow: Shadow) -> dict[int, bytes]:
    """Of each file what was forced to the disk."""
    return {number: file.durable for number, file in shadow.files.items()}


def keep(image: Image, path: str, parts: int, of: int) -> None:
    """Of a file so many equal parts are there, from its beginning."""
    content = image[path]
    assert content is not None and len(content) >= of
    image[path] = content[: len(content) * parts // of]
