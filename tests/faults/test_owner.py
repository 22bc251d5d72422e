"""A data folder has one owner: who else starts on it is refused, and told why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from faults.run import CLUSTER, NOON_MS
from fiducial.fastpath.data import DataError
from fiducial.fastpath.node import Node
from fiducial.models.settings import parse
from fiducial.models.values import changed

SERVE = (sys.executable, "-m", "fiducial", "serve", "--listen", "127.0.0.1:0")


@pytest.mark.rule("LOG-RESTART-13")
def test_a_second_broker_on_a_folder_is_refused(tmp_path: Path) -> None:
    node = Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS)
    with pytest.raises(DataError, match=r"data belongs to another broker that is running"):
        Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS)
    node.stop()
    Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS).stop()


#: Takes the lock of a folder as Apache Kafka does, and holds it until its input ends.
KAFKAS_LOCK = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('held', flush=True); sys.stdin.read()"


@pytest.mark.rule("LOG-RESTART-13")
def test_neither_runs_on_a_folder_on_which_apache_kafka_does_nor_the_other_way_round(tmp_path: Path) -> None:
    node = Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS)
    command = [sys.executable, "-c", KAFKAS_LOCK, str(tmp_path / "data" / ".lock")]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 1
    node.stop()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=r"data belongs to another broker that is running"):
            Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS)
    Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS).stop()


@pytest.mark.rule("LOG-RESTART-13")
def test_a_folder_of_another_broker_is_refused(tmp_path: Path) -> None:
    Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS).stop()
    other = changed(CLUSTER, broker_id=2)
    with pytest.raises(DataError, match=r"data belongs to broker 1, not 2"):
        Node(tmp_path / "data", other, parse({}), 1, NOON_MS)
    Node(tmp_path / "data", CLUSTER, parse({}), 1, NOON_MS).stop()


@pytest.mark.rule("LOG-RESTART-13")
@pytest.mark.parametrize("is_kafkas", [False, True])
def test_what_looks_like_partitions_in_a_folder_of_others_is_left_alone(is_kafkas: bool, tmp_path: Path) -> None:
    (tmp_path / "photos-2024").mkdir()
    (tmp_path / "photos-2024" / "notes").write_text("of somebody")
    if is_kafkas:
        (tmp_path / "meta.properties").write_text("version=1\ncluster.id=fiducialfiducialfiduci\nnode.id=1\n")
        (tmp_path / "__cluster_metadata-0").mkdir()
    with pytest.raises(DataError, match=r"holds .*, of which no broker of ours knows anything: it needs a folder of its own"):
        Node(tmp_path, CLUSTER, parse({}), 1, NOON_MS)
    assert (tmp_path / "photos-2024" / "notes").exists() and not (tmp_path / "metadata").exists()


@pytest.mark.rule("LOG-RESTART-13")
def test_the_second_process_on_a_folder_ends_with_a_clear_error(tmp_path: Path) -> None:
    command = [*SERVE, "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None and first.stdout.readline().startswith("listening on")
            second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert second.returncode == 1
            assert second.stderr == f"fiducial: {tmp_path / 'data'} belongs to another broker that is running\n"
            assert second.stdout == ""
        finally:
            first.kill()
