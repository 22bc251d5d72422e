"""Apache Kafka passes; and so do our brokers, each as it is served.

FIDUCIAL_LONG=1 tells every case in every version, instead of in a few. What our brokers answer must show at once, while Kafka is given a moment.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Address, serving
from peers.kafka import Kafka

from conform.brokers import few
from fiducial.conformance import suite
from fiducial.conformance.cases import Case, Verdict
from fiducial.conformance.running import Judge, Result
from fiducial.conformance.target import Target
from fiducial.models import specification

IS_LONG = os.environ.get("FIDUCIAL_LONG") == "1"
#: What Apache Kafka 4.3.1 answers otherwise, as `Rung.also` allows it; each stands as `Kafka:` in the rule's text.
NONSTRICT = {
    "LOG-BATCH-13/garbage", "LOG-BATCH-13/unknown-codec", "LOG-BATCH-13/no-gzip", "LOG-BATCH-13/no-snappy", "LOG-BATCH-13/no-lz4", "LOG-BATCH-13/no-zstd",
    "LOG-BATCH-19/gzip", "LOG-BATCH-19/lz4", "LOG-BATCH-25/packed-by-zstd", "LOG-BATCH-26/no-time", "LOG-BATCH-26/no-epoch",
    "LOG-FETCH-10/no-replica-there", "LOG-READ-10/unknown-isolation-level", "LOG-READ-12/limit-of-a-partition", "LOG-READ-12/limit-of-the-request",
    "LOG-TIME-8/unknown-isolation-level",
    "WIRE-TOPIC-19/dot-and-underscore", "WIRE-TOPIC-33/too-many", "WIRE-META-2/alone", "WIRE-META-2/beside-names", "WIRE-CONFIG-23/four",
    "WIRE-CONFIG-23/negative", "WIRE-CONFIG-24/logger", "WIRE-CONFIG-24/group", "WIRE-CONFIG-25/taken", "WIRE-CONFIG-29/unknown",
}  # fmt: skip
#: Its own defects, seen.
INFO = {
    "LOG-BATCH-3/null", "LOG-FETCH-6/told-in-a-version-that-cannot", "LOG-FETCH-9/zero-id-twice", "LOG-PRODUCE-6/a-refusal-is-overruled",
    "WIRE-TOPIC-33/behind-too-many", "WIRE-PARTS-3/no-name", "WIRE-CONFIG-20/replaced-twice", "GROUP-STATE-4/joins-twice", "GROUP-LEAVE-3/it-waits-to-sync",
    "GROUP-OFFSET-6/too-large-a-count", "GROUP-OFFSET-6/too-long-a-name", "GROUP-OFFSET-6/too-much-user-data",
}  # fmt: skip
#: The same, of a Kafka that looks after its producers often.
INFO_OFTEN = {"IDEM-EXPIRE-1/old-timestamps"}

#: It answers otherwise once somebody has asked it for a transaction coordinator, in whatever test.
BY_WHO_ASKED = {"IDEM-ID-5/no-coordinator": Verdict.NONSTRICT, "LOG-PRODUCE-10/no-coordinator": Verdict.NONSTRICT}

CASES = suite.every()
#: What can be told of a broker as it comes; and what shows only where it is told to look often, and to return little.
SPECIAL = [case for case in CASES.values() if case.settings or case.at_least]
EVERYDAY = [case for case in CASES.values() if case not in SPECIAL]
SETTINGS = {
    "log.retention.check.interval.ms": "50", "fetch.max.bytes": "100000", "producer.id.expiration.ms": "1000", "group.max.size": "2",
    "offsets.retention.check.interval.ms": "50", "group.initial.rebalance.delay.ms": "3000",
}  # fmt: skip
KAFKAS_OWN = {"log.initial.task.delay.ms": "0", "producer.id.expiration.check.interval.ms": "50"}
OTHERWISE = {
    "auto.create.topics.enable": "false", "broker.rack": "a-rack", "compression.type": "gzip", "log.cleanup.policy": "compact,delete",
    "log.message.timestamp.type": "LogAppendTime", "log.retention.bytes": "123456", "log.retention.hours": "100", "log.roll.hours": "5",
    "max.request.partition.size.limit": "5", "message.max.bytes": "5000", "num.partitions": "3", "socket.request.max.bytes": "1000000",
}  # fmt: skip
#: Cases that are decided by how a broker, or a cluster, is set up.
BY_SET_UP = (
    "WIRE-META-", "WIRE-PARTS-", "WIRE-CLUSTER-", "WIRE-DIRS-", "WIRE-TOPIC-16/", "WIRE-TOPIC-17/", "WIRE-CONFIG-2/", "WIRE-CONFIG-3/", "WIRE-CONFIG-15/",
    "WIRE-CONFIG-16/", "WIRE-CONFIG-31/",
)  # fmt: skip
#: Of groups, which are told last: their topic would fill a page of partitions that is so small.
OF_GROUPS = ("GROUP-FIND-", "GROUP-MEMBER-2/", "GROUP-COMMIT-1/", "GROUP-LIST-3/")
OPTIONS = [option for name, text in SETTINGS.items() for option in ("--set", f"{name}={text}")]


def judged(host: str, port: int, cases: Sequence[Case] = EVERYDAY, **how: Any) -> list[Result]:
    """What comes of cases."""
    target = Target(host, port)
    if not IS_LONG:
        target.versions = few(target.versions)
    judge = Judge(target, {rule.id: rule.level for rule in specification.rules().values()}, is_allowed_all=True, **how)
    with closing(judge):
        judge.begin(cases)
        return [judge.judge(case) for case in cases]


def not_passed(results: list[Result]) -> dict[str, Any]:
    """What came of the cases that did not pass."""
    return {one.case.id: (one.verdict, one.worst.finding) for one in results if one.verdict is not Verdict.PASS}


def verdicts(found: dict[str, Any]) -> dict[str, Verdict]:
    """The verdicts alone."""
    return {case: verdict for case, (verdict, _) in found.items()}


def test_apache_kafka_passes(fresh_kafka: Kafka) -> None:
    found = not_passed(judged(fresh_kafka.host, fresh_kafka.port))
    assert dict(verdicts(found).items() - BY_WHO_ASKED.items()) == dict.fromkeys(NONSTRICT, Verdict.NONSTRICT) | dict.fromkeys(INFO, Verdict.INFO), found


@pytest.mark.usefixtures("kafka")  # where there is none to be had, that is said there
def test_apache_kafka_passes_what_shows_under_special_settings() -> None:
    with Kafka(**SETTINGS, **KAFKAS_OWN) as kafka:
        found = not_passed(judged(kafka.host, kafka.port, [*SPECIAL, *(CASES[name] for name in INFO_OFTEN)]))
    assert verdicts(found) == dict.fromkeys(INFO_OFTEN, Verdict.INFO), found


@pytest.mark.usefixtures("kafka")
def test_a_cluster_that_is_set_up_otherwise_passes() -> None:
    """A second broker, on which topics may lie, and settings by which topics and pages come out otherwise: the oracle is told of them."""
    with Kafka(**OTHERWISE) as first:
        second = Kafka()
        second.config = {
            **OTHERWISE, "node.id": "2", "process.roles": "broker", "controller.quorum.voters": f"1@127.0.0.1:{first.controller_port}",
            "listeners": f"PLAINTEXT://{second.bootstrap}",
        }  # fmt: skip
        with second:
            found: dict[str, Any] = {}
            for some in (BY_SET_UP, OF_GROUPS):
                found |= not_passed(judged(second.host, second.port, [case for case in EVERYDAY if case.id.startswith(some)]))
    needs_one = {case.id for case in EVERYDAY if case.needs_one_node and case.id.startswith(BY_SET_UP)}
    assert {case for case, verdict in verdicts(found).items() if verdict not in (Verdict.NONSTRICT, Verdict.INFO)} == needs_one, found


def test_the_reference_broker_passes(reference_broker: Address) -> None:
    assert not not_passed(judged(reference_broker.host, reference_broker.port, patience_s=0))


def test_the_fast_broker_passes(tmp_path: Path) -> None:
    with serving("--data", str(tmp_path)) as address:
        assert not not_passed(judged(address.host, address.port, patience_s=0))


@pytest.mark.parametrize("broker", ["reference", "fast"])
def test_our_brokers_pass_what_shows_under_special_settings(broker: str, tmp_path: Path) -> None:
    kind = ["--reference"] if broker == "reference" else ["--data", str(tmp_path)]
    with serving(*kind, *OPTIONS) as address:
        assert not not_passed(judged(address.host, address.port, SPECIAL, patience_s=0))
