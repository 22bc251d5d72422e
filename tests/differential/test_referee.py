"""Apache Kafka as referee: random histories, each answer of which must be among those that the model allows.

The same machine asks the reference broker over TCP, which must answer what the model does. FIDUCIAL_LONG=1 asks fifty times as much;
FIDUCIAL_SEED=N begins with history N, as the message of a failure says, and FIDUCIAL_REQUESTS=N sends so many.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from conftest import Address, not_run
from peers.kafka import Kafka, PeerUnavailable

from differential.campaign import IS_LONG, Campaign, missing, requests_given, seed_given
from differential.targets import ApacheKafka
from fiducial.conformance.exploration.pairs import clear
from fiducial.conformance.exploration.targets import Remote
from fiducial.conformance.target import Target
from fiducial.models.apis import APIS
from fiducial.models.rules import LADDERS

AGAIN = f"{sys.executable} -m pytest tests/differential/test_referee.py -k"

#: Refusals that no history against Apache Kafka can reach, and why.
NOT_REACHED = {
    "WIRE-TOPIC-20": "topics can be deleted here; see the broker with other settings",
    "WIRE-TOPIC-21": "the same",
    "WIRE-TOPIC-33": "Apache Kafka adds 10,000 partitions though it refuses them",
    "LOG-BATCH-25": "takes a batch that unpacks to 100 MB",
    "LOG-PRODUCE-4": "Apache Kafka makes its internal topics when it likes",
    "LOG-DELETE-6": "the same",
    "GROUP-RECORD-14": "takes a broker that was stopped while groups moved, which Apache Kafka never does",
    "LOG-SESSION-7": "too rare: a session, and in it the end and the new beginning of a topic; test_cases.py tells that",
}
#: APIs that these histories do not ask: groups have their own, in test_groups.py, but for ListGroups, which tells of the whole cluster.
OF_GROUPS = {
    "OffsetCommit", "OffsetFetch", "JoinGroup", "Heartbeat", "LeaveGroup", "SyncGroup", "DescribeGroups", "ListGroups", "DeleteGroups", "OffsetDelete",
}  # fmt: skip
ASKED = [api for api in APIS.values() if api.name not in OF_GROUPS]
#: What 2,000 requests reach at least.
EVERYDAY = {
    **{f"request {api.name}": 3 for api in ASKED},
    **dict.fromkeys(
        (
            "rule LOG-BATCH-1", "rule LOG-BATCH-4", "rule LOG-BATCH-10", "rule LOG-BATCH-13", "rule LOG-BATCH-18", "rule LOG-PRODUCE-1",
            "rule LOG-PRODUCE-2", "rule LOG-PRODUCE-3", "rule LOG-READ-1", "rule LOG-FETCH-4", "rule LOG-FETCH-8", "rule LOG-FETCH-9",
            "rule LOG-SESSION-2", "rule LOG-SESSION-3", "rule LOG-TIME-4", "rule LOG-TIME-6", "rule LOG-TIME-7", "rule LOG-DELETE-2",
            "rule LOG-EPOCH-4", "rule IDEM-SEQ-2", "rule IDEM-EPOCH-1", "rule IDEM-EPOCH-2", "rule IDEM-LIST-3", "rule WIRE-META-3",
            "rule WIRE-META-5", "rule WIRE-PARTS-4", "rule WIRE-TOPIC-6", "rule WIRE-TOPIC-25", "rule WIRE-CONFIG-13", "rule WIRE-CONFIG-27",
            "woken", "still waiting", "closed", "nothing",
        ),
        1,
    ),
}  # fmt: skip

#: How the Apache Kafka of all tests is set up: a group does not wait for members before its first rebalance.
SETTINGS = {"group.initial.rebalance.delay.ms": "0"}
#: A broker that is set up otherwise. Without deletion it serves for one history.
OTHER_SETTINGS = {
    **SETTINGS,
    "auto.create.topics.enable": "false",
    "delete.topic.enable": "false",
    "fetch.max.bytes": "1024",
    "log.message.timestamp.type": "LogAppendTime",
    "log.retention.hours": "1000",
    "max.incremental.fetch.session.cache.slots": "0",
    "max.request.partition.size.limit": "3",
    "message.max.bytes": "5000",
    "num.partitions": "2",
}
OTHERWISE = dict.fromkeys(("rule WIRE-TOPIC-20", "rule WIRE-TOPIC-21"), 1)

#: Apache Kafka looks at every log twenty times a second, from the start; only the first is a setting of ours too.
HOUSEKEEPING = {**SETTINGS, "log.retention.check.interval.ms": "50"}
AT_ONCE = {"log.initial.task.delay.ms": "0", "log.cleaner.backoff.ms": "50"}


def everything() -> dict[str, int]:
    """What a long campaign reaches: every API that is asked in every version, and every refusal of every ladder but a few."""
    versions = {f"version {api.name} v{version}": 3 for api in ASKED for version in range(api.min_version, api.max_version + 1)}
    rules = {f"rule {rung.rule}": 1 for ladder in LADDERS.values() for rung in ladder.rungs if rung.rule not in NOT_REACHED}
    return {**EVERYDAY, **versions, **rules}


Tell = Callable[[str], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Says a line while the test runs, if that takes long."""

    def line(text: str) -> None:
        if IS_LONG:
            with capsys.disabled():
                print(f"\n{text}", end="", flush=True)

    return line


