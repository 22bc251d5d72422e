"""The broker about itself: DescribeCluster, FindCoordinator, DescribeLogDirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiducial.models import metadata
from fiducial.models.errors import Error
from fiducial.models.events import Effect, Outcome
from fiducial.models.group_requests import coordinators
from fiducial.models.messages import (
    Coordinator,
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from fiducial.models.metadata import CLUSTER_OPERATIONS, NOT_ASKED, operations
from fiducial.models.rules import Ladder, Rung, rule, rung
from fiducial.models.topics import OFFSETS_TOPIC

if TYPE_CHECKING:
    from fiducial.models.state import Broker

BROKERS, CONTROLLERS = 1, 2

#: What has a coordinator, by key type.
GROUP, TRANSACTION, SHARE = 0, 1, 2

# DescribeCluster


@rule("WIRE-CLUSTER-1")
def asks_for_controllers(endpoint_type: int) -> bool:
    """They are asked on their own listener (KIP-919)."""
    return endpoint_type == CONTROLLERS


@rule("WIRE-CLUSTER-2")
def asks_for_something_else(endpoint_type: int) -> bool:
    """1 is brokers, 2 controllers."""
    return endpoint_type not in (BROKERS, CONTROLLERS)


#: Arguments: the endpoint type.
ENDPOINT_CHECK = Ladder(
    "describe cluster",
    [
        rung(asks_for_controllers, Error.MISMATCHED_ENDPOINT_TYPE),
        rung(asks_for_something_else, Error.UNSUPPORTED_ENDPOINT_TYPE),
    ],
)


@rule("WIRE-CLUSTER-3")
def describe_cluster(
    broker: Broker, request: DescribeClusterRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """The brokers and the controller: this one is both."""
    refusal = ENDPOINT_CHECK.refusal(request.endpoint_type)
    if refusal is not None:
        message = f"endpoint type {request.endpoint_type} is not served here"
        body = DescribeClusterResponse(
            0, refusal.error, message, BROKERS, "", -1, (), cluster_authorized_operations=NOT_ASKED
        )
        return Outcome(broker, body, (refusal.rule,))
    own = broker.cluster
    brokers = (DescribeClusterBroker(own.broker_id, own.host, own.port, own.rack, False),)
    allowed = operations(CLUSTER_OPERATIONS, request.include_cluster_authorized_operations)
    body = DescribeClusterResponse(0, Error.NONE, None, BROKERS, own.cluster_id, own.broker_id, brokers, allowed)
    return Outcome(broker, body)


# FindCoordinator


@rule("WIRE-CLUSTER-4")
def key_type_is_unknown(_broker: Broker, key_type: int, api_version: int) -> bool:
    """0 is a group, 1 a transactional id, and 2, from v6 on, a share group."""
    return key_type not in (GROUP, TRANSACTION, SHARE) or (key_type == SHARE and api_version < 6)


@rule("WIRE-CLUSTER-7")
def asks_for_transactions(_broker: Broker, key_type: int, _api_version: int) -> bool:
    """Transactions are not served yet. Clients give up at once on this error alone, all of them; on others some try again until they time out."""
    return key_type == TRANSACTION


@rule("WIRE-CLUSTER-5")
def has_no_coordinator(broker: Broker, key_type: int, _api_version: int) -> bool:
    """Share groups are not served yet; groups are, where there is a topic to write them down in."""
    return key_type != GROUP or OFFSETS_TOPIC not in broker.topics.by_name


#: Arguments: the broker, the key type, the version.
#: A peer may have coordinators, or be about to; the text of the answer is then its own.
BY_A_COORDINATOR = (Error.NONE, Error.COORDINATOR_NOT_AVAILABLE, Error.INVALID_REQUEST)
COORDINATOR_CHECK = Ladder(
    "find a coordinator",
    [
        rung(key_type_is_unknown, Error.INVALID_REQUEST),
        rung(asks_for_transactions, Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, also=BY_A_COORDINATOR),
        rung(has_no_coordinator, Error.COORDINATOR_NOT_AVAILABLE, also=BY_A_COORDINATOR),
    ],
)


@rule("WIRE-CLUSTER-6")
def find_coordinator(
    broker: Broker, request: FindCoordinatorRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """From v4 on, many keys at once. The first who asks for a group makes the topic that groups are written down in."""
    keys = request.coordinator_keys if api_version >= 4 else (request.key,)
    effects: tuple[Effect, ...] = ()
    if request.key_type == GROUP and keys and OFFSETS_TOPIC not in broker.topics.by_name:
        broker, effects = metadata.created(broker, OFFSETS_TOPIC, now)
    refusal = COORDINATOR_CHECK.refusal(broker, request.key_type, api_version)
    if refusal is None:
        found = coordinators(broker.cluster, keys, api_version)
    else:
        found = tuple(nowhere(key, refusal) for key in keys)
    rules = () if refusal is None else (refusal.rule,) * len(keys)
    if api_version >= 4:
        return Outcome(broker, FindCoordinatorResponse(coordinators=found), rules, effects)
    (one,) = found
    body = FindCoordinatorResponse(0, one.error_code, one.error_message, one.node_id, one.host, one.port)
    return Outcome(broker, body, rules, effects)


def nowhere(key: str, refusal: Rung) -> Coordinator:
    """No coordinator for this key."""
    return Coordinator(key, -1, "", -1, refusal.error, message_of(refusal))


def message_of(refusal: Rung) -> str:
    """The refusal in words."""
    match refusal.error:
        case Error.INVALID_REQUEST:
            return "unknown key type"
        case Error.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return "this broker serves no transactions"
        case _:
            return "there is no such coordinator"


# DescribeLogDirs


@rule("WIRE-DIRS-1")
def describe_log_dirs(
    broker: Broker, request: DescribeLogDirsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """The sizes of the logs asked for; what does not exist is left out without an error."""
    described: list[DescribeLogDirsTopic] = []
    for name, indexes in logs_asked(broker, request).items():
        topic = broker.topics.by_name.get(name)
        held = [index for index in dict.fromkeys(indexes) if topic and (topic.topic_id, index) in broker.partitions]
        if topic and held:
            sizes = tuple(
                DescribeLogDirsPartition(index, broker.partitions[topic.topic_id, index].log.size_bytes, 0, False)
                for index in held
            )
            described.append(DescribeLogDirsTopic(name, sizes))
    result = DescribeLogDirsResult(Error.NONE, broker.cluster.log_dir, tuple(described), -1, -1, False)
    return Outcome(broker, DescribeLogDirsResponse(0, Error.NONE, (result,)))


@rule("WIRE-DIRS-2")
def logs_asked(broker: Broker, request: DescribeLogDirsRequest) -> dict[str, tuple[int, ...]]:
    """Partitions by topic: all of them for null; a topic named twice is one."""
    if request.topics is None:
        return {name: tuple(range(topic.partitions)) for name, topic in sorted(broker.topics.by_name.items())}
    asked: dict[str, tuple[int, ...]] = {}
    for topic in request.topics:
        asked[topic.topic] = (*asked.get(topic.topic, ()), *topic.partitions)
    return asked
