"""TIFFs and raw photos written tag by tag, as no library would write them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pyvips

Value = int | tuple[int, ...]
_SHORT, _LONG = 3, 4


@dataclass
class Image:
    """One directory: its tags, the data that it points to by StripOffsets or JPEGInterchangeFormat, and those below."""

    tags: dict[int, Value]
    data: bytes = b""
    data_tags: tuple[int, int] = (273, 279)
    below: list[Image] = field(default_factory=list)


def tiff(*images: Image, order: str = "<", magic: bytes = b"") -> bytes:
    """A file of these images, one after the other."""
    start = magic or (b"II*\0" if order == "<" else b"MM\0*")
    body = bytearray(start + bytes(4))
    first = _chain(body, list(images), order)
    body[4:8] = struct.pack(order + "I", first)
    return bytes(body)


def _chain(body: bytearray, images: list[Image], order: str) -> int:
    following = 0
    for image in reversed(images):
        following = _directory(body, image, following, order)
    return following


def _directory(body: bytearray, image: Image, following: int, order: str) -> int:
    tags = dict(image.tags)
    if image.data:
        tags[image.data_tags[0]], tags[image.data_tags[1]] = _put(body, image.data), len(image.data)
    if image.below:
        tags[330] = tuple(_directory(body, below, 0, order) for below in image.below)
    entries = b"".join(_entry(body, tag, value, order) for tag, value in sorted(tags.items()))
    return _put(body, struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following))


def _entry(body: bytearray, tag: int, value: Value, order: str) -> bytes:
    values = value if isinstance(value, tuple) else (value,)
    kind, code = (_SHORT, "H") if all(number < 65_536 for number in values) and tag != 330 else (_LONG, "I")
    content = struct.pack(f"{order}{len(values)}{code}", *values)
    if len(content) > 4:
        content = struct.pack(order + "I", _put(body, content))
    return struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")


def _put(body: bytearray, content: bytes) -> int:
    body += bytes(len(body) % 2)
    body += content
    return len(body) - len(content)


def jpeg(image: pyvips.Image) -> bytes:
    """A JPEG without metadata."""
    return bytes(image.jpegsave_buffer(Q=90, keep="none"))


def thumbnail(colour: int = 128) -> Image:
    """A first directory as raw photos have it: a small uncompressed preview in one grey."""
    pixels = bytes([colour]) * (16 * 12 * 3)
    tags: dict[int, Value] = {254: 1, 256: 16, 257: 12, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: 12}
    return Image(tags, pixels)


def sensor(width: int, height: int, compression: int = 1) -> Image:
    """What a sensor recorded, of which only the tags are read."""
    tags: dict[int, Value] = {
        254: 0,
        256: width,
        257: height,
        258: 12,
        259: compression,
        262: 32_803,
        277: 1,
        278: height,
    }
    return Image(tags, b"\0" * 64)


def preview(image: pyvips.Image) -> Image:
    """A JPEG of its own in a directory of its own."""
    tags: dict[int, Value] = {254: 1, 256: image.width, 257: image.height, 259: 6}
    return Image(tags, jpeg(image), (513, 514))
