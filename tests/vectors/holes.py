"""Frames as parts: bytes, and holes for what only one broker can know (its ids, its clock, its texts). spec/vectors.md describes the parts.

What the oracle gives out is known by its value wherever it stands, so a frame may be of any kind, cut or spoilt; only in answers some fields are
looked at by name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from crc32c import crc32c

from fiducial.conformance import codec
from fiducial.conformance.abstraction import TEXTS, UNORDERED
from fiducial.conformance.batches import stored_batches
from fiducial.conformance.codec import INT32, NUMBERS, Raw, Version, fields_of
from fiducial.conformance.layouts import STRUCTS, Field
from fiducial.conformance.others import SOMEBODY_ELSES
from fiducial.conformance.symbols import UNKNOWN_ID
from fiducial.models import messages as m
from fiducial.models.settings import BROKER, TOPIC
from fiducial.models.values import ZERO_UUID, changed

Part = dict[str, Any]
Parts = list[Part]

#: The oracle's clock when a history begins, and how far around it a time is one of the history's own: all of these begin with the same four bytes.
BEGUN_MS = 0x7E5A_8000_0000
NEAR_MS = 1 << 30
#: A time of the broker's own is not farther than this from the reader's.
NOW_MS = 1_800_000
#: The broker's id; what makes a history's names its own; and the first producer id.
NODE, RUN, PRODUCER = 0x6ED0_6ED1, "RnRnRnRn", 0x5D0C_E25D_0CE2_0000

INT64 = NUMBERS["int64"]
MARK = b"\xfemark\xff"
#: Numbers that nobody promises.
FREE = frozenset({"throttle_time_ms", "port", "total_bytes", "usable_bytes"})
#: Where things stand in a batch, and how long it is without records.
LENGTH_AT, MAGIC_AT, CHECKSUM_AT, CHECKED_AT, ATTRIBUTES_AT, BATCH_BYTES = 8, 16, 17, 21, 21, 61
CODEC_BITS = 7


class Inexpressible(Exception):
    """It cannot be written down as bytes with holes; the text says why."""


class Holes:
    """What stands for what. `known`: names of values by their bytes; `clock`: the times that the oracle was given as its own."""

    def __init__(self) -> None:
        self.known: dict[bytes, str] = {RUN.encode(): "run", INT32.pack(NODE): "node"}
        self.clock: set[int] = set()
        self.caught: set[str] = {"run"}  # names that the reader has a value for
        self.sent = b""  # all requests

    # Bytes

    def request(self, data: bytes) -> Parts:
        """What is sent. Inexpressible if it needs what no answer has told before."""
        self.sent += data
        parts = self.of(data)
        if untold := set(names(parts)) - self.caught:
            raise Inexpressible(f"nobody has told the {', '.join(sorted(untold))}")
        return parts

    def of(self, data: bytes) -> Parts:
        """Bytes as parts. A batch with a right checksum keeps it right, whatever is put into its holes."""
        check_strangers(data)
        parts: Parts = []
        end = 0
        for begin, behind in batches_in(data):
            inner = self.found(data[begin + CHECKED_AT : behind])
            if names(inner) or len(inner) > 1:
                parts += [*self.found(data[end : begin + CHECKSUM_AT]), {"crc": inner}]
                end = behind
        return joined([*parts, *self.found(data[end:])])

    def found(self, data: bytes) -> Parts:
        """Bytes as parts, by the values that are known."""
        pattern = b"|".join([*map(re.escape, self.known), re.escape(INT32.pack(BEGUN_MS >> 32)) + b".{4}"])
        parts: Parts = []
        end = 0
        for one in re.finditer(pattern, data, re.DOTALL):
            parts += [*plain(data[end : one.start()]), self.hole(one[0])]
            end = one.end()
        return [*parts, *plain(data[end:])]

    def hole(self, held: bytes) -> Part:
        """What stands for a value."""
        if held in self.known:
            return {"hole": self.known[held], "bytes": len(held)}
        (at_ms,) = INT64.unpack(held)
        if at_ms in self.clock:
            return {"now": NOW_MS}
        return {"ago": BEGUN_MS - at_ms} if abs(BEGUN_MS - at_ms) < NEAR_MS else {"hex": held.hex()}

    # Answers

    def answer(self, head: bytes, message: Any, api_key: int, version: int) -> Parts:
        """What is answered: a correlation id and what else is in front, and a message."""
        marked = Marked(self)
        loose = marked.struct(message, codec.version_of(api_key, version))
        parts = self.of(head) + marked.parts(codec.encode(loose, api_key, version, "response"))
        self.caught.update(names(parts))
        return joined(parts)


class Marked:
    """One answer, in which marks stand for the parts that are no bytes."""

    def __init__(self, holes: Holes) -> None:
        self.holes = holes
        self.made: Parts = []

    def mark(self, part: Part, before: bytes = b"") -> Raw:
        """Bytes to stand in the place of a part."""
        self.made.append(part)
        return Raw(before + MARK + INT32.pack(len(self.made) - 1))

    def parts(self, data: bytes) -> Parts:
        """Encoded bytes, the marks in them replaced; behind what takes all the rest, there is nothing."""
        parts: Parts = []
        pieces = re.split(re.escape(MARK) + b"(.{4})", data, flags=re.DOTALL)
        for number, piece in enumerate(pieces):
            parts += [self.made[INT32.unpack(piece)[0]]] if number % 2 else self.holes.of(piece)
            if parts and "rest" in parts[-1]:
                break
        return joined(parts)

    def struct(self, held: Any, version: Version) -> Any:
        """A message, or a part of one, with marks in it."""
        kind = type(held)
        refuse(held)
        loose = {field.name: self.field(field, getattr(held, field.name), kind, version) for field in fields_of(kind.__name__, version) if field.tag is None}
        return changed(held, **loose)

    def field(self, field: Field, held: Any, owner: type, version: Version) -> Any:
        """One field of it."""
        kind = field.kind.removeprefix("[]")
        if (owner, field.name) in REST:
            return self.mark({"rest": True}) if held else held
        if field.name in FREE:
            return self.mark({"bytes": NUMBERS[kind].size})
        if field.name == "topic_id" and held not in (ZERO_UUID, UNKNOWN_ID, *self.holes.known):  # of a topic that was not made
            return self.mark({"bytes": len(held)})
        if field.name in TEXTS and held:
            return self.mark({"sized": 1 if version.is_flexible else 2})
        if field.name == "records" and held:
            return self.records(held, version)
        if kind not in STRUCTS or not held:
            return held
        if kind == field.kind:
            return self.struct(held, version)
        entries = tuple(self.struct(one, version) for one in held)
        return self.in_any_order(entries, version) if len(held) > 1 and (owner, field.name) in IN_ANY_ORDER else entries

    def in_any_order(self, entries: tuple[Any, ...], version: Version) -> Raw:
        """A list whose order nobody promises."""
        size, written = bytearray(), []
        codec.write_size(size, len(entries), INT32, version)
        for entry in entries:
            out = bytearray()
            codec.write_struct(out, type(entry).__name__, entry, version)
            written.append(self.parts(bytes(out)))
        return self.mark({"order": written}, bytes(size))

    def records(self, data: bytes, version: Version) -> bytes | Raw:
        """Batches. How much there is of one that is cut, is each broker's own affair, up to what is here."""
        _, left = stored_batches(data)
        check_packed(data[: len(data) - left], self.holes.sent)
        if not left:
            return data
        return self.mark({"sized": 1 if version.is_flexible else 4, "begins": self.holes.of(data[: len(data) - left]), "most": len(data)})


