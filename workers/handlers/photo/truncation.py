"""Counts the bytes that a truncated file lacks, by the lengths that its format states.

A decoder notices a truncation only when it needs the missing bytes (a GIF's first frame needs few), and does not report
how many are missing. Each format here states the length of its parts; a JPEG does not, and is left to its decoder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from workers.handlers.photo.formats import Format

_MAX_PARTS = 1_000_000
"""Parts to walk at most, some seconds' worth; the rest of the file is taken for complete."""
_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"mfra", b"free", b"skip", b"uuid", b"pdin"})
"""Boxes on the top level of a file. Other data there was appended, and is no box."""


def missing_bytes(path: Path, kind: Format) -> int:
    """Return how many bytes are missing at least; 0 when none are, or when the format cannot tell."""
    walk = _WALKS.get(kind)
    if walk is None:
        return 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return max(0, walk(file, size) - size)


def _webp_end(file: BinaryIO, _: int) -> int:
    return int.from_bytes(file.read(8)[4:], "little") + 8


def _png_end(file: BinaryIO, size: int) -> int:
    """Chunks of length, type, content and checksum, up to IEND."""
    at = 8
    for _ in range(_MAX_PARTS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return at + 12
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
    return max(at, size)


def _gif_end(file: BinaryIO, size: int) -> int:
    """Blocks up to the trailer: ``!`` an extension, ``,`` a frame; both end in sub-blocks, the last one
    empty.
    """
    file.seek(10)
    file.seek(2 + _palette_bytes(file.read(1)), os.SEEK_CUR)
    for _ in range(_MAX_PARTS):
        introducer = file.read(1)
        if introducer == b"!":
            file.seek(1, os.SEEK_CUR)
        elif introducer == b",":
            file.seek(8, os.SEEK_CUR)
            file.seek(1 + _palette_bytes(file.read(1)), os.SEEK_CUR)
        else:
            return size if introducer else file.tell() + 1
        if not _skip_sub_blocks(file):
            return file.tell() + 2
    return size


def _palette_bytes(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _skip_sub_blocks(file: BinaryIO) -> bool:
    while length := file.read(1):
        if length == b"\0":
            return True
        file.seek(length[0], os.SEEK_CUR)
    return False


_WALKS: dict[Format, Callable[[BinaryIO, int], int]] = {
    Format.WEBP: _webp_end,
    Format.PNG: _png_end,
    Format.GIF: _gif_end,
    Format.AVIF: _boxes_end,
    Format.HEIC: _boxes_end,
}
