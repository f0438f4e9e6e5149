"""Finds the blocks of EXIF, XMP and IPTC in a photo's file, wherever its format lets programs put them."""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

from workers.handlers.photo.formats import Format
from workers.handlers.photo.metadata import exif, iptc
from workers.handlers.photo.segments import segments

MAX_BYTES = 8 << 20
"""Of one block, also when decompressed. A JPEG's segment has 64 KiB at most."""
_MAX_BLOCKS = 16
_MAX_PARTS = 1_000_000
_MAX_GIF = 64 << 20


class Standard(Enum):
    """Of a block's content."""

    EXIF = "exif"
    XMP = "xmp"
    IPTC = "iptc"


@dataclass(frozen=True, slots=True)
class MetadataBlock:
    """Metadata by one standard, without what the file's format puts around it."""

    standard: Standard
    content: bytes


def find(file: BinaryIO, kind: Format) -> list[MetadataBlock]:
    """Return the blocks in a file, at most 16. A damaged part ends the search, and is no error."""
    search = _SEARCHES.get(kind)
    blocks: list[MetadataBlock] = []
    for block in search(file) if search else ():
        blocks.append(block)
        if len(blocks) == _MAX_BLOCKS:
            break
    return blocks


def _in_photoshop(resources: bytes) -> Iterator[MetadataBlock]:
    if content := iptc.in_resources(resources):
        yield MetadataBlock(Standard.IPTC, content)


# ── JPEG ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP_SEGMENT = b"Photoshop 3.0\0"
_APP1, _APP13 = 0xE1, 0xED


def _in_jpeg(file: BinaryIO) -> Iterator[MetadataBlock]:
    """Segments before the pixels: ``APP1``, and ``APP13``, whose resources may go on in the next one."""
    resources = b""
    for marker, at, length in segments(file):
        if marker not in (_APP1, _APP13):
            continue
        file.seek(at)
        content = file.read(length)
        if marker == _APP1:
            yield from _in_app1(content)
        elif content.startswith(_PHOTOSHOP_SEGMENT) and len(resources) < MAX_BYTES:
            resources += content[len(_PHOTOSHOP_SEGMENT) :]
    yield from _in_photoshop(resources)


def _in_app1(content: bytes) -> Iterator[MetadataBlock]:
    if content[:5].lower() == b"exif\0":
        yield MetadataBlock(Standard.EXIF, content)
    elif content.startswith(_XMP_SEGMENT):
        yield MetadataBlock(Standard.XMP, content[len(_XMP_SEGMENT) :])


# ── PNG ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "


def _in_png(file: BinaryIO) -> Iterator[MetadataBlock]:
    """Chunks before and behind the pixels: ``eXIf``, XMP, and the raw profiles that ImageMagick writes."""
    for kind, content in _chunks(file):
        if kind == b"eXIf":
            yield MetadataBlock(Standard.EXIF, content)
        else:
            yield from _in_text(kind, content)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    for _ in range(_MAX_PARTS):
        file.seek(at)
        header = file.read(8)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        if len(header) < 8 or kind == b"IEND":
            return
        if (kind == b"eXIf" or kind in _TEXT_CHUNKS) and length <= MAX_BYTES:
            yield kind, file.read(length)
        at += 12 + length


def _in_text(kind: bytes, content: bytes) -> Iterator[MetadataBlock]:
    keyword, _, rest = content.partition(b"\0")
    if keyword != _XMP_KEYWORD and not keyword.startswith(_RAW_PROFILE):
        return
    text = _text(kind, rest)
    if keyword == _XMP_KEYWORD:
        yield MetadataBlock(Standard.XMP, text)
    else:
        yield from _in_profile(keyword.removeprefix(_RAW_PROFILE).lower(), _unhexed(text))


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text behind a keyword (PNG specification, third edition, section 11.3.3)."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:])
    _, _, after_language = rest[2:].partition(b"\0")
    _, _, text = after_language.partition(b"\0")
    return _inflated(text) if rest[:1] == b"\1" else text


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, MAX_BYTES)
    except zlib.error:
        return b""


def _unhexed(text: bytes) -> bytes:
    """A name, the number of bytes, and these in hexadecimal, in lines."""
    found = re.match(rb"\s*\S+\s+\d+\s([0-9a-fA-F\s]*)", text)
    digits = b"".join(found[1].split()) if found else b""
    return binascii.unhexlify(digits[: len(digits) // 2 * 2])


def _in_profile(name: bytes, content: bytes) -> Iterator[MetadataBlock]:
    if name in (b"exif", b"app1"):
        # ImageMagick calls both EXIF and XMP by the segment that they have in a JPEG.
        is_xmp = content.startswith(_XMP_SEGMENT)
        yield (
            MetadataBlock(Standard.XMP, content[len(_XMP_SEGMENT) :])
            if is_xmp
            else MetadataBlock(Standard.EXIF, content)
        )
    elif name == b"xmp":
        yield MetadataBlock(Standard.XMP, content)
    elif name in (b"iptc", b"8bim"):
        yield from _in_photoshop(content.removeprefix(_PHOTOSHOP_SEGMENT))


# ── WebP, GIF, TIFF ──────────────────────────────────────────────────────────────────────────────────────────────

_WEBP_CHUNKS = {b"EXIF": Standard.EXIF, b"XMP ": Standard.XMP, b"XMP\0": Standard.XMP}
_GIF_XMP = b"\x21\xff\x0bXMP DataXMP"


def _in_webp(file: BinaryIO) -> Iterator[MetadataBlock]:
    at = 12
    for _ in range(_MAX_PARTS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        length = int.from_bytes(header[4:], "little")
        if (standard := _WEBP_CHUNKS.get(header[:4])) and length <= MAX_BYTES:
            yield MetadataBlock(standard, file.read(length))
        at += 8 + length + length % 2


def _in_gif(file: BinaryIO) -> Iterator[MetadataBlock]:
    """An application extension whose content is not in sub-blocks (XMP part 3, section 1.1.2)."""
    file.seek(0)
    content = file.read(_MAX_GIF)
    at = content.find(_GIF_XMP)
    if at >= 0:
        yield MetadataBlock(Standard.XMP, content[at + len(_GIF_XMP) :][:MAX_BYTES])


def _in_tiff(file: BinaryIO) -> Iterator[MetadataBlock]:
    xmp, datasets, resources = exif.packets(file)
    if xmp:
        yield MetadataBlock(Standard.XMP, xmp)
    if datasets:
        yield MetadataBlock(Standard.IPTC, datasets)
    yield from _in_photoshop(resources)


_SEARCHES: dict[Format, Callable[[BinaryIO], Iterator[MetadataBlock]]] = {
    Format.JPEG: _in_jpeg,
    Format.PNG: _in_png,
    Format.WEBP: _in_webp,
    Format.GIF: _in_gif,
    Format.TIFF: _in_tiff,
    Format.RAW: _in_tiff,
}
