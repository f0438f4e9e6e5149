"""EXIF as cameras write it and as it may be forged."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.handlers.photo.metadata_samples import (
    ASCII,
    DIGITIZED,
    DOUBLE,
    EXIF,
    GPS,
    LENS,
    MAKE,
    MODEL,
    OFFSET_ORIGINAL,
    ORIGINAL,
    UNDEFINED,
    Tag,
    degrees,
    exif,
    number,
    rationals,
    taken,
    text,
)
from workers.handlers.photo.metadata.exif import read_block
from workers.handlers.photo.metadata.model import PhotoMetadata, Position

ZONE = "+02:00"
KNOWN = PhotoMetadata(
    "2023-05-15T10:30:00+02:00", "Acme (Japan) Inc", "One", "50mm F1.2", Position(-36.804039, 174.726483, 34.5)
)


def whole(order: str = "<") -> bytes:
    return exif(
        {MAKE: text("Acme (Japan) Inc"), MODEL: text("One")},
        {LENS: text("50mm F1.2"), ORIGINAL: text("2023:05:15 10:30:00"), OFFSET_ORIGINAL: text(ZONE)},
        {
            1: text("S"),
            2: degrees(36, 48, 14.54, order=order),
            3: text("E"),
            4: degrees(174, 43, 35.34, order=order),
            5: Tag(1, b"\0", 1),
            6: rationals((345, 10), order=order),
        },
        order,
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\0Exif\0\0", b"\0\0\0\x06Exif\0\0", b"Exif\0\xff"])
def test_everything_known(order: str, prefix: bytes) -> None:
    assert read_block(prefix + whole(order)) == KNOWN


@pytest.mark.parametrize("content", [b"", b"Exif\0\0", b"II*\0", b"II*\0\xff\xff\xff\xff" + bytes(20), b"x" * 200])
def test_nothing_known(content: bytes) -> None:
    assert read_block(content) == PhotoMetadata()


def time_of(block: bytes) -> str | None:
    return read_block(block).captured_at


def test_the_first_time_that_is_one() -> None:
    digitized = "2007:02:19 10:20:30"
    assert time_of(taken("2024:05:04 16:41:42", digitized=digitized)) == "2024-05-04T16:41:42"
    assert time_of(taken("0000:00:00 00:00:00", digitized=digitized)) == "2007-02-19T10:20:30"
    assert time_of(taken("    :  :     :  :  ", digitized=digitized)) == "2007-02-19T10:20:30"
    assert time_of(exif({}, {DIGITIZED: text(digitized)})) == "2007-02-19T10:20:30"
    assert time_of(exif({ORIGINAL: text(digitized)})) == "2007-02-19T10:20:30"


def test_each_time_has_an_offset_and_a_fraction_of_its_own() -> None:
    original = taken("2024:05:04 16:41:42", sub_original="809319", offset_original="+01:00", offset="+02:00")
    assert time_of(original) == "2024-05-04T16:41:42.809319+01:00"
    digitized = taken(
        "", digitized="2024:05:04 16:41:42", sub_digitized="5", offset_digitized="Z", offset_original=ZONE
    )
    assert time_of(digitized) == "2024-05-04T16:41:42.500+00:00"
    assert time_of(taken("2024:05:04 16:41:42", offset_original="   :  ", offset=ZONE)) == "2024-05-04T16:41:42+02:00"
    assert time_of(taken("2024:05:04 16:41:42", offset_original="+25:00")) == "2024-05-04T16:41:42"


@pytest.mark.parametrize("kind", [1, ASCII, UNDEFINED, 129])
def test_text_of_any_type(kind: int) -> None:
    block = exif({MAKE: text("Acme", kind), MODEL: text("M", kind)}, {ORIGINAL: text("2024:05:04 16:41:42", kind)})
    assert read_block(block) == PhotoMetadata("2024-05-04T16:41:42", "Acme", "M")


@pytest.mark.parametrize(
    ("written", "expected"),
    [("Müller".encode(), "Müller"), ("Müller".encode("latin-1"), "Müller"), (b"Acme\0junk", "Acme"), (b"\0\0", None)],
)
def test_characters(written: bytes, expected: str | None) -> None:
    assert read_block(exif({MAKE: text(written)})).make == expected


def place_of(**changed: Tag | None) -> Position | None:
    tags: dict[str, Tag | None] = {
        "t1": text("N"), "t2": degrees(10, 30, 0), "t3": text("W"), "t4": degrees(20, 15, 0), **changed
    }  # fmt: skip
    return read_block(exif({}, None, {int(name[1:]): tag for name, tag in tags.items() if tag})).place


def test_places() -> None:
    assert place_of() == Position(10.5, -20.25)
    assert place_of(t1=text("South"), t3=text("e")) == Position(-10.5, 20.25)
    assert place_of(t2=degrees(10, 30), t4=degrees(20.25)) == Position(10.5, -20.25)
    assert place_of(t2=rationals((-10, 1), (30, 1)), t1=None) == Position(-10.5, -20.25)
    assert place_of(t2=Tag(DOUBLE, struct.pack("<d", 10.5), 1)) == Position(10.5, -20.25)
    assert place_of(t2=text("10,30N"), t4=text("20.25", UNDEFINED)) == Position(10.5, -20.25)
    assert place_of(t2=rationals((10, 1), (30, 1), (0, 0))) == Position(10.5, -20.25)


@pytest.mark.parametrize(
    "changed",
    [
        {"t1": None},
        {"t3": text("?")},
        {"t2": None},
        {"t2": degrees(91, 0, 0)},
        {"t2": rationals((10, 0), (0, 1), (0, 1))},
        {"t2": Tag(DOUBLE, struct.pack("<d", float("nan")), 1)},
        {"t2": Tag(DOUBLE, struct.pack("<d", float("inf")), 1)},
        {"t2": degrees(0, 0, 0), "t4": degrees(0, 0, 0)},
        {"t4": degrees(181)},
    ],
)
def test_what_is_no_place(changed: dict[str, Tag | None]) -> None:
    assert place_of(**changed) is None


@pytest.mark.parametrize(
    ("reference", "expected"),
    [(None, 34.5), (Tag(1, b"\0", 1), 34.5), (Tag(1, b"\1", 1), -34.5), (Tag(1, b"\3", 1), -34.5), (text("1"), -34.5)],
)
def test_above_and_below_the_sea(reference: Tag | None, expected: float) -> None:
    found = place_of(t5=reference, t6=rationals((345, 10)))
    assert found
    assert found.altitude == expected


def test_directories_that_point_to_themselves_and_beyond_end() -> None:
    assert read_block(exif({MAKE: text("Acme"), EXIF: number(8), GPS: number(8)}, following=8)).make == "Acme"
    assert read_block(exif({MAKE: text("Acme"), EXIF: number(2**32 - 1), GPS: number(7)})).make == "Acme"


def test_counts_that_nobody_can_hold() -> None:
    assert read_block(exif({MAKE: Tag(ASCII, b"Acme and more\0", 2**32 - 1), MODEL: text("M")})).model == "M"


@given(st.data())
def test_any_damage_is_read_or_left_out(data: st.DataObject) -> None:
    block = bytearray(whole())
    for _ in range(data.draw(st.integers(1, 12))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read_block(bytes(block[: data.draw(st.integers(0, len(block)))])), PhotoMetadata)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_left_out(content: bytes) -> None:
    assert isinstance(read_block(b"II*\0\x08\0\0\0" + content), PhotoMetadata)
