"""The scripts that obtain other brokers say so when they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers import kafka, kafka_python
from peers.kafka import NOT_RUN, Kafka, PeerUnavailable

from fiducial.cli.verify import PEER_UNAVAILABLE


def test_without_java_there_is_no_apache_kafka(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path))
    (tmp_path / f"kafka-{kafka.VERSION}").mkdir()
    with pytest.raises(PeerUnavailable, match="java is not installed"), Kafka():
        pass
    assert kafka.main(["--check"]) == NOT_RUN == PEER_UNAVAILABLE
    assert "NOT RUN: java is not installed" in capsys.readouterr().err


def test_without_maven_there_are_no_jars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path / "empty"))
    with pytest.raises(PeerUnavailable, match="mvn is not installed"):
        kafka.jars()


def test_apache_kafka_answers_while_its_block_runs(kafka: Kafka) -> None:
    assert kafka.answers()
    assert kafka.bootstrap == f"{kafka.host}:{kafka.port}"
    assert kafka.log_path.exists()


def test_without_a_package_index_there_are_no_tests_of_kafka_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FIDUCIAL_PEERS_DIR", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PeerUnavailable, match="pip could not get kafka-python"):
        kafka_python.source()
    assert not list(tmp_path.iterdir())
