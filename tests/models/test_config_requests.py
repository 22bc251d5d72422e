"""Configurations as requests: which resource is meant, and what refuses a change."""

from __future__ import annotations

import pytest
from samples import Bench

from fiducial.models.config_requests import Resource
from fiducial.models.errors import Error
from fiducial.models.messages import DescribeConfigsRequest, DescribeConfigsResource


def described(bench: Bench, *resources: tuple[int, str]) -> list[int]:
    asked = tuple(DescribeConfigsResource(kind, name, None) for kind, name in resources)
    return [result.error_code for result in bench.ask(DescribeConfigsRequest(asked), 4).results]


@pytest.mark.rule("WIRE-CONFIG-10", "WIRE-CONFIG-17")
def test_an_unknown_type_refuses_all_that_is_asked_about() -> None:
    bench = Bench("a")
    assert described(bench, (Resource.TOPIC, "a"), (Resource.BROKER, "2")) == [Error.NONE, Error.INVALID_REQUEST]
    assert described(bench, (Resource.TOPIC, "a"), (3, "a")) == [Error.INVALID_REQUEST] * 2
