"""Chance as state."""

from __future__ import annotations

import hashlib
import itertools
from base64 import urlsafe_b64encode
from collections.abc import Iterator

import pytest

from fiducial.models.state import SEED_BYTES, Chance
from fiducial.models.values import Uuid

#: 2^64 less 1, and 2^64 divided by the golden ratio, of which each number of SplitMix64 is one more.
WORD, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15


def drawn_from(seed: int) -> Iterator[Uuid]:
    """The ids of a seed, one after the other."""
    chance = Chance(seed)
    while True:
        one, chance = chance.uuid()
        yield one


def test_the_same_seed_gives_the_same_ids_and_never_one_twice() -> None:
    first, after = Chance(7).uuid()
    assert (first, after) == Chance(7).uuid() and after == Chance(7, 1)
    drawn = set(itertools.islice(drawn_from(7), 1000))
    assert all(len(one) == 16 and one[6] >> 4 == 4 and one[8] >> 6 == 2 for one in drawn)  # a random UUID says so
    assert len(drawn) == 1000 and Chance(8).uuid()[0] not in drawn


@pytest.mark.rule("WIRE-TOPIC-45")
def test_no_id_begins_with_a_dash() -> None:
    texts = [urlsafe_b64encode(one) for one in itertools.islice(drawn_from(7), 2000)]
    first = {text[0] for text in texts}
    assert ord("-") not in first and len(first) == 63  # each other sign does begin some


# Whoever knows some ids cannot reckon others


@pytest.mark.rule("WIRE-TOPIC-44")
def test_an_id_is_a_hash_of_its_number_under_the_seed_as_key() -> None:
    seed = (1 << 8 * SEED_BYTES) - 7
    for draws in (0, 1, 255, 2**40):
        summed = hashlib.blake2b(draws.to_bytes(8, "big"), key=seed.to_bytes(SEED_BYTES, "big"), digest_size=16).digest()
        first, after = Chance(seed, draws).uuid()
        assert after == Chance(seed, draws + 1)
        assert [one & mask for one, mask in zip(first, MASK, strict=True)] == [one & mask for one, mask in zip(summed, MASK, strict=True)]


@pytest.mark.rule("WIRE-TOPIC-44")
def test_every_byte_of_the_seed_counts() -> None:
    assert len({Chance(1 << 8 * place).uuid()[0] for place in range(SEED_BYTES)}) == SEED_BYTES >= 32


@pytest.mark.rule("WIRE-TOPIC-44")
def test_who_knows_a_seed_is_not_told_by_what_is_printed() -> None:
    assert str(123456789) not in repr(Chance(123456789))


#: The bits of an id that are not the same in every random UUID.
MASK = bytes((255, 255, 255, 255, 255, 255, 15, 255, 63, 255, 255, 255, 255, 255, 255, 255))


def mixed(number: int) -> int:
    """A number of SplitMix64."""
    number &= WORD
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & WORD
    number = (number ^ number >> 27) * 0x94D049BB133111EB & WORD
    return number ^ number >> 31


def undone(number: int) -> int:
    """What SplitMix64 made a number of."""
    number ^= number >> 31 ^ number >> 62
    number = number * pow(0x94D049BB133111EB, -1, 1 << 64) & WORD
    number ^= number >> 27 ^ number >> 54
    number = number * pow(0xBF58476D1CE4E5B9, -1, 1 << 64) & WORD
    return number ^ number >> 30 ^ number >> 60


def uuid_of(number: int) -> Uuid:
    """The id that ids once were made of, by SplitMix64."""
    drawn = bytearray(mixed(number).to_bytes(8, "big") + mixed(number + GOLDEN).to_bytes(8, "big"))
    drawn[6], drawn[8] = drawn[6] & 0x0F | 0x40, drawn[8] & 0x3F | 0x80
    return bytes(drawn)


def reckoned(known: Uuid) -> Uuid | None:
    """The id behind a known one, if they come from SplitMix64: undone, but for the four bits of each random UUID, which are tried."""
    half = int.from_bytes(known[:8], "big") & ~0xF000
    numbers = (undone(half | bits << 12) for bits in range(16))
    return next((uuid_of(number + 2 * GOLDEN) for number in numbers if uuid_of(number) == known), None)


def test_what_would_reckon_the_next_id_does_so_where_it_can_be() -> None:
    assert [reckoned(uuid_of(seed + GOLDEN)) for seed in range(100)] == [uuid_of(seed + 3 * GOLDEN) for seed in range(100)]


@pytest.mark.rule("WIRE-TOPIC-44")
def test_the_next_id_cannot_be_reckoned_from_one() -> None:
    assert not any(reckoned(one) for one in itertools.islice(drawn_from(7), 100))
