"""What a story is not about: the topics, groups, brokers and configurations that a cluster has beside its own.

Only where all of them are told is anything left out; whether an answer tells of all shows in the oracle's, which then tells of a topic that no
story knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from fiducial.models.config_requests import Resource
from fiducial.models.settings import BROKER, TOPIC

#: A topic that the oracle always has.
SOMEBODY_ELSES = "somebody-elses"


def without_others(expected: Any, got: Any, own: Collection[str]) -> tuple[Any, Any]:
    """Two abstracted answers without what is none of the story's business; `own`: what it calls its topics and groups."""
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = [without_others(*pair, own) for pair in zip(expected, got, strict=True)]
        return [one for one, _ in pairs], [other for _, other in pairs]
    if not (isinstance(expected, dict) and isinstance(got, dict) and expected.get("") == got.get("")):
        return expected, got
    if (left_out := OTHERS.get(expected.get("", ""))) is not None:
        expected, got = left_out(expected, got, own)
    held = {name: without_others(expected[name], got[name], own) for name in expected if name in got}
    return expected | {name: one for name, (one, _) in held.items()}, got | {name: other for name, (_, other) in held.items()}


Two = tuple[dict[str, Any], dict[str, Any]]
LeaveOut = Callable[[dict[str, Any], dict[str, Any], Collection[str]], Two]


def others_topics(field: str, key: str) -> LeaveOut:
    """Where all topics are told, those of others are not looked at."""

    def without(expected: dict[str, Any], got: dict[str, Any], own: Collection[str]) -> Two:
        mine = [entry for entry in expected[field] if entry[key] != SOMEBODY_ELSES]
        if len(mine) == len(expected[field]):
            return expected, got
        known = {*own, *(entry[key] for entry in mine)}
        return expected | {field: mine}, got | {field: [entry for entry in got[field] if entry[key] in known]}

    return without


def others_brokers(key: str) -> LeaveOut:
    """One broker is judged; any of them may be the controller."""

    def without(expected: dict[str, Any], got: dict[str, Any], _own: Collection[str]) -> Two:
        if not expected["brokers"]:
            return expected, got
        ours, theirs = ({broker[key] for broker in one["brokers"]} for one in (expected, got))
        brokers = [broker for broker in got["brokers"] if broker[key] in ours]
        return expected, got | {"brokers": brokers, "controller_id": expected["controller_id"] if got["controller_id"] in theirs else got["controller_id"]}

    return without


def metadata_of_others(expected: dict[str, Any], got: dict[str, Any], own: Collection[str]) -> Two:
    """Both; and in a cluster of several, a topic that was made without an assignment may lie on any of them."""
    nodes = {broker["node_id"] for broker in got["brokers"]}
    expected, got = others_topics("topics", "name")(expected, got, own)
    if len(nodes) > 1 and len(expected["topics"]) == len(got["topics"]):
        pairs = zip(expected["topics"], got["topics"], strict=True)
        got = got | {"topics": [theirs | {"partitions": moved(ours["partitions"], theirs["partitions"], nodes)} for ours, theirs in pairs]}
    return others_brokers("node_id")(expected, got, own)


def moved(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], nodes: Collection[int]) -> list[dict[str, Any]]:
    """Their partitions, as if those that lie on as many brokers lay on ours."""
    return [
        there | {name: here[name] for name in ("leader_id", "replica_nodes", "isr_nodes")} if is_elsewhere(here, there, nodes) else there
        for here, there in zip(ours, theirs, strict=False)
    ] + theirs[len(ours) :]


def is_elsewhere(here: dict[str, Any], there: dict[str, Any], nodes: Collection[int]) -> bool:
    """Does a partition lie on as many brokers, one of them its leader, and all in sync?"""
    replicas = there["replica_nodes"]
    return len(set(replicas)) == len(here["replica_nodes"]) and set(replicas) <= set(nodes) and there["leader_id"] in replicas and there["isr_nodes"] == replicas


def other_apis(expected: dict[str, Any], got: dict[str, Any], _own: Collection[str]) -> Two:
    """A broker may serve more APIs than have a layout here, and fewer."""
    if len(expected["api_keys"]) <= 1:
        return expected, got
    both = {entry["api_key"] for entry in expected["api_keys"]} & {entry["api_key"] for entry in got["api_keys"]}
    return expected | {"api_keys": in_both(expected["api_keys"], "api_key", both)}, got | {"api_keys": in_both(got["api_keys"], "api_key", both)}


def in_both(entries: list[dict[str, Any]], key: str, both: Collection[Any]) -> list[dict[str, Any]]:
    """Those that both have."""
    return [entry for entry in entries if entry[key] in both]


def other_configs(expected: dict[str, Any], got: dict[str, Any], _own: Collection[str]) -> Two:
    """Where all configurations are told, a broker may have more; of loggers, client metrics and groups we have none."""
    names = {entry["name"] for entry in expected["configs"] or ()}
    is_all = names >= (BROKER if expected.get("resource_type") == Resource.BROKER else TOPIC).keys()
    if is_all or expected.get("resource_type") in (Resource.BROKER_LOGGER, Resource.CLIENT_METRICS, Resource.GROUP):
        return expected, got | {"configs": in_both(got["configs"] or [], "name", names)}
    return expected, got


def other_resources(expected: dict[str, Any], got: dict[str, Any], own: Collection[str]) -> Two:
    """Other brokers and their loggers; and we have no client metrics and groups."""
    kinds = {entry["resource_type"] for entry in expected["config_resources"]}
    known = [(entry["resource_type"], entry["resource_name"]) for entry in expected["config_resources"]]

    def counts(entry: dict[str, Any]) -> bool:
        kind, name = entry["resource_type"], entry["resource_name"]
        return kind == Resource.TOPIC or (kind, name) in known or kind not in kinds | {Resource.CLIENT_METRICS, Resource.GROUP}

    got = got | {"config_resources": [entry for entry in got["config_resources"] if counts(entry)]}
    return others_topics("config_resources", "resource_name")(expected, got, {*own, *(name for _, name in known)})


def groups_of_others(expected: dict[str, Any], got: dict[str, Any], own: Collection[str]) -> Two:
    """Groups that are none of the story's."""
    return expected, got | {"groups": [entry for entry in got["groups"] if entry["group_id"] in own]}


#: By the class of an answer, or of a part of one.
OTHERS: Mapping[str, LeaveOut] = {
    "ApiVersionsResponse": other_apis,
    "MetadataResponse": metadata_of_others,
    "DescribeClusterResponse": others_brokers("broker_id"),
    "DescribeTopicPartitionsResponse": others_topics("topics", "name"),
    "DescribeLogDirsResult": others_topics("topics", "name"),
    "DescribeConfigsResult": other_configs,
    "CreatableTopicResult": other_configs,
    "ListConfigResourcesResponse": other_resources,
    "ListGroupsResponse": groups_of_others,
}
