"""Frames and versions: what ends a connection, what is forgiven, who is answered when, and how a client learns what is served (WIRE-FRAME, WIRE-VERSIONS)."""

from __future__ import annotations

from typing import Any

from fiducial.conformance.cases import (
    Bytes,
    Case,
    Odd,
    SideEnds,
    Step,
    awaited,
    case,
    fetch,
    fetch_from,
    pipelined,
    produce,
    wanted,
)
from fiducial.conformance.codec import Raw
from fiducial.conformance.symbols import Batch
from fiducial.models import messages as m
from fiducial.models.apis import API_VERSIONS, APIS
from fiducial.models.values import changed

FETCH, METADATA, OFFSET_FETCH, FIND_COORDINATOR, LIST_GROUPS = 1, 3, 9, 10, 16
SOUND = Batch()
INT16_MIN, INT16_MAX, INT32_MIN, INT32_MAX = -(2**15), 2**15 - 1, -(2**31), 2**31 - 1

#: What everybody can answer at any time.
PING = Step(m.ApiVersionsRequest(), version=0)
BYSTANDER = Step(m.ApiVersionsRequest(), version=0, connection=2)


def metadata(**step: Any) -> Step:
    """The brokers, and no topics."""
    return Step(m.MetadataRequest(), **step)


def framed(id: str, *story: Step, sweep: type | None = None, **more: Any) -> Case:
    """A story beside which another connection goes on; and whoever comes next is served."""
    return case(id, BYSTANDER, *story, PING, BYSTANDER, **{"topics": (), "sweep": sweep, **more})


def body(data: str, api_key: int = METADATA, version: int = 8, **step: Any) -> Step:
    """A request by the bytes of its body."""
    return Step(Bytes(api_key, bytes.fromhex(data)), version=version, **step)


SIZES = {"none": 0, "negative": -1, "most-negative": INT32_MIN, "two-gigabytes": INT32_MAX, "http": int.from_bytes(b"GET ", "big")}
#: The tagged fields of a header, two; and how long one is with them and a client id of three bytes.
TWO_TAGS = b"\x02\x07\x02xy\x03\x00"
HEADER_BYTES = 8 + 2 + 3 + len(TWO_TAGS)
STRANGE_VERSIONS = (-1, INT16_MIN, INT16_MAX)
CLIENT_IDS: dict[str, Any] = {
    "null": None, "negative-length": Raw(b"\xff\xfb"), "lowest-length": Raw(b"\x80\x00"), "empty": "", "long": "a" * 30_000, "no-utf-8": b"\xff" * 300,
}  # fmt: skip
TAGS = {
    "unknown": b"\x01\x07\x03abc", "twice-and-unordered": b"\x03\x07\x00\x03\x00\x07\x01a", "negative-count": b"\xff\xff\xff\xff\x0f",
    "too-large": b"\x01\x07\x20", "too-many": b"\x20\x07\x00",
}  # fmt: skip

FRAMES = (
    *(framed(f"WIRE-FRAME-1/{slug}", Step(Bytes(API_VERSIONS), version=0, odd=Odd(size=size, keep=0))) for slug, size in SIZES.items()),
    framed(
        "WIRE-FRAME-1/behind-a-request",
        *pipelined(metadata(), Step(Bytes(API_VERSIONS), version=0, odd=Odd(size=-1)), answers=2),
        also=("WIRE-FRAME-10",),
    ),
    framed(
        "WIRE-FRAME-2/at-whichever-byte",
        *(metadata(version=12, client_id="abc", odd=Odd(tags=TWO_TAGS, keep=keep)) for keep in range(1, HEADER_BYTES)),
    ),
    *(framed(f"WIRE-FRAME-3/{slug}", Step(Bytes(key, bytes(40)), version=0)) for slug, key in {"negative-key": -1, "large-key": INT16_MAX}.items()),
    *(
        framed(f"WIRE-FRAME-3/{APIS[key].name.lower()}", *(Step(Bytes(key, bytes(40)), version=version) for version in STRANGE_VERSIONS))
        for key in APIS
        if key != API_VERSIONS
    ),
    framed("WIRE-FRAME-4/no-tagged-fields", metadata(odd=Odd(tags=b"")), sweep=m.MetadataRequest),
    framed("WIRE-FRAME-4/tagged-fields", metadata(odd=Odd(tags=b"\x00")), sweep=m.MetadataRequest),
    framed("WIRE-FRAME-4/unknown-version", Step(Bytes(API_VERSIONS), version=99, odd=Odd(tags=b"")), also=("WIRE-VERSIONS-1",)),
    *(framed(f"WIRE-FRAME-5/{slug}", metadata(client_id=name), sweep=m.MetadataRequest) for slug, name in CLIENT_IDS.items()),
    *(framed(f"WIRE-FRAME-6/{slug}", metadata(version=12, odd=Odd(tags=tags))) for slug, tags in TAGS.items()),
    framed("WIRE-FRAME-7/behind-it", metadata(odd=Odd(behind=b"\x01\x02\x03\x04")), sweep=m.MetadataRequest),
)

