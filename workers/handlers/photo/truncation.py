"""Tells a truncated file by the lengths that its format states, and completes one whose pixels are all there.

A decoder notices a truncation only when it needs the missing bytes (a GIF's first frame needs few), and does not report
how many are missing. Many files lack only their end, which has no pixels in it: all viewers show them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.handlers.photo import boxes, tiff
from workers.handlers.photo.formats import Format
from workers.handlers.photo.segments import (
    PROGRESSIVE_FRAME,
    START_OF_SCAN,
    end_of_scans,
    is_every_scan_there,
    segments,
)

_MAX_PARTS = 1_000_000
"""Parts to walk at most, some seconds' worth; the rest of the file is taken for complete."""
_MAX_LENGTH = 1 << 40
"""Of a file: a part that claims more is damaged, and its length says nothing."""
_MAX_COMPLETED = 1 << 30
"""Bytes of a file that is completed in memory."""
_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"mfra", b"free", b"skip", b"uuid", b"pdin"})
"""Boxes on the top level of a file. Other data there was appended, and is no box."""
_END_OF_IMAGE = b"\xff\xd9"
_LEAST_ZEROS = 16
"""Zero bytes at the end of a JPEG that are no pixels: where a disk or an upload had nothing to give."""
_TIFF_PLACES = (
    (tiff.STRIP_OFFSETS, tiff.STRIP_BYTES),
    (tiff.TILE_OFFSETS, tiff.TILE_BYTES),
    (tiff.JPEG_OFFSET, tiff.JPEG_BYTES),
)
_METADATA_CHUNKS = frozenset({b"EXIF", b"XMP ", b"XMP\0"})


def missing_bytes(path: Path, kind: Format) -> int:
    """Return how many bytes are missing at least; 0 when none are, or when the format cannot tell."""
    walk = _WALKS.get(kind)
    if walk is None:
        return 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = walk(file, size)
        return max(0, end - size) if end < _MAX_LENGTH else 0


def claims_too_much(path: Path, kind: Format) -> bool:
    """Whether a part of the file claims a length that no file has."""
    walk = _WALKS.get(kind)
    if walk is None:
        return False
    with path.open("rb") as file:
        return walk(file, os.fstat(file.fileno()).st_size) >= _MAX_LENGTH


def ends_early(path: Path, kind: Format) -> bool:
    """Whether a JPEG has no end: some of its pixels may be missing, or nothing but the end."""
    if kind is not Format.JPEG:
        return False
    with path.open("rb") as file:
        return _find_end(file)[0] < 0


def completed(path: Path, kind: Format) -> bytes | None:
    """Return the content with the end that it lacks, for a decoder to tell whether pixels are missing.

    None where nothing is missing, or where more than an end is.
    """
    complete = _COMPLETIONS.get(kind)
    if complete is None or path.stat().st_size > _MAX_COMPLETED:
        return None
    with path.open("rb") as file:
        return complete(file)


# ── JPEG ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _find_end(file: BinaryIO) -> tuple[int, int]:
    """Where the first picture's end marker is, and where its first scan's header begins; -1 for what is not there."""
    start = next((at for marker, at, _ in segments(file) if marker == START_OF_SCAN), -1)
    if start < 0:
        return -1, -1
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = end_of_scans(content, start)
        return (end if content[end : end + 2] == _END_OF_IMAGE else -1), start


def _completed_jpeg(file: BinaryIO) -> bytes | None:
    end, start = _find_end(file)
    if start < 0 or end >= 0:
        return None
    found = {marker: (at, length) for marker, at, length in segments(file)}
    file.seek(0)
    content = file.read()
    if PROGRESSIVE_FRAME in found:
        at, length = found[PROGRESSIVE_FRAME]
        if not is_every_scan_there(content, content[at : at + length], start):
            return None
    content = content[: end_of_scans(content, start)]
    pixels = content.rstrip(b"\0")
    return (pixels if len(content) - len(pixels) >= _LEAST_ZEROS else content) + _END_OF_IMAGE


# ── WebP ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _webp_end(file: BinaryIO, _: int) -> int:
    return int.from_bytes(file.read(8)[4:], "little") + 8


def _completed_webp(file: BinaryIO) -> bytes | None:
    """A file whose last part is metadata, or not even a part, without that part."""
    size = os.fstat(file.fileno()).st_size
    if _webp_end(file, size) <= size:
        return None
    at = 12
    has_pixels = False
    for _ in range(_MAX_PARTS):
        file.seek(at)
        header = file.read(8)
        end = at + 8 + int.from_bytes(header[4:], "little")
        if len(header) < 8 or end > size:
            break
        has_pixels = has_pixels or header[:4] in (b"VP8 ", b"VP8L")
        at = end + (end - at) % 2
    if not has_pixels or header[:4] not in _METADATA_CHUNKS | {b""}:
        return None
    file.seek(0)
    content = file.read(at).ljust(at, b"\0")
    return content[:4] + (at - 8).to_bytes(4, "little") + content[8:]


