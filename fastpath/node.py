"""One broker without sockets: whole frames and the time in, bytes to send out; everything that matters on the disk.

It is the core, the control plane over it, and the data folder under it. Who holds the sockets gives the next frames of a connection once the
ones before are finished (WIRE-FRAME-10), and asks `deadline` when to call `expire`.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from immutables import Map

from fiducial.fastpath import codec_objects, control, group_log, metadata_log
from fiducial.fastpath.alarms import Alarms
from fiducial.fastpath.batch import encode
from fiducial.fastpath.codec_objects import Malformed
from fiducial.fastpath.control import PartitionsView
from fiducial.fastpath.core import EVERYTHING, VERDICTS, Core, NoDescriptor, StorageFailed, identity
from fiducial.fastpath.data import CLEAN, DELETE, IDENTITY, LOG_STARTS, METADATA, RECOVERY_POINTS, STRAY, DataFolder
from fiducial.models import apis, broker, configs, events, restarts
from fiducial.models.errors import Error
from fiducial.models.group_requests import Groups
from fiducial.models.groups import Alarm, SetAlarm
from fiducial.models.idempotence import ProducerIdsReserved
from fiducial.models.log import LogConfig
from fiducial.models.settings import Settings
from fiducial.models.state import Broker, Cluster
from fiducial.models.topics import TopicCreated
from fiducial.models.values import changed

if TYPE_CHECKING:
    from fiducial.fastpath.core import FileTable, Slice, Unforced

log = logging.getLogger("fiducial")

SILENT, PARKED, COLD = (VERDICTS[name] for name in ("SILENT", "PARKED", "COLD"))
#: What ends a connection, and why.
ENDS = {
    VERDICTS["REFUSED"]: "refused without acks",
    VERDICTS["MALFORMED"]: "malformed request",
    VERDICTS["FAILED"]: "the disk failed",
}
INT16, LENGTH = struct.Struct(">h"), struct.Struct(">i")
#: From where a connection comes that nobody told of.
NOWHERE = ("", 0)
#: The core gives out none below 1.
NO_TICKET = 0


class Send(NamedTuple):
    """Send these bytes, if any, then slices of files and what stands between them: the connection's requests so far are finished."""

    connection: int
    data: bytes
    rest: Sequence[bytes | Slice] = ()


class Hangup(NamedTuple):
    """End the connection; `reason` is for the log."""

    connection: int
    reason: str


Action = Send | Hangup
Key = tuple[bytes, int]  # of a partition: topic id, index
#: Has something forced to the disk without holding up who calls, and then does what is to be done.
Elsewhere = Callable[["Unforced", Callable[[], list[Action]]], None]


class Waiting(NamedTuple):
    """A request that the control plane has not answered yet: where its answer goes, and how it is written."""

    connection: int
    api_key: int
    api_version: int
    correlation_id: int


@dataclass
class Progress:
    """How far a start has come: partitions taken up, and bytes of logs gone through, of how many; then bytes of records of groups read."""

    partitions: int
    partitions_all: int
    read_bytes: int
    read_bytes_all: int
    group_bytes: int = 0
    group_bytes_all: int = 0