#: What becomes of a request of each API. In a flexible version the last byte says that no tagged fields follow, which one then does.
EVERYWHERE = {
    "WIRE-FRAME-7/{}-and-more": Odd(behind=b"\x01\x02\x03\x04"),
    "WIRE-FRAME-8/{}-cut-short": Odd(keep=-1),
    "WIRE-FRAME-9/{}-with-an-unknown-tag": Odd(keep=-1, behind=b"\x01\x63\x02xy"),
}

#: Their answers tell more than the story: which node has the group "", whether any has, which groups there are.
OF_OTHERS = {FIND_COORDINATOR, OFFSET_FETCH, LIST_GROUPS}

BY_API = tuple(
    framed(slug.format(api.name.lower()), Step(api.request(), odd=odd), sweep=api.request)
    for api in APIS.values()
    for slug, odd in EVERYWHERE.items()
    if odd == EVERYWHERE["WIRE-FRAME-8/{}-cut-short"] or api.key not in OF_OTHERS
)

UNREADABLE = {
    "array-of-too-many": body("7fffffff 00 00 00"),
    "compact-array-of-too-many": body("ffff7f 00 00 00 00", version=12),
    "null-topics": body("ffffffff", version=0),
    "null-name": body("00000001 ffff 00 00 00"),
    "null-compact-name": body("02 00 00 01 00 00 00 00", version=9),
    "name-beyond-the-frame": body("00000001 0064 61 00 00 00"),
    "long-compact-string": body("ffff03" + "61" * 65_534 + "0231 00", API_VERSIONS, 3),
    "long-varint": body("81808080f0 00", version=9),
    "null-software": body("00 0231 00", API_VERSIONS, 3),
    "nothing": body("", API_VERSIONS, 3),
}
FORGIVEN = {
    "negative-length-of-an-array": body("fffffff0 00 00 00"),
    "any-byte-is-true": body("00000000 00 02 ff"),
    "longer-varint": body("8180808000 01 00 00 00", version=9),
    "bits-above-the-32nd": body("8180808070 01 00 00 00", version=9),
    "no-utf-8": body("00000001 0002 fffe 00 00 00"),
}
TAGGED = {
    "unknown": body("01 01 00 00 01 07 03 616263", version=9),
    "twice-and-unordered": body("01 01 00 00 03 07 00 03 00 07 01 61", version=9),
    "negative-count": body("01 01 00 00 ffffffff0f", version=9),
    "beyond-the-frame": body("01 01 00 00 01 07 20 61", version=9),
}
#: A Fetch of nothing, up to its tagged fields, of which the first is the id of the cluster.
NO_FETCH = "ffffffff 00000000 00000000 00000000 00 00000000 ffffffff 01 01 01"
KNOWN_TAGS = {"wrong-size": "01 00 09 0261", "twice": "02 00 02 0261 00 02 0262", "null": "01 00 01 00", "no-string": "01 00 02 1461"}

BODIES = (
    *(framed(f"WIRE-FRAME-8/{slug}", step) for slug, step in (UNREADABLE | FORGIVEN).items()),
    *(framed(f"WIRE-FRAME-9/{slug}", step) for slug, step in TAGGED.items()),
    *(framed(f"WIRE-FRAME-9/known-{slug}", body(NO_FETCH + tags, FETCH, 12)) for slug, tags in KNOWN_TAGS.items()),
)


