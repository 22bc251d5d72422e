"""A broker that has no memory for what a client sends, or that is told to stop while it has something large in hand: who suffers, and how it ends."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from fastpath.folders import NOW, batch_of, create, produce
from fastpath.served import PATIENCE_S
from fastpath.test_descriptors import Broker, serving
from fastpath.test_epoll import LONG_MS, VERSIONS, framed
from fastpath.test_turns import fetched
from fiducial.conformance.exploration.steps import request_frame
from fiducial.models import messages as m

METADATA, DELETE_RECORDS = 3, 21
A_WHILE_S = 0.2
LARGE_BYTES, MORE_BYTES = 100_000_000, 20_000_000
#: So many topics that are not there take the control plane a second or more.
MANY = 300_000


def leave_memory(broker: Broker, size: int) -> None:
    """It may have so much more than it has."""
    has = int(Path(f"/proc/{broker.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(broker.process.pid, resource.RLIMIT_AS, (has + size, resource.RLIM_INFINITY))


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="NOT RUN: a sanitizer takes memory as it likes")
def test_whose_large_frame_finds_no_memory_is_hung_up_on_once(tmp_path: Path) -> None:
    frame = framed(VERSIONS.ljust(LARGE_BYTES, b"\0"))
    with serving(tmp_path) as broker, broker.connect() as writer, broker.connect() as client:
        create(writer, "a")
        client.send(fetched("a", 0, LONG_MS))
        for begin, end in ((0, 2), (2, 300_000)):  # its size is not known at first, and then it waits
            time.sleep(A_WHILE_S)
            client.socket.sendall(frame[begin:end])
        time.sleep(A_WHILE_S)
        leave_memory(broker, MORE_BYTES)
        assert produce(writer, "a", batch_of([NOW])) == 0
        assert client.answer() is not None
        client.socket.sendall(frame[300_000:400_000])
        assert client.answer() is None
        assert writer.ask(VERSIONS) is not None
        assert broker.said("no memory") == 1


def test_what_comes_before_the_end_and_is_heard_after_it_is_no_fault(tmp_path: Path) -> None:
    names = tuple(m.MetadataRequestTopic(name=f"{number}") for number in range(MANY))
    entry = m.DeleteRecordsTopic("a", (m.DeleteRecordsPartition(0, 1),))
    with serving(tmp_path) as broker, broker.connect() as client, broker.connect() as other:
        create(client, "a")
        assert produce(client, "a", batch_of([NOW, NOW])) == 0
        other.send(request_frame(METADATA, 9, m.MetadataRequest(names, allow_auto_topic_creation=False)))
        time.sleep(A_WHILE_S)
        client.send(request_frame(DELETE_RECORDS, 2, m.DeleteRecordsRequest((entry,), 10_000)))
        time.sleep(A_WHILE_S)
        broker.process.send_signal(signal.SIGTERM)
        assert broker.process.wait(PATIENCE_S) == 0
        assert broker.said("internal error") == 0