@contextmanager
def own_kafka(**config: str) -> Iterator[ApacheKafka]:
    """An Apache Kafka with settings of its own."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(Kafka(**config))
        except PeerUnavailable as reason:
            not_run(f"Apache Kafka: {reason}")
        yield ApacheKafka(broker.host, broker.port)


def test_apache_kafka_answers_what_the_rules_allow(kafka: Kafka, tell: Tell) -> None:
    campaign = Campaign(ApacheKafka(kafka.host, kafka.port), f"{AGAIN} rules_allow", tell, settings=SETTINGS)
    campaign.run(seed_given(secrets.randbelow(10**6) * 1000 if IS_LONG else 1), requests_given(2_000, 100_000))
    clear(campaign.theirs)
    if "FIDUCIAL_REQUESTS" not in os.environ:
        assert not missing(campaign.reached, everything() if IS_LONG else EVERYDAY)
    assert not [name for name in OF_GROUPS if campaign.reached[f"request {name}"]]


@pytest.mark.rule("WIRE-VERSIONS-1", "WIRE-VERSIONS-4")
def test_the_versions_that_are_served_are_those_of_apache_kafka(kafka: Kafka) -> None:
    theirs = Target(kafka.host, kafka.port).advertised
    assert {key: (api.advertised_from, api.max_version) for key, api in APIS.items()} == {key: theirs[key] for key in APIS}


def test_apache_kafka_with_other_settings(tell: Tell) -> None:
    """A broker for each history: topics cannot be deleted, so nothing clears up for the next."""
    reached, left, seed = Counter[str](), requests_given(600, 1_500), seed_given(1)
    while left > 0:
        with own_kafka(**OTHER_SETTINGS) as theirs:
            campaign = Campaign(theirs, f"{AGAIN} other_settings", tell, is_for_one_history=True, settings=OTHER_SETTINGS)
            campaign.history(seed, left)
        reached, left, seed = reached + campaign.reached, left - campaign.asked, seed + 1
    assert not missing(reached, OTHERWISE)


def test_apache_kafka_lets_go_of_what_the_rules_let_go_of(tell: Tell) -> None:
    """Time passes between requests, and topics go out of retention."""
    with own_kafka(**HOUSEKEEPING, **AT_ONCE) as theirs:
        campaign = Campaign(theirs, f"{AGAIN} let_go_of", tell, keeps_house=True, settings=HOUSEKEEPING)
        campaign.run(seed_given(1), requests_given(150, 3_000))


def test_the_reference_broker_answers_what_the_model_does(reference_broker: Address, tell: Tell) -> None:
    """Equal, but for ids and times: what a rule allows a peer is not allowed it."""
    theirs = Remote("the reference broker", reference_broker.host, reference_broker.port)
    campaign = Campaign(theirs, f"{AGAIN} reference_broker", tell, is_strict=True)
    campaign.run(seed_given(1), requests_given(1_000, 20_000))
    clear(theirs)


def test_nothing_is_excused_that_is_reached() -> None:
    rules = {rung.rule for ladder in LADDERS.values() for rung in ladder.rungs}
    assert set(NOT_REACHED) <= rules and all(NOT_REACHED.values())
    assert {api.name for api in APIS.values()} >= OF_GROUPS
    assert not {f"rule {rule}" for rule in NOT_REACHED} & set(EVERYDAY)


def test_a_missed_floor_is_told() -> None:
    assert missing(Counter({"woken": 1}), {"woken": 1, "closed": 2}) == {"closed": "0 < 2"}
