"""Apache Kafka passes; and so do our brokers, each as it is served.

FIDUCIAL_LONG=1 tells every case in every version, instead of in the oldest and newest. What our brokers answer must show at once, while Kafka is given a moment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from conftest import Address, serving
from peers.kafka import Kafka

from fiducial.conformance import suite
from fiducial.conformance.cases import Verdict
from fiducial.conformance.running import Judge, Result
from fiducial.conformance.target import Target
from fiducial.models import specification

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
#: What Apache Kafka 4.3.1 answers otherwise, as `Rung.also` allows it; each stands as `Kafka:` in the rule's text.
NONSTRICT = {
    "LOG-BATCH-13/garbage", "LOG-BATCH-13/unknown-codec", "LOG-BATCH-13/no-gzip", "LOG-BATCH-13/no-snappy", "LOG-BATCH-13/no-lz4", "LOG-BATCH-13/no-zstd",
    "LOG-BATCH-19/gzip", "LOG-BATCH-19/lz4", "LOG-BATCH-26/no-time", "LOG-BATCH-26/no-epoch",
}  # fmt: skip
#: Its own defects, seen.
INFO = {"LOG-BATCH-3/null"}


def judged(host: str, port: int, **how: Any) -> list[Result]:
    """What comes of every case."""
    target = Target(host, port)
    if not IS_LONG:
        target.versions = {key: range(served[0], served[-1] + 1, max(len(served) - 1, 1)) for key, served in target.versions.items()}
    judge = Judge(target, {rule.id: rule.level for rule in specification.rules().values()}, is_allowed_all=True, **how)
    return [judge.judge(case) for case in suite.every().values()]


def not_passed(results: list[Result]) -> dict[str, Any]:
    """What came of the cases that did not pass."""
    return {one.case.id: (one.verdict, one.worst.finding) for one in results if one.verdict is not Verdict.PASS}


def test_apache_kafka_passes(kafka: Kafka) -> None:
    found = not_passed(judged(kafka.host, kafka.port))
    assert {case: verdict for case, (verdict, _) in found.items()} == dict.fromkeys(NONSTRICT, Verdict.NONSTRICT) | dict.fromkeys(INFO, Verdict.INFO), found


def test_the_reference_broker_passes(reference_broker: Address) -> None:
    assert not not_passed(judged(reference_broker.host, reference_broker.port, patience_s=0))


def test_the_fast_broker_passes(tmp_path: Path) -> None:
    with serving("--data", str(tmp_path)) as address:
        assert not not_passed(judged(address.host, address.port, patience_s=0))
