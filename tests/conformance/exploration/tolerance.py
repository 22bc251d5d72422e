"""What a peer may do otherwise than any rule says, all in one place, each with its reason: taken out of its answer before that is compared.

What a rule allows a peer stands with the rule (`Rung.also`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiducial.models.config_requests import Resource
from fiducial.models.configs import Source
from fiducial.models.errors import Error

#: A group that nobody is in: a referee's configuration of it is changed to see how far the referee has come.
BARRIER = "settled"
#: Apache Kafka keeps this setting itself, for the whole cluster (ELR): a value of ours that is a default comes from there.
ELR = "min.insync.replicas"
#: Coordinators make these when they are asked for; they are nobody's else.
COORDINATORS_TOPICS = frozenset({"__consumer_offsets", "__transaction_state"})


#: Refusals that a peer may spare itself: who asked again on another connection hears nothing more on the earlier one.
UNANSWERED = frozenset({"GROUP-STATE-4"})
#: Settings that Apache Kafka has from elsewhere (the id of its node), or can change while it runs where we cannot.
OWN = frozenset({"broker.id", "producer.id.expiration.ms"})
#: Where clients find it, each broker is told.
ADDRESS = "advertised.listeners"


def fewer_apis(ours: Any, theirs: Any) -> None:
    """We serve fewer APIs."""
    served = {entry["api_key"] for entry in ours["api_keys"]}
    theirs["api_keys"] = [entry for entry in theirs["api_keys"] if entry["api_key"] in served]


def other_settings(ours: Any, theirs: Any) -> None:
    """Of the broker's own settings we have some; loggers, client metrics and groups have none here."""
    for mine, other in zip(ours["results"], theirs["results"], strict=False):
        other["configs"] = [entry for entry in other["configs"] if mine["resource_type"] == Resource.TOPIC or entry["name"] in {one["name"] for one in mine["configs"]}]
        elr_is_default(other["configs"])
        for entry, ours_ in zip(other["configs"], mine["configs"], strict=False):
            if entry["name"] == ADDRESS:
                entry |= ours_
            if entry["name"] in OWN:
                entry |= {name: ours_[name] for name in ("config_source", "synonyms", "read_only")}


def elr_in_created(_ours: Any, theirs: Any) -> None:
    """A topic has one setting from the cluster."""
    for topic in theirs["topics"]:
        elr_is_default(topic["configs"] or [])


def elr_is_default(configs: list[Any]) -> None:
    """Apache Kafka's own hand on a setting, taken off."""
    for entry in configs:
        if entry["name"] == ELR and entry["config_source"] == Source.DYNAMIC_CLUSTER:
            entry["config_source"] = Source.DEFAULT
        if entry["name"] == ELR and "synonyms" in entry:
            entry["synonyms"] = [one for one in entry["synonyms"] if one["source"] != Source.DYNAMIC_CLUSTER]


def coordinators_topics(ours: Any, theirs: Any) -> None:
    """How many partitions they have, and which of them there are, is a broker's own."""
    for answer in (ours, theirs):
        answer["topics"] = [topic for topic in answer["topics"] if topic["name"] not in COORDINATORS_TOPICS]


def coordinators_logs(ours: Any, theirs: Any) -> None:
    """The same, by what they take on disk."""
    for folder in (*ours["results"], *theirs["results"]):
        folder["topics"] = [topic for topic in folder["topics"] if topic["name"] not in COORDINATORS_TOPICS]


def own_resources(ours: Any, theirs: Any) -> None:
    """The coordinators' topics, and the group whose configuration is a barrier."""
    strange = {*COORDINATORS_TOPICS, BARRIER}
    for answer in (ours, theirs):
        answer["config_resources"] = [one for one in answer["config_resources"] if one["resource_name"] not in strange]


#: What is taken out of a peer's answer before it is compared, and why (the function's docstring), by the answer's class.
TOLERATED: dict[str, Callable[[Any, Any], None]] = {
    "ApiVersionsResponse": fewer_apis,
    "CreateTopicsResponse": elr_in_created,
    "DescribeConfigsResponse": other_settings,
    "DescribeLogDirsResponse": coordinators_logs,
    "ListConfigResourcesResponse": own_resources,
    "MetadataResponse": coordinators_topics,
}


def is_other_leader(ours: Any, theirs: Any) -> bool:
    """Whoever leads a group in place of a leader that is gone is for the broker to choose (GROUP-JOIN-9); from there on the two go apart."""
    is_joined = all(isinstance(one, dict) and one[""] == "JoinGroupResponse" and one["error_code"] == Error.NONE.name for one in (ours, theirs))
    return is_joined and ours["leader"] != theirs["leader"] and theirs["leader"].startswith("member ")