class Node:
    """A broker on a data folder. DataError if the folder cannot be used, StorageFailed if it cannot be read or written."""

    def __init__(
        self,
        path: Path,
        cluster: Cluster,
        settings: Settings,
        seed: int,
        now: int,
        *,
        progress: Callable[[Progress], None] = lambda _progress: None,
        simulation: FileTable | None = None,
    ) -> None:
        self.data = DataFolder(path)
        self.waiting: dict[int, Waiting] = {}  # by ticket
        self.tickets: dict[int, int] = {}  # of a connection: the one that waits
        self.origins: dict[int, tuple[str, int]] = {}  # of a connection: the client's address, and by which listener it came
        self.alarms = Alarms()
        self.starts: dict[Key, int] = {}  # log starts that were raised into a segment, and may be written down
        self.elsewhere: Elsewhere | None = None
        try:
            self.data.check_is_ours()
            self.data.check_metadata()
            self.core = Core(str(path), cluster, settings, simulation)
            self.core.draw_session_id = self.draw_session_id
            fresh = broker.new_broker(cluster, settings, seed)
            cluster_id = self.data.cluster_id(self.core, cluster.broker_id, cluster_id_bytes(cluster.cluster_id))
            is_clean = self.data.was_stopped_cleanly(self.core)
            self.open_metadata(now)
            metadata_log.append(self.core, [restarts.BrokerStarted()], now)
            found, ids = metadata_log.replayed(self.core)
            view = cast(Any, PartitionsView(self.core))
            self.broker = changed(fresh, topics=found, producer_ids=ids, cluster=changed(cluster, cluster_id=cluster_id), partitions=view)
            so_far = self.load(is_clean, now, progress)
            kept = changed(self.broker, groups=self.load_groups(so_far, progress))
            self.broker, alarms = restarts.restarted(kept, now, view, [self.core.greatest_producer_id(restarts.MADE_UP_ID)])
            if self.broker.producer_ids.reserved > ids.reserved:
                metadata_log.append(self.core, [ProducerIdsReserved(self.broker.producer_ids.reserved)], now)
            for one in alarms:
                self.alarms.set(one.alarm, one.at_ms)
        except BaseException:
            self.data.release()
            raise

    # Starting and stopping

    def open_metadata(self, now: int) -> None:
        """The metadata log, in a folder of its own."""
        folder = os.fsencode(self.data.path / METADATA)
        self.core.make_folder(folder)
        self.core.open_metadata(folder, LogConfig(), self.data.log_files(METADATA)[0], now)

    def load(self, is_clean: bool, now: int, progress: Callable[[Progress], None]) -> Progress:
        """Every partition of every topic that the metadata log tells of. One without a folder was about to be made: it is empty."""
        log_starts, points = self.data.checkpoint(LOG_STARTS), self.data.checkpoint(RECOVERY_POINTS)
        epochs = restarts.leader_epochs(metadata_log.read(self.core))
        topics = sorted(self.broker.topics.by_name.values(), key=lambda topic: topic.name)  # in the same order at every start
        folders = self.own_folders()
        so_far = Progress(0, sum(topic.partitions for topic in topics), 0, self.data.log_bytes(folders))

        def read(size_bytes: int) -> None:
            so_far.read_bytes += size_bytes
            progress(so_far)

        self.core.on_read = read
        for topic in topics:
            self.core.name_topic(topic.topic_id, topic.name)
            config = configs.log_config(self.broker, topic)
            for index, epoch in enumerate(epochs[topic.topic_id]):
                key, folder = (topic.name, index), f"{topic.name}-{index}"
                if folder in folders:
                    files = self.data.log_files(folder)
                    trusted_below = EVERYTHING if is_clean else points.get(key, 0)
                    self.core.load(topic.topic_id, index, topic.name, config, *files, log_starts.get(key, 0), trusted_below, epoch, now)
                else:
                    self.core.create(topic.topic_id, index, topic.name, config, epoch, now)
                so_far.partitions += 1
                progress(so_far)
        self.starts = self.all_starts()
        for leftover in self.data.path.glob(f"*-{DELETE}"):
            shutil.rmtree(leftover)
        self.checkpoint()  # nothing in it of topics that are no more: one made anew has the same name
        return so_far

    def load_groups(self, so_far: Progress, progress: Callable[[Progress], None]) -> Groups:
        """What the records of groups come to."""
        so_far.group_bytes_all = group_log.size_bytes(self.core, self.broker.topics)

        def read(size_bytes: int) -> None:
            so_far.group_bytes += size_bytes
            progress(so_far)

        return group_log.replayed(self.core, self.broker.topics, read)

    def own_folders(self) -> set[str]:
        """The folders of partitions that there are. Others are out of the way: of a topic whose deletion a crash cut short they go, any
        other is renamed. One that does not say whose it is was just being made."""
        topics = self.broker.topics.by_name.values()
        expected = {f"{topic.name}-{index}": topic.topic_id for topic in topics for index in range(topic.partitions)}
        own = set()
        for folder, topic_id in self.data.partitions().items():
            if folder in expected and topic_id in (expected[folder], None):
                own.add(folder)
                if topic_id is None:
                    self.core.write_checkpoint(os.fsencode(self.data.path / folder / IDENTITY), identity(expected[folder]))
            elif topic_id in metadata_log.deleted(self.core):
                self.data.put_aside(self.core, folder, topic_id, DELETE)
            else:
                log.warning("%s holds the log of another topic; it is now %s", folder, self.data.put_aside(self.core, folder, topic_id, STRAY))
        return own

    def stop(self) -> None:
        """Everything on the disk, and a mark that it is; if the disk has failed, neither: then the next start looks at every log."""
        try:
            self.core.check_storage()
            for topic_id, index in self.core.partitions():
                self.core.finish(topic_id, index)
            self.starts = self.all_starts()
            self.checkpoint()
            self.core.write_checkpoint(os.fsencode(self.data.path / CLEAN), b'{"version":0,"brokerEpoch":-1}')
        except (StorageFailed, NoDescriptor) as error:
            log.error("not stopped cleanly: %s", error)
        self.close()

    def close(self) -> None:
        """Let go of the data folder, as it is."""
        self.core.close()
        self.data.release()

    def name(self, key: tuple[bytes, int]) -> tuple[str, int]:
        """A partition by its topic's name."""
        return self.broker.topics.by_id[key[0]], key[1]

    def checkpoint(self) -> None:
        """Up to where each log was forced to the disk, and where it begins. For want of a descriptor NoDescriptor."""
        points = ((self.name(key), self.core.recovery_point(*key)) for key in self.core.partitions())
        self.data.write_checkpoint(self.core, RECOVERY_POINTS, points)
        self.write_starts()

    def all_starts(self) -> dict[Key, int]:
        """Every log start, when all of the logs is on the disk."""
        return {key: self.core.marks(*key)[0][0] for key in self.core.partitions()}

    def write_starts(self) -> None:
        """The log starts that are not the beginning of the first segment, as far as they may be written down."""
        self.starts = {key: start for key, start in self.starts.items() if self.core.holds(*key) and start > self.core.kept_from(*key)}
        self.data.write_checkpoint(self.core, LOG_STARTS, ((self.name(key), start) for key, start in sorted(self.starts.items())))

    # Events

    def frame(self, connection: int, frame: bytes | bytearray | memoryview, now: int) -> list[Action]:
        """One frame, without its length."""
        return self.frames(connection, bytearray(LENGTH.pack(len(frame)) + frame), now)[2]

    def frames(self, connection: int, frames: bytearray | memoryview, now: int) -> tuple[int, bool, list[Action]]:
        """What came of a connection, a whole frame at its beginning; it may be written to. As many frames as can be are handled in one turn:
        how many bytes they had, whether the last one waits for its answer, and what is to be done."""
        _, listener = self.origins.get(connection, NOWHERE)
        verdict, taken = self.core.handle(connection, frames, now, listener)
        answers = self.answers()
        if verdict == COLD and not taken:
            taken = LENGTH.size + LENGTH.unpack_from(frames)[0]
            actions = self.cold(connection, bytes(frames[LENGTH.size : taken]), now)
            return taken, all(action.connection != connection for action in actions), actions
        if verdict == SILENT:
            answers.insert(0, Send(connection, b""))
        elif verdict in ENDS:
            own = [action for action in answers if action.connection == connection]
            others = [action for action in answers if action.connection != connection]
            answers = [*own, Hangup(connection, ENDS[verdict]), *others]
        return taken, verdict == PARKED, answers

    def answers(self) -> list[Action]:
        """What the core's last turn answered."""
        return [
            Send(connection, data, rest) if data is not None else Hangup(connection, "a segment cannot be read")
            for connection, data, rest in self.core.answers()
        ]

    def deadline(self) -> int:
        """When `expire` is to be called (ms); -1: nobody waits."""
        deadlines = [at_ms for at_ms in (self.core.next_deadline(), self.alarms.first_ms()) if at_ms >= 0]
        return min(deadlines, default=-1)

    def expire(self, now: int) -> list[Action]:
        """Answer the fetches whose time is up, and let the alarms ring that are due."""
        actions: list[Action] = []
        for ticket in self.core.expired(now):
            actions += self.timer(ticket, now)
        return actions + self.ring_due(now, now)

    def ring_due(self, due_ms: int, now: int) -> list[Action]:
        """Let the alarms ring that were due by then."""
        actions: list[Action] = []
        while (alarm := self.alarms.due(due_ms)) is not None:
            actions += self.ring(alarm, now)
        return actions

    def ring(self, alarm: Alarm, now: int) -> list[Action]:
        """One alarm of a group."""
        return self.happened(events.Ring(alarm), now)

    def expiry(self, now: int) -> list[Action]:
        """Old offsets, every offsets.retention.check.interval.ms."""
        return self.happened(events.OffsetExpiry(), now)

    def happened(self, event: events.Event, now: int) -> list[Action]:
        """An event that nobody asked for; if the disk fails, or by a fault of ours, it comes to nothing: others wait for theirs."""
        try:
            return self.decided(event, now)
        except StorageFailed as error:
            log.error("%s came to nothing: the disk failed: %s", event, error)
        except Exception:
            log.exception("%s came to nothing: internal error", event)
        return []

    def timer(self, ticket: int, now: int) -> list[Action]:
        """The deadline of one parked fetch."""
        self.core.time_out(ticket, now)
        return self.answers()

    def housekeeping(self, now: int) -> None:
        """Retention and producer expiry, every log.retention.check.interval.ms."""
        self.when_forced(self.core.keep_house(self.broker.settings.producer_id_expiration_ms, now), list)

    def when_forced(self, keys: list[Key], then: Callable[[], list[Action]]) -> list[Action]:
        """What is to be done when all that these partitions hold is on the disk, or cannot be: now, or later, `elsewhere`."""
        if not keys or self.core.storage_error:
            return then()
        unforced = self.core.unsynced_of(keys)
        if self.elsewhere is not None:
            self.elsewhere(unforced, then)
            return []
        self.force(unforced)
        return then()

    def force(self, unforced: Unforced) -> None:
        """Have it on the disk; if that fails, it is remembered."""
        with contextlib.suppress(StorageFailed):
            self.synced(unforced, self.core.sync(unforced))

    def synced(self, unforced: Unforced, failed: int) -> None:
        """It was forced to the disk. If that failed (the errno) StorageFailed: what the kernel could not write it forgets, and trying again would
        lie."""
        self.core.fail(failed)
        self.core.check_storage()
        self.core.synced(unforced)

    def connected(self, connection: int, address: str, listener: int = 0) -> None:
        """A connection begins, from this address, by this listener."""
        self.origins[connection] = broker.client_host(address), listener

    def disconnected(self, connection: int, now: int) -> list[Action]:
        """The connection is gone, and nobody listens for its answers."""
        self.core.disconnected(connection)
        self.origins.pop(connection, None)
        self.answered(self.tickets.get(connection, NO_TICKET))
        return []

    def answered(self, ticket: int) -> Waiting | None:
        """Nobody waits for the answer to a ticket any more; who did, if anybody."""
        waiting = self.waiting.pop(ticket, None)
        if waiting is not None:
            del self.tickets[waiting.connection]
        return waiting

    def draw_session_id(self) -> int:
        """The id of a new fetch session, as `models.fetch.begun` draws it."""
        drawn, chance = self.broker.chance.uuid()
        self.broker = changed(self.broker, chance=chance)
        return int.from_bytes(drawn[:4], "big") >> 1

    # The control plane

    def cold(self, connection: int, frame: bytes, now: int) -> list[Action]:
        """A request that the model decides."""
        if len(frame) < 4:
            return [Hangup(connection, "malformed request: it ends in its header")]
        api_key, api_version = INT16.unpack_from(frame)[0], INT16.unpack_from(frame, 2)[0]
        header = self.core.header(frame, apis.has_flexible_header(api_key, api_version))
        if header is None:
            return [Hangup(connection, "malformed request: it ends in its header")]
        correlation_id, client_id, position = header
        verdict = apis.verdict(api_key, api_version)
        if verdict is apis.Verdict.CLOSE:
            return [Hangup(connection, f"request {api_key} version {api_version} is not served")]
        if verdict is apis.Verdict.TELL_VERSIONS:
            return [Send(connection, framed(correlation_id, codec_objects.encode(apis.unsupported(), api_key, 0, "response"), is_flexible=False))]
        try:
            body = codec_objects.decode(frame, api_key, api_version, "request", position=position)
        except Malformed as error:
            return [Hangup(connection, f"malformed request: {error}")]
        name = client_id.decode("utf-8", "replace") if client_id is not None else None
        ticket = self.core.cold_ticket()
        request = events.Request(ticket, connection, name, api_version, body, *self.origins.get(connection, NOWHERE))
        assert connection not in self.tickets, "the request before is not finished"
        self.waiting[ticket], self.tickets[connection] = Waiting(connection, api_key, api_version, correlation_id), ticket
        try:
            return self.decided(request, now)
        except Exception as error:
            self.answered(ticket)
            if not isinstance(error, StorageFailed):
                raise
            return [Hangup(connection, f"the disk failed: {error}")]

    def decided(self, event: events.Event, now: int) -> list[Action]:
        """Let the model decide; then records to the disk, the core brought up to date, and the answers. StorageFailed if nothing came of it."""
        before = self.broker
        after, effects = broker.step(before, event, now)
        records = [effect.record for effect in effects if isinstance(effect, events.Persist)]
        has_changed = bool(records) or control.has_changed(after.partitions)
        promised: dict[Key, int] = {}
        if has_changed and self.core.storage_error and isinstance(event, events.Request):
            return self.replied(broker.not_persisted(effects), has_changed=False)
        if has_changed:
            self.core.check_storage()
            if records:
                metadata_log.append(self.core, records, now)
            promised = self.settle(after, records, now)
        else:
            self.broker = after
        effects, actions = self.append(before, effects, event, now)
        actions += self.trim([effect for effect in effects if isinstance(effect, events.Trim)], now)

        def reply() -> list[Action]:
            self.keep_starts(promised)
            return self.replied(effects, has_changed=has_changed)

        actions += self.when_forced(list(promised), reply)
        woken: list[Action] = []
        for effect in effects:
            match effect:
                case SetAlarm(alarm, at_ms):
                    self.alarms.set(alarm, at_ms)
                case events.Forget(topic_id):
                    self.core.forget_topic(topic_id, now)
                    woken += self.answers()
                case _:
                    pass
        return actions + woken

    def replied(self, effects: tuple[Any, ...], *, has_changed: bool) -> list[Action]:
        """The answers among these effects."""
        replies = [effect for effect in effects if isinstance(effect, events.Reply)]
        return [action for one in replies for action in self.answer(one.ticket, one.body, has_changed=has_changed)]

    def append(self, before: Broker, effects: tuple[Any, ...], event: events.Event, now: int) -> tuple[tuple[Any, ...], list[Action]]:
        """The broker's own records into their logs: the effects that are left to be done, and the answers to those who waited for them."""
        woken: list[Action] = []
        failed, reason = list[events.Append](), Error.NONE
        for effect in effects:
            if isinstance(effect, events.Append):
                batch = encode([(now, key, content) for key, content in effect.records])
                error = self.core.append(effect.topic_id, effect.partition, batch, now)
                woken += self.answers()
                if error:
                    failed.append(effect)
                    reason = Error(error)
        if failed:
            self.broker, effects = broker.not_stored(before, self.broker, effects, failed, event, reason, now)
        return effects, woken

    def trim(self, effects: list[events.Trim], now: int) -> list[Action]:
        """Logs that start later: all at once, for what one of them loses may stand in another; and each is on the disk before."""
        starts = {(effect.topic_id, effect.partition): effect.start for effect in effects}

        def raise_all() -> list[Action]:
            there = {key: start for key, start in starts.items() if self.core.holds(*key)}
            for key, start in there.items():
                self.core.raise_start(*key, start, now)
            self.keep_starts(there)
            return []

        return self.when_forced(list(starts), raise_all)

    def keep_starts(self, raised: dict[Key, int]) -> None:
        """These log starts are on the disk from now on, as what is below them is; if the disk has failed, that is remembered."""
        if not raised or self.core.storage_error:
            return
        self.starts |= {key: max(start, self.starts.get(key, 0)) for key, start in raised.items()}
        with self.remembering():
            self.write_starts()

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """What is written here cannot wait: if it fails, were it for want of a descriptor, the log directory is offline from now on."""
        try:
            yield
        except StorageFailed:
            pass
        except NoDescriptor as error:
            self.core.fail(cast(int, error.errno))

    def answer(self, ticket: int, body: Any, *, has_changed: bool) -> list[Action]:
        """An answer as bytes, if anybody listens. If the disk failed, what was decided is so, but nobody can say for how long."""
        waiting = self.answered(ticket)
        if waiting is None:
            return []
        if has_changed and self.core.storage_error:
            return [Hangup(waiting.connection, f"the disk failed: {os.strerror(self.core.storage_error)}")]
        data = codec_objects.encode(body, waiting.api_key, waiting.api_version, "response")
        is_flexible = apis.has_flexible_answer(waiting.api_key, waiting.api_version)
        return [Send(waiting.connection, framed(waiting.correlation_id, data, is_flexible))]

    def settle(self, after: Broker, records: list[Any], now: int) -> dict[Key, int]:
        """The core as the model left its view, also if the disk fails. Which log starts will be answered, and are yet to be on the disk? One that retention
        had raised may be among them."""
        view = cast(PartitionsView, after.partitions)
        for record in records:
            if isinstance(record, TopicCreated):
                self.core.name_topic(record.topic_id, record.name)
        names: Map[bytes, str] = after.topics.by_id
        starts, gone = control.applied(self.core, view, names, now)
        self.broker = changed(after, partitions=cast(Any, PartitionsView(self.core)))
        with self.remembering():
            if gone:
                self.checkpoint()  # nothing in it of topics that are no more
        for folder in gone:
            shutil.rmtree(os.fsdecode(folder), ignore_errors=True)
        return {key: start for key, start in starts.items() if start > max(self.starts.get(key, 0), self.core.kept_from(*key))}


def framed(correlation_id: int, body: bytes, is_flexible: bool) -> bytes:
    """Length, correlation id, tags if the header has them, body."""
    tags = b"\x00" if is_flexible else b""
    return struct.pack(">ii", 4 + len(tags) + len(body), correlation_id) + tags + body


def cluster_id_bytes(text: str) -> bytes:
    """The 16 bytes that a cluster's id stands for."""
    return base64.urlsafe_b64decode(text + "==")
