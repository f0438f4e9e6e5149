"""XMP as programs write it and as it may be forged."""

from __future__ import annotations

import codecs
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.handlers.photo.metadata_samples import xmp
from workers.handlers.photo.metadata.model import PhotoMetadata, Position
from workers.handlers.photo.metadata.xmp import properties, read

TIME = "2019-12-24T18:30:00+01:00"
KNOWN = PhotoMetadata(TIME, "Acme", "One", "50mm", Position(-26.582517, -80.200233, 12.5))
ATTRIBUTES = {
    "exif_DateTimeOriginal": TIME,
    "tiff_Make": "Acme",
    "tiff_Model": "One",
    "aux_Lens": "50mm",
    "exif_GPSLatitude": "26,34.951S",
    "exif_GPSLongitude": "80,12.014W",
    "exif_GPSAltitude": "125/10",
    "exif_GPSAltitudeRef": "0",
}


def test_attributes_and_elements() -> None:
    elements = "".join(
        f"<{key.replace('_', ':')}>{value}</{key.replace('_', ':')}>" for key, value in ATTRIBUTES.items()
    )
    assert read(xmp(**ATTRIBUTES)) == read(xmp(elements)) == KNOWN


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"photoshop_DateCreated": TIME, "xmp_CreateDate": "2020-01-01T00:00:00"}, TIME),
        ({"exif_DateTimeOriginal": "0000-00-00", "xmp_CreateDate": TIME}, TIME),
        ({"exif_DateTimeDigitized": TIME}, TIME),
        ({"photoshop_DateCreated": "2019-12-24"}, "2019-12-24"),
        ({"xmp_CreateDate": "2019-12-24T18:30Z"}, "2019-12-24T18:30:00+00:00"),
        ({"exif_DateTimeOriginal": "2019-12-24T18:30:00", "exifEX_OffsetTimeOriginal": "+01:00"}, TIME),
        ({"exif_DateTimeOriginal": "2019-12-24T18:30:00.25"}, "2019-12-24T18:30:00.250"),
        ({"xmp_ModifyDate": TIME}, None),
    ],
)
def test_times(values: dict[str, str], expected: str | None) -> None:
    assert read(xmp(**values)).captured_at == expected


def test_places_below_the_sea_and_none() -> None:
    deep = read(xmp(**{**ATTRIBUTES, "exif_GPSAltitudeRef": "1"})).place
    assert deep
    assert deep.altitude == -12.5
    assert read(xmp(exif_GPSLatitude="0,0N", exif_GPSLongitude="0,0E")).place is None


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_encodings_with_and_without_a_byte_order_mark(encoding: str, mark: bytes) -> None:
    content = xmp(**ATTRIBUTES).decode().encode(encoding)
    assert read(content) == read(mark + content) == KNOWN


def test_bytes_that_are_no_text_are_not_the_end() -> None:
    assert read(xmp(**ATTRIBUTES).replace(b'"One"', b'"On\xe9"')).captured_at == TIME


def test_zeros_and_spaces_around_and_junk_behind() -> None:
    assert read(b"\0\0" + xmp(**ATTRIBUTES) + bytes(50)) == KNOWN
    assert read(b"\n  " + xmp(**ATTRIBUTES) + b"<junk") == KNOWN


def test_lists_and_alternatives_give_their_first_item() -> None:
    items = "<rdf:Seq><rdf:li>2019-12-24T18:30:00Z</rdf:li><rdf:li>x</rdf:li></rdf:Seq>"
    listed = f"<exif:DateTimeOriginal>{items}</exif:DateTimeOriginal>"
    assert read(xmp(listed)).captured_at == "2019-12-24T18:30:00+00:00"


def test_what_is_said_of_other_pictures_is_not_of_this_one() -> None:
    nested = (
        '<xmpMM:Ingredients><rdf:Bag><rdf:li rdf:parseType="Resource"><tiff:Make>Other</tiff:Make></rdf:li></rdf:Bag>'
        '</xmpMM:Ingredients><xmpMM:DerivedFrom><rdf:Description tiff:Make="Other"/></xmpMM:DerivedFrom>'
    )
    assert read(xmp(nested)).make is None
    assert read(xmp(nested + "<tiff:Make>Acme</tiff:Make>")).make == "Acme"


def test_the_usual_prefixes_need_no_declaration() -> None:
    packet = re.sub(rb' xmlns:(tiff|photoshop|exif)="[^"]*"', b"", xmp(**ATTRIBUTES, photoshop_Credit="x"))
    assert b"xmlns:tiff" not in packet
    assert read(packet) == KNOWN


def test_entities_are_refused() -> None:
    for declared in ("<!ENTITY a 'Acme'>", "<!ENTITY a SYSTEM 'file:///etc/hostname'>"):
        packet = xmp("<tiff:Make>&a;</tiff:Make>")
        assert properties(f"<!DOCTYPE x [{declared}]>".encode() + packet[packet.index(b"<x:xmpmeta") :]) == {}
    assert read(xmp("<tiff:Make>A&amp;B</tiff:Make>")).make == "A&B"


def test_a_tower_of_elements_ends() -> None:
    assert properties(xmp("<exif:a>" * 100_000)) == {}


def test_what_is_before_a_cut_is_read() -> None:
    packet = xmp("<tiff:Make>Acme</tiff:Make><tiff:Model>One</tiff:Model>")
    assert read(packet[: packet.index(b"One")]) == PhotoMetadata(make="Acme")


@given(st.data())
def test_any_damage_is_read_or_left_out(data: st.DataObject) -> None:
    packet = bytearray(xmp(**ATTRIBUTES))
    for _ in range(data.draw(st.integers(1, 8))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(packet)), PhotoMetadata)


@given(st.binary())
def test_any_bytes_are_read_or_left_out(content: bytes) -> None:
    assert read(content) == PhotoMetadata()
