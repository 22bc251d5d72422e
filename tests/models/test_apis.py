"""Which requests are served, in which versions, and how a client finds out."""

from __future__ import annotations

from typing import Any

import pytest
from samples import Bench, batch, produce_request, sent

from fiducial.models import apis
from fiducial.models.apis import APIS, Verdict
from fiducial.models.broker import GROUP_REQUESTS, HANDLERS
from fiducial.models.errors import Error
from fiducial.models.messages import ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FetchRequest
from fiducial.models.values import changed

#: Key -> the lowest and highest version that Apache Kafka 4.3.1 serves, and the first that is flexible.
SERVED = {
    0: (3, 13, 9), 1: (4, 18, 12), 2: (1, 11, 6), 3: (0, 13, 9), 8: (2, 10, 8), 9: (1, 10, 6), 10: (0, 6, 3),
    11: (0, 9, 6), 12: (0, 4, 4), 13: (0, 5, 4), 14: (0, 5, 4), 15: (0, 6, 5), 16: (0, 5, 3), 18: (0, 4, 3), 19: (2, 7, 5), 20: (1, 6, 4),
    21: (0, 2, 2), 22: (0, 5, 2), 23: (2, 4, 4), 32: (1, 4, 4), 33: (0, 2, 2), 35: (1, 5, 2), 37: (0, 3, 2), 42: (0, 2, 2), 44: (0, 1, 1), 47: (0, 0, 1),
    60: (0, 2, 0), 61: (0, 0, 0), 74: (0, 1, 0), 75: (0, 0, 0),
}  # fmt: skip
UNSERVED = (-1, -32768, 4, 7, 17, 52, 93, 32767)

# Frames


@pytest.mark.rule("WIRE-FRAME-1")
def test_a_length_out_of_range_is_refused() -> None:
    limit = 1000
    assert [size for size in (-1, 0, 1, 999, 1000, 1001, 2**31 - 1) if apis.size_is_refused(size, limit)] == [-1, 0, 1001, 2**31 - 1]


@pytest.mark.rule("WIRE-FRAME-3", "WIRE-VERSIONS-1")
def test_what_is_served() -> None:
    for key, (lowest, highest, _) in SERVED.items():
        unknown = Verdict.TELL_VERSIONS if key == 18 else Verdict.CLOSE
        for version in (-32768, -1, lowest - 1, lowest, highest, highest + 1, 32767):
            assert apis.verdict(key, version) is (Verdict.SERVE if lowest <= version <= highest else unknown), (key, version)
    for key in UNSERVED:
        assert {apis.verdict(key, version) for version in (-1, 0, 5)} == {Verdict.CLOSE}
    assert set(HANDLERS) | {FetchRequest} | set(GROUP_REQUESTS) == {row.request for row in APIS.values()}


@pytest.mark.rule("WIRE-FRAME-4")
def test_which_headers_have_tagged_fields() -> None:
    for key, (lowest, highest, flexible) in SERVED.items():
        for version in range(lowest, highest + 1):
            assert apis.has_flexible_header(key, version) == (version >= flexible), (key, version)
    assert [version for version in (-32768, -1, 2, 3, 5, 99, 32767) if apis.has_flexible_header(18, version)] == [3, 5, 99, 32767]
    assert not any(apis.has_flexible_header(key, 5) for key in UNSERVED)


# Versions


@pytest.mark.rule("WIRE-VERSIONS-1")
def test_an_unknown_version_is_told_which_to_ask_in() -> None:
    assert apis.unsupported() == ApiVersionsResponse(Error.UNSUPPORTED_VERSION, (ApiVersion(18, 0, 4),))


@pytest.mark.rule("WIRE-VERSIONS-2")
def test_which_answers_have_tagged_fields_in_their_header() -> None:
    for key, (lowest, highest, flexible) in SERVED.items():
        for version in range(lowest, highest + 1):
            assert apis.has_flexible_answer(key, version) == (version >= flexible and key != 18), (key, version)


GOOD = ("a", "A", "7", "a.b-c", "apache-kafka-java", "x" * 3000, "1..2", "0-9")
BAD = ("", "-a", "a-", ".a", "a.", "a_b", "a+b", "a/b", "a b", "é", "a\n")


@pytest.mark.rule("WIRE-VERSIONS-3")
@pytest.mark.parametrize("version", [0, 2, 3, 4])
def test_a_client_says_properly_what_it_is(version: int) -> None:
    bench = Bench()
    for name in (*GOOD, *BAD):
        is_good = version < 3 or name in GOOD
        for request in (ApiVersionsRequest(name, "1.0"), ApiVersionsRequest("client", name)):
            assert bench.refused(request, version) == (() if is_good else ("WIRE-VERSIONS-3",)), name
            if not is_good:
                assert bench.ask(request, version) == ApiVersionsResponse(Error.INVALID_REQUEST)


@pytest.mark.rule("WIRE-VERSIONS-4")
@pytest.mark.parametrize("version", range(5))
def test_what_is_served_is_named(version: int) -> None:
    body = Bench().ask(ApiVersionsRequest("client", "1.0"), version)
    expected = [ApiVersion(key, 0 if key == 0 else lowest, highest) for key, (lowest, highest, _) in sorted(SERVED.items())]
    assert list(body.api_keys) == expected
    assert (body.error_code, body.throttle_time_ms) == (0, 0)


@pytest.mark.rule("WIRE-VERSIONS-5")
def test_versions_may_be_asked_at_any_time_or_never() -> None:
    bench, request = Bench("a"), ApiVersionsRequest("client", "1.0")
    bench.produce("a", batch())
    before = bench.broker
    first = bench.ask(request, 4)
    assert bench.ask(request, 4) == first
    assert bench.broker == before
    bench.ask(produce_request({("a", 0): sent(batch())}), 12)
    assert bench.ask(request, 4) == first == Bench().ask(request, 4)


@pytest.mark.rule("WIRE-VERSIONS-6")
@pytest.mark.parametrize("version", [3, 4])
def test_no_feature_is_announced(version: int) -> None:
    body: Any = Bench().ask(ApiVersionsRequest("client", "1.0"), version)
    assert changed(body, api_keys=()) == ApiVersionsResponse()
    assert (body.supported_features, body.finalized_features, body.finalized_features_epoch) == ((), (), -1)
