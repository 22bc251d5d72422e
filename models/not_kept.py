"""What a request is answered that would change what a broker keeps beside its logs, when nothing can be written down any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiducial.models.errors import Error
from fiducial.models.messages import (
    AlterConfigsResponse,
    CreatableTopicResult,
    CreatePartitionsResponse,
    CreateTopicsResponse,
    DeleteRecordsResponse,
    DeleteTopicsResponse,
    FindCoordinatorResponse,
    IncrementalAlterConfigsResponse,
    InitProducerIdResponse,
    MetadataResponse,
)
from fiducial.models.rules import rule
from fiducial.models.values import changed

FAILED = {"error_code": Error.KAFKA_STORAGE_ERROR, "error_message": "it cannot be written down: the disk failed"}
NOWHERE = {
    "error_code": Error.COORDINATOR_NOT_AVAILABLE,
    "error_message": "its topic cannot be made: the disk failed",
    "node_id": -1,
    "host": "",
    "port": -1,
}


@rule("LOG-RESTART-14")
def not_kept(body: Any) -> Any:
    """The answer, made as if all had been done, when nothing was: for what was to be done the error, for what was refused anyway its own."""
    match body:
        case CreateTopicsResponse():
            return changed(body, topics=failing(body.topics, lambda one: changed(CreatableTopicResult(one.name), **FAILED)))
        case CreatePartitionsResponse():
            return changed(body, results=failing(body.results, lambda one: changed(one, **FAILED)))
        case DeleteTopicsResponse() | AlterConfigsResponse() | IncrementalAlterConfigsResponse():
            return changed(body, responses=failing(body.responses, lambda one: changed(one, **FAILED)))
        case DeleteRecordsResponse():
            failed = {"low_watermark": -1, "error_code": Error.KAFKA_STORAGE_ERROR}
            topics = (changed(topic, partitions=failing(topic.partitions, lambda one: changed(one, **failed))) for topic in body.topics)
            return changed(body, topics=tuple(topics))
        case InitProducerIdResponse():
            return changed(body, error_code=Error.KAFKA_STORAGE_ERROR, producer_id=-1, producer_epoch=-1)
        case FindCoordinatorResponse(coordinators=()):
            return changed(body, **NOWHERE)
        case FindCoordinatorResponse():
            return changed(body, coordinators=failing(body.coordinators, lambda one: changed(one, **NOWHERE)))
        case MetadataResponse():  # a topic that it makes is not told of before the next
            return body
    raise AssertionError(f"{type(body).__name__} changes nothing that is kept")


def failing(results: tuple[Any, ...], failed: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Those that are no errors yet are errors."""
    return tuple(one if one.error_code else failed(one) for one in results)
