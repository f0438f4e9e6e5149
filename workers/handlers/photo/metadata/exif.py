"""Reads EXIF: directories of tags as in TIFF (CIPA DC-008, Exif 3.0)."""

from __future__ import annotations

import io
import math
import re
import struct
from fractions import Fraction
from typing import BinaryIO

from workers.handlers.photo import tiff
from workers.handlers.photo.metadata.model import PhotoMetadata, Position, name
from workers.handlers.photo.metadata.places import Angle, Number, altitude, angle, numbers, place
from workers.handlers.photo.metadata.timestamps import capture_time
from workers.handlers.photo.tiff import Directory, Field, Reader

_MAKE, _MODEL, _LENS = 271, 272, 42036
_EXIF, _GPS, _XMP, _IPTC, _PHOTOSHOP = 34665, 34853, 700, 33723, 34377
_ORIGINAL = (36867, 37521, 36881)
_DIGITIZED = (36868, 37522, 36882)
"""Tags of a time, its fraction of a second, and its offset."""
_OFFSET_TIME = 36880
_LATITUDE, _LONGITUDE, _ALTITUDE = (1, 2), (3, 4), (5, 6)
"""Tags of a reference and of what it belongs to."""
_BELOW_SEA_LEVEL = frozenset({"1", "3"})
"""References of an altitude: 1, and since Exif 3.0 3, below the ellipsoid."""
_FRACTIONS = {5: "II", 10: "ii"}
_FLOATS = {11: "f", 12: "d"}
_SIGNED = frozenset({6, 8, 9, 10, 11, 12})
_TEXTS = frozenset({1, 2, 7, 129})
"""Bytes, text, undefined and UTF-8: what programs use for text."""
_MAX_TEXT = 2_000
_MAX_NUMBERS = 4
_MAX_PACKET = 4 << 20
_HEADER = re.compile(rb"II[*+]\0|MM\0[*+]")
_MAX_PREFIX = 64
"""Bytes before the header: ``Exif`` once or twice, and a length where it comes from a HEIF file."""


def read_block(block: bytes) -> PhotoMetadata:
    """Return the facts of an EXIF block, with or without what containers put before it."""
    header = _HEADER.search(block[:_MAX_PREFIX])
    return read(io.BytesIO(block[header.start() :])) if header else PhotoMetadata()


def read(file: BinaryIO) -> PhotoMetadata:
    """Return the facts in the directories of a TIFF, which an EXIF block is too."""
    reader = tiff.opened(file)
    return _Tags(reader).metadata() if reader else PhotoMetadata()


def packets(file: BinaryIO) -> tuple[bytes, bytes, bytes]:
    """Return the XMP packet, IPTC data and Photoshop resources of a TIFF, each empty where there is none."""
    reader = tiff.opened(file)
    if reader is None:
        return b"", b"", b""
    main, _ = reader.directory(reader.first)
    found = (main.fields.get(tag) for tag in (_XMP, _IPTC, _PHOTOSHOP))
    xmp, iptc, photoshop = (reader.content(field, _MAX_PACKET) if field else b"" for field in found)
    return xmp, iptc, photoshop


class _Tags:
    """The tags of the first image: its own, those of EXIF, and those of GPS. Nothing below them is followed."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._main, _ = reader.directory(reader.first)
        self._exif = self._below(_EXIF)
        self._gps = self._below(_GPS)

    def metadata(self) -> PhotoMetadata:
        times = (self._time(*tags) for tags in (_ORIGINAL, _DIGITIZED))
        return PhotoMetadata(
            next((time for time in times if time), None),
            name(self._text(_MAKE)),
            name(self._text(_MODEL)),
            name(self._text(_LENS)),
            self._place(),
        )

    def _below(self, tag: int) -> Directory:
        at = self._main.number(tag) or (self._exif.number(tag) if tag != _EXIF else 0)
        return self._reader.directory(at)[0] if at > 0 else Directory({}, {})

    def _time(self, tag: int, sub_seconds: int, offset: int) -> str | None:
        offsets = (self._text(offset), self._text(_OFFSET_TIME))
        return capture_time(self._text(tag), self._text(sub_seconds), offsets)

    def _text(self, tag: int) -> str:
        # TIFF/EP and DNG have the tags of EXIF in the image's own directory, and some programs the other way round.
        for directory in (self._exif, self._main):
            if text := self._text_of(directory.fields.get(tag)):
                return text
        return ""

    def _text_of(self, field: Field | None) -> str:
        if field is None or field.kind not in _TEXTS:
            return ""
        return _decoded(self._reader.content(field, _MAX_TEXT))

    def _place(self) -> Position | None:
        reference, tag = _ALTITUDE
        is_below = self._reference(reference) in _BELOW_SEA_LEVEL
        height = altitude(self._numbers(self._gps.fields.get(tag)), is_below=is_below)
        return place(self._angle(*_LATITUDE), self._angle(*_LONGITUDE), height)

    def _angle(self, reference: int, tag: int) -> Angle:
        field = self._gps.fields.get(tag)
        if field and field.kind in _TEXTS:
            return angle(self._text_of(field), self._reference(reference))
        is_signed = field is not None and field.kind in _SIGNED
        return Angle(self._numbers(field), self._reference(reference), is_signed=is_signed)

    def _reference(self, tag: int) -> str:
        field = self._gps.fields.get(tag)
        text = self._text_of(field)
        return text if text and text.isprintable() else str(self._gps.number(tag, default=-1))

    def _numbers(self, field: Field | None) -> list[Number]:
        if field is None:
            return []
        if field.kind in _TEXTS:
            return numbers(self._text_of(field))
        if field.kind in _FRACTIONS:
            return [_fraction(*pair) for pair in self._unpacked(field, _FRACTIONS[field.kind])]
        if field.kind in _FLOATS:
            return [_finite(value) for (value,) in self._unpacked(field, _FLOATS[field.kind])]
        return [Fraction(value) for value in self._reader.whole_numbers(field, _MAX_NUMBERS)]

    def _unpacked(self, field: Field, layout: str) -> list[tuple[float, ...]]:
        one = struct.Struct(self._reader.order + layout)
        content = self._reader.content(field, _MAX_NUMBERS * one.size)
        return list(one.iter_unpack(content[: len(content) // one.size * one.size]))


def _fraction(numerator: float, denominator: float) -> Number:
    return Fraction(int(numerator), int(denominator)) if denominator else None


def _finite(value: float) -> Number:
    return Fraction(value) if math.isfinite(value) else None


def _decoded(content: bytes) -> str:
    """Text ends at a zero. Exif 2.3 has ASCII only, later versions UTF-8; some programs write Latin-1."""
    text = content.lstrip(b"\0").partition(b"\0")[0]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
