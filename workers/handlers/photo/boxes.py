"""Reads the boxes of a HEIF or AVIF file: how its primary image is coded, and its colours.

The structure is that of ISO 14496-12 and ISO 23008-12.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.handlers.photo.colour_encoding import CodePoints

_MAX_BOXES = 10_000
"""Boxes, items and properties to look at, in all: a phone's photo has some hundred."""
_MAX_BYTES = 16 << 20
"""Of a ``meta`` or ``moov`` box; an embedded profile or EXIF block is part of neither's structure read here."""
_DERIVED = frozenset({b"grid", b"iden", b"iovl", b"tmap"})
"""Items made of other items, which are named by a ``dimg`` reference."""
_TRACK_PATH = (b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True, slots=True)
class CodedImage:
    """The image that a reader shows: the primary item, or the first track of a file without items."""

    coding: bytes
    """The type of its item or sample entry, four bytes: ``hvc1``, ``av01``, ``jpeg``."""
    code_points: CodePoints | None
    """Of its ``nclx`` colour box; None where there is none."""
    has_profile: bool
    """Whether an ICC profile is there, which goes before the code points."""
    is_sequence: bool
    """Whether it is a track's first frame."""


class _MalformedError(Exception):
    pass


def coded_image(path: Path) -> CodedImage | None:
    """Return how the image is coded; None where the structure cannot be followed."""
    with path.open("rb") as file:
        top = _top_level(file)
    try:
        if b"meta" in top and (image := _primary_item(top[b"meta"][4:])):
            return image
        return _first_track(top[b"moov"]) if b"moov" in top else None
    except (_MalformedError, IndexError):
        return None


def _top_level(file: BinaryIO) -> dict[bytes, bytes]:
    """Content of the first ``meta`` and ``moov`` box."""
    size = os.fstat(file.fileno()).st_size
    found: dict[bytes, bytes] = {}
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        length, start = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), 16
        end = size if length == 0 else at + length
        if len(header) < 8 or end < at + start or end > size:
            break
        kind = header[4:8]
        if kind in (b"meta", b"moov") and kind not in found and end - at <= _MAX_BYTES:
            file.seek(at + start)
            found[kind] = file.read(end - at - start)
        at = end
    return found


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(content):
            return
        length = int.from_bytes(content[at : at + 4], "big") or len(content) - at
        if length < 8 or at + length > len(content):
            raise _MalformedError
        yield content[at + 4 : at + 8], content[at + 8 : at + length]
        at += length


def _first(content: bytes, kind: bytes) -> bytes:
    return next((inner for name, inner in _boxes(content) if name == kind), b"")


def _primary_item(meta: bytes) -> CodedImage | None:
    parts = dict(reversed(list(_boxes(meta))))
    if b"pitm" not in parts or b"iinf" not in parts:
        return None
    primary = _primary_id(parts[b"pitm"])
    coding = _item_coding(primary, _item_types(parts[b"iinf"]), _derived_from(parts.get(b"iref", b"")))
    properties = _properties(parts.get(b"iprp", b""), primary)
    colours = [content for kind, content in properties if kind == b"colr"]
    return _coded(coding, colours, is_sequence=False) if coding else None


def _primary_id(pitm: bytes) -> int:
    return int.from_bytes(pitm[4 : 8 if pitm[0] else 6], "big")


def _item_coding(item: int, types: dict[int, bytes], derived: dict[int, int]) -> bytes | None:
    """Follow derived images (a grid of tiles) to the first that is coded."""
    for _ in range(8):
        coding = types.get(item)
        if coding not in _DERIVED:
            return coding
        item = derived.get(item, 0)
    return None


def _item_types(iinf: bytes) -> dict[int, bytes]:
    types: dict[int, bytes] = {}
    for kind, entry in _boxes(iinf[8 if iinf[0] else 6 :]):
        if kind == b"infe" and entry[0] >= 2:
            width = 4 if entry[0] >= 3 else 2
            types[int.from_bytes(entry[4 : 4 + width], "big")] = entry[6 + width : 10 + width]
    return types


def _derived_from(iref: bytes) -> dict[int, int]:
    """The first image that each derived image is made of."""
    if not iref:
        return {}
    width = 4 if iref[0] else 2
    return {
        int.from_bytes(entry[:width], "big"): int.from_bytes(entry[width + 2 : 2 * width + 2], "big")
        for kind, entry in _boxes(iref[4:])
        if kind == b"dimg"
    }


def _properties(iprp: bytes, item: int) -> list[tuple[bytes, bytes]]:
    properties = list(_boxes(_first(iprp, b"ipco")))
    indices = (index for kind, ipma in _boxes(iprp) if kind == b"ipma" for index in _associated(ipma, item))
    return [properties[index - 1] for index in indices if 0 < index <= len(properties)]


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers of an item's properties, from 1 (ISO 23008-12, ItemPropertyAssociation)."""
    id_width, index_width = (4 if ipma[0] else 2), (2 if ipma[3] & 1 else 1)
    at = 8
    for _ in range(min(int.from_bytes(ipma[4:8], "big"), _MAX_BOXES)):
        identifier, count = int.from_bytes(ipma[at : at + id_width], "big"), ipma[at + id_width]
        at += id_width + 1
        if identifier == item:
            entries = (ipma[at + n * index_width : at + (n + 1) * index_width] for n in range(count))
            mask = 0x7FFF if index_width == 2 else 0x7F
            return [int.from_bytes(entry, "big") & mask for entry in entries]
        at += count * index_width
    return []


def _first_track(moov: bytes) -> CodedImage | None:
    for kind, track in _boxes(moov):
        if kind != b"trak":
            continue
        content = track
        for name in _TRACK_PATH:
            content = _first(content, name)
        for coding, entry in _boxes(content[8:]):
            # A visual sample entry has 78 bytes before its boxes (ISO 14496-12, 12.1.3).
            return _coded(coding, [inner for name, inner in _boxes(entry[78:]) if name == b"colr"], is_sequence=True)
    return None


def _coded(coding: bytes, colours: list[bytes], *, is_sequence: bool) -> CodedImage:
    points = [CodePoints.from_nclx(colour[4:]) for colour in colours if colour[:4] == b"nclx" and len(colour) >= 10]
    has_profile = any(colour[:4] in (b"prof", b"rICC") for colour in colours)
    return CodedImage(coding, points[0] if points else None, has_profile=has_profile, is_sequence=is_sequence)