def ended(*steps: Step, answers: int | None = None) -> tuple[Step, ...]:
    """Requests that are not waited for, the end of our side, their answers, and the end."""
    return *steps, Step(SideEnds()), *[awaited(1)] * (len(steps) if answers is None else answers), awaited(1)


WAITS_A_LITTLE = fetch_from(wanted(), max_wait_ms=100, min_bytes=1)

TURNS = (
    case("WIRE-FRAME-10/many", *pipelined(PING, produce(SOUND), metadata(), produce(SOUND), fetch(), PING)),
    case("WIRE-FRAME-10/behind-a-fetch-that-waits", *pipelined(WAITS_A_LITTLE, produce(SOUND), fetch()), sweep=m.FetchRequest),
    case("WIRE-FRAME-10/without-acks", *pipelined(produce(SOUND, acks=0), produce(SOUND), produce(SOUND, acks=0), fetch())),
    framed("WIRE-FRAME-10/unreadable-behind-a-request", *pipelined(metadata(), UNREADABLE["array-of-too-many"], metadata(), answers=2)),
    framed(
        "WIRE-FRAME-11/any-number",
        *(metadata(odd=Odd(correlation_id=number)) for number in (-1, 0, INT32_MAX, INT32_MIN, 7, 7)),
        sweep=m.MetadataRequest,
    ),
    framed("WIRE-FRAME-11/the-same-again", *pipelined(*[metadata(odd=Odd(correlation_id=7))] * 3), also=("WIRE-FRAME-10",)),
    framed("WIRE-FRAME-11/one-byte-at-a-time", metadata(odd=Odd(correlation_id=INT32_MAX, piece=1)), sweep=m.MetadataRequest),
    framed("WIRE-FRAME-12/two-requests", *ended(changed(metadata(), is_pipelined=True), changed(PING, is_pipelined=True))),
    case("WIRE-FRAME-12/a-fetch-that-waits", *ended(changed(WAITS_A_LITTLE, waits=True, in_any_order=True)), sweep=m.FetchRequest),
    framed("WIRE-FRAME-12/half-a-request", *ended(metadata(odd=Odd(keep=-1, size=100), is_pipelined=True), answers=0)),
    framed("WIRE-FRAME-12/nothing-asked", *ended()),
)


def software(name: Any, version: Any = "1.0", **step: Any) -> Step:
    """A client that says what it is."""
    return Step(m.ApiVersionsRequest(name, version), **step)


ASKED = software("fiducial")
IMPROPER = {
    "empty": "", "underscore": "a_b", "blank": "a b", "plus": "a+", "dash-in-front": "-a", "dot-behind": "a.", "not-ascii": "caf\u00e9", "line-break": "a\n",
}  # fmt: skip

VERSIONS = (
    *(
        framed(f"WIRE-VERSIONS-1/{slug}", Step(Bytes(API_VERSIONS, data), version=version), PING)
        for slug, version, data in (
            ("99", 99, b""), ("highest", INT16_MAX, b"garbage"), ("negative", -1, b""), ("most-negative", INT16_MIN, b"garbage"),
        )
    ),
    framed("WIRE-VERSIONS-2/every-version", ASKED, sweep=m.ApiVersionsRequest, also=("WIRE-VERSIONS-4", "WIRE-FRAME-4")),
    *(framed(f"WIRE-VERSIONS-3/{slug}", software(name), software("a", name), PING, sweep=m.ApiVersionsRequest) for slug, name in IMPROPER.items()),
    framed(
        "WIRE-VERSIONS-3/proper", software("a"), software("0"), software("a.b-c--d..e", "x.1"), software("a" * 30_000), sweep=m.ApiVersionsRequest
    ),
    framed("WIRE-VERSIONS-4/ascending", ASKED, sweep=m.ApiVersionsRequest),
    framed("WIRE-VERSIONS-5/again-and-again", ASKED, metadata(), ASKED, ASKED, metadata(), sweep=m.ApiVersionsRequest),
    framed("WIRE-VERSIONS-5/never", metadata(connection=3), metadata(connection=3), sweep=m.MetadataRequest),
)  # fmt: skip

CASES: tuple[Case, ...] = (*FRAMES, *BY_API, *BODIES, *TURNS, *VERSIONS)