#: Lists whose order nobody promises (that errors come last in Metadata is not looked at).
IN_ANY_ORDER = UNORDERED | {(m.MetadataResponse, "topics")}
#: From here on, an answer may hold more than ours.
REST = {(m.ApiVersionsResponse, "api_keys"), (m.CreatableTopicResult, "configs")}


def refuse(held: Any) -> None:
    """Inexpressible, if there is more in it than a broker promises."""
    match held:
        case m.CreateTopicsResponse(topics=[_, _, *_] as topics) if any(topic.configs for topic in topics):
            raise Inexpressible("lists of configurations in the middle of an answer")
        case m.DescribeConfigsResult(configs=[*configs]) if any({one.name for one in configs} >= every.keys() for every in (BROKER, TOPIC)):
            raise Inexpressible("all configurations, of which each broker has others")
        case m.FindCoordinatorResponse() | m.Coordinator() if held.error_message is not None:
            raise Inexpressible("a text that may be there or not")
        case _:
            pass


def check_strangers(data: bytes) -> None:
    """Inexpressible, if somebody is named in it in a way that holes cannot stand for."""
    if SOMEBODY_ELSES.encode() in data:
        raise Inexpressible("tells of the topics of others")
    if str(NODE).encode() in data:
        raise Inexpressible("names the broker's id in digits")
    if any(INT32.pack(NODE + beside) in data for beside in (-1, 1)):
        raise Inexpressible("names a broker that is none")


def check_packed(stored: bytes, sent: bytes) -> None:
    """Inexpressible, if a batch was packed by the broker: each packs in its own way."""
    while stored:
        end = LENGTH_AT + INT32.size + INT32.unpack_from(stored, LENGTH_AT)[0]
        if stored[ATTRIBUTES_AT + 1] & CODEC_BITS and stored[BATCH_BYTES:end] not in sent:
            raise Inexpressible("a batch that the broker packs")
        stored = stored[end:]


def batches_in(data: bytes) -> Iterator[tuple[int, int]]:
    """Where batches with a right checksum begin and end."""
    begin = 0
    while (begin := data.find(b"\x02", begin + MAGIC_AT) - MAGIC_AT) >= 0:
        end = begin + LENGTH_AT + INT32.size + INT32.unpack_from(data, begin + LENGTH_AT)[0]
        if begin + BATCH_BYTES <= end <= len(data) and INT32.pack(signed_crc(data[begin + CHECKED_AT : end])) == data[begin + CHECKSUM_AT : begin + CHECKED_AT]:
            yield begin, end
            begin = end - MAGIC_AT - 1
        begin += 1


def signed_crc(data: bytes) -> int:
    """CRC-32C as the layout has it."""
    (number,) = struct.unpack(">i", struct.pack(">I", crc32c(data)))
    return int(number)


def plain(data: bytes) -> Parts:
    """Bytes that are as they are."""
    return [{"hex": data.hex()}] if data else []


def joined(parts: Parts) -> Parts:
    """With bytes that stand side by side in one part."""
    made: Parts = []
    for part in parts:
        if made and "hex" in part and "hex" in made[-1]:
            made[-1] = {"hex": made[-1]["hex"] + part["hex"]}
        else:
            made.append(part)
    return made


def names(parts: Parts) -> list[str]:
    """The holes that have a name, wherever they are."""
    found: list[str] = []
    for part in parts:
        found += [part["hole"]] if "hole" in part else []
        for inner in (part.get("crc", []), part.get("begins", []), *part.get("order", [])):
            found += names(inner)
    return found