# ── PNG, ISO media, TIFF ─────────────────────────────────────────────────────────────────────────────────────────


def _png_end(file: BinaryIO, size: int) -> int:
    """Chunks of length, type, content and checksum, up to IEND."""
    at = 8
    for _ in range(_MAX_PARTS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return at + 12
        if not header[4:].isalpha() or header[0] & 0x80:
            return size
        at += 12 + int.from_bytes(header[:4], "big")
        if header[4:] == b"IEND" or at > size:
            break
    return at


def _boxes_end(file: BinaryIO, size: int) -> int:
    """ISO 14496-12: boxes of size, type and content; size 1: 64 bits follow, size 0: up to the end."""
    at = 0
    for _ in range(_MAX_PARTS):
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if header[4:8] not in _BOXES or length < 8:
            break
        at += length
        if at >= size:
            break
    if size < at < _MAX_LENGTH and (end := boxes.end_of_items(file)):
        return max(end, size)
    return max(at, size)


def _tiff_end(file: BinaryIO, size: int) -> int:
    """The directories, and what they say of where pixels and previews are."""
    reader = tiff.opened(file)
    if reader is None:
        return size
    ends = [reader.link(reader.first).stop]
    for directory in reader.chain(reader.first):
        ends += (field.start + field.size for field in directory.fields.values())
        for offsets, lengths in _TIFF_PLACES:
            if offsets in directory.fields and lengths in directory.fields:
                numbers = [reader.whole_numbers(directory.fields[tag], _MAX_PARTS) for tag in (offsets, lengths)]
                ends += map(sum, zip(*numbers, strict=False))
    return max(_plausible(ends), default=size)


def _plausible(ends: Iterable[int]) -> list[int]:
    return [end for end in ends if end < _MAX_LENGTH]


# ── GIF ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _GifBlocks:
    end: int
    """Of the last block; beyond the file where that is cut off."""
    frames: int
    """That have begun."""
    lacking: bytes
    """The end that the file lacks, where it lacks no more than an end: of the first frame, or of the file."""


def _gif_end(file: BinaryIO, size: int) -> int:
    return max(size, _gif_blocks(file, size).end)


def _gif_blocks(file: BinaryIO, size: int) -> _GifBlocks:
    """Blocks up to the trailer: ``!`` an extension, ``,`` a frame; both end in sub-blocks, the last one
    empty. No pixel is missing where only the trailer is, nor where the end of the only frame is: its data end it too.
    """
    file.seek(10)
    file.seek(2 + _palette_bytes(file.read(1)), os.SEEK_CUR)
    frames = 0
    for _ in range(_MAX_PARTS):
        at = file.tell()
        introducer = file.read(1)
        if introducer == b"!":
            file.seek(1, os.SEEK_CUR)
        elif introducer == b",":
            frames += 1
            file.seek(8, os.SEEK_CUR)
            file.seek(1 + _palette_bytes(file.read(1)), os.SEEK_CUR)
        elif frames and at <= size:
            return _GifBlocks(at, frames, b"" if introducer == b";" else b";")
        else:
            return _GifBlocks(at + 1, frames, b"")
        if not _skip_sub_blocks(file):
            is_whole = frames == 1 and file.tell() == size
            return _GifBlocks(file.tell() + (not is_whole), frames, b"\0;" if is_whole else b"")
    return _GifBlocks(size, frames, b"")


def _palette_bytes(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _skip_sub_blocks(file: BinaryIO) -> bool:
    while length := file.read(1):
        if length == b"\0":
            return True
        file.seek(length[0], os.SEEK_CUR)
    return False


def _completed_gif(file: BinaryIO) -> bytes | None:
    blocks = _gif_blocks(file, os.fstat(file.fileno()).st_size)
    if not blocks.lacking:
        return None
    file.seek(0)
    return file.read(blocks.end) + blocks.lacking


_WALKS: dict[Format, Callable[[BinaryIO, int], int]] = {
    Format.WEBP: _webp_end,
    Format.PNG: _png_end,
    Format.GIF: _gif_end,
    Format.AVIF: _boxes_end,
    Format.HEIC: _boxes_end,
    Format.TIFF: _tiff_end,
    Format.RAW: _tiff_end,
}
_COMPLETIONS: dict[Format, Callable[[BinaryIO], bytes | None]] = {
    Format.JPEG: _completed_jpeg,
    Format.WEBP: _completed_webp,
    Format.GIF: _completed_gif,
}
