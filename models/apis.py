"""Which requests are served, in which versions, and what becomes of the others.

A broker advertises what it serves, with two exceptions: it answers an ApiVersions request of any version, and it advertises Produce from 0,
since old librdkafka looks for that (KAFKA-18659), though it serves Produce from 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from fiducial.models import messages
from fiducial.models.errors import Error
from fiducial.models.events import Outcome
from fiducial.models.messages import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from fiducial.models.rules import Ladder, rule, rung
from fiducial.models.values import value

if TYPE_CHECKING:
    from fiducial.models.state import Broker

API_VERSIONS = 18


@value
class Api:
    """One request type. From `flexible_from` on, its layouts have compact lengths and tagged fields (KIP-482)."""

    key: int
    name: str
    request: type
    response: type
    min_version: int
    max_version: int
    flexible_from: int

    @property
    def advertised_from(self) -> int:
        """The lowest version that ApiVersions names."""
        return 0 if self.key == 0 else self.min_version


def api(key: int, name: str, min_version: int, max_version: int, flexible_from: int) -> Api:
    """A row of the table below."""
    request, response = getattr(messages, f"{name}Request"), getattr(messages, f"{name}Response")
    return Api(key, name, request, response, min_version, max_version, flexible_from)


#: Key -> API, in ascending order of keys; the versions are those that Apache Kafka 4.3.1 serves.
APIS: Mapping[int, Api] = {
    row.key: row
    for row in (
        api(0, "Produce", 3, 13, 9),
        api(1, "Fetch", 4, 18, 12),
        api(2, "ListOffsets", 1, 11, 6),
        api(3, "Metadata", 0, 13, 9),
        api(8, "OffsetCommit", 2, 10, 8),
        api(9, "OffsetFetch", 1, 10, 6),
        api(10, "FindCoordinator", 0, 6, 3),
        api(11, "JoinGroup", 0, 9, 6),
        api(12, "Heartbeat", 0, 4, 4),
        api(13, "LeaveGroup", 0, 5, 4),
        api(14, "SyncGroup", 0, 5, 4),
        api(15, "DescribeGroups", 0, 6, 5),
        api(16, "ListGroups", 0, 5, 3),
        api(18, "ApiVersions", 0, 4, 3),
        api(19, "CreateTopics", 2, 7, 5),
        api(20, "DeleteTopics", 1, 6, 4),
        api(21, "DeleteRecords", 0, 2, 2),
        api(22, "InitProducerId", 0, 5, 2),
        api(23, "OffsetForLeaderEpoch", 2, 4, 4),
        api(32, "DescribeConfigs", 1, 4, 4),
        api(33, "AlterConfigs", 0, 2, 2),
        api(35, "DescribeLogDirs", 1, 5, 2),
        api(37, "CreatePartitions", 0, 3, 2),
        api(42, "DeleteGroups", 0, 2, 2),
        api(44, "IncrementalAlterConfigs", 0, 1, 1),
        api(47, "OffsetDelete", 0, 0, 1),
        api(60, "DescribeCluster", 0, 2, 0),
        api(61, "DescribeProducers", 0, 0, 0),
        api(74, "ListConfigResources", 0, 1, 0),
        api(75, "DescribeTopicPartitions", 0, 0, 0),
    )
}


class Verdict(Enum):
    """What is to be done with a request, by its key and version alone."""

    SERVE = "read its body and answer it"
    TELL_VERSIONS = "answer with the versions of ApiVersions, in the layout of version 0"
    CLOSE = "end the connection without an answer"


@rule("WIRE-FRAME-3", "WIRE-VERSIONS-1")
def verdict(api_key: int, api_version: int) -> Verdict:
    """Unknown keys and versions end the connection; a version of ApiVersions that is unknown is answered."""
    served = APIS.get(api_key)
    if served is not None and served.min_version <= api_version <= served.max_version:
        return Verdict.SERVE
    return Verdict.TELL_VERSIONS if api_key == API_VERSIONS else Verdict.CLOSE


@rule("WIRE-FRAME-4")
def has_flexible_header(api_key: int, api_version: int) -> bool:
    """Does the request's header end with tagged fields? An unknown version of ApiVersions from 3 on has them too."""
    served = APIS.get(api_key)
    return served is not None and api_version >= served.flexible_from


@rule("WIRE-VERSIONS-2")
def has_flexible_answer(api_key: int, api_version: int) -> bool:
    """Does the answer's header end with tagged fields? That of ApiVersions never does: its reader may know no version."""
    return api_key != API_VERSIONS and has_flexible_header(api_key, api_version)


@rule("WIRE-FRAME-1")
def size_is_refused(size_bytes: int, limit_bytes: int) -> bool:
    """A frame must have something in it, and no more than socket.request.max.bytes."""
    return size_bytes <= 0 or size_bytes > limit_bytes


@rule("WIRE-VERSIONS-1")
def unsupported() -> ApiVersionsResponse:
    """The answer to an ApiVersions request of an unknown version: what version to ask in."""
    own = APIS[API_VERSIONS]
    return ApiVersionsResponse(Error.UNSUPPORTED_VERSION, (ApiVersion(own.key, own.min_version, own.max_version),))


SOFTWARE = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?")


@rule("WIRE-VERSIONS-3")
def software_is_unnamed(request: ApiVersionsRequest, api_version: int) -> bool:
    """From v3 on a client says what it is, in letters, digits, dots and dashes (KIP-511)."""
    return api_version >= 3 and not (
        SOFTWARE.fullmatch(request.client_software_name) and SOFTWARE.fullmatch(request.client_software_version)
    )


VERSIONS_CHECK = Ladder("api versions", [rung(software_is_unnamed, Error.INVALID_REQUEST)])


@rule("WIRE-VERSIONS-4", "WIRE-VERSIONS-5", "WIRE-VERSIONS-6")
def api_versions(
    broker: Broker, request: ApiVersionsRequest, *, api_version: int, now: int, client_id: str | None
) -> Outcome:
    """Every API that is served, with its versions. No features: none of those that Kafka finalizes is here yet."""
    refusal = VERSIONS_CHECK.refusal(request, api_version)
    if refusal is not None:
        return Outcome(broker, ApiVersionsResponse(refusal.error), (refusal.rule,))
    served = tuple(ApiVersion(row.key, row.advertised_from, row.max_version) for row in APIS.values())
    return Outcome(broker, ApiVersionsResponse(Error.NONE, served))
