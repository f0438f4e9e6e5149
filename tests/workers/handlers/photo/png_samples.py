"""PNGs with chunks that libvips does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import pyvips


def with_chunks(png: bytes, chunks: Mapping[bytes, bytes]) -> bytes:
    """The same PNG with these chunks before its pixels."""
    return png[:33] + b"".join(chunk(kind, content) for kind, content in chunks.items()) + png[33:]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Length, type, content and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def hundred_thousandths(*values: float) -> bytes:
    """As ``gAMA`` and ``cHRM`` hold their numbers."""
    return struct.pack(f">{len(values)}I", *(round(value * 100_000) for value in values))


def png(image: pyvips.Image) -> bytes:
    """Without metadata."""
    return bytes(image.pngsave_buffer(keep="none"))
