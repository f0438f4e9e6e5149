"""Reads IPTC-IIM, as Photoshop stores it: the day and the time when a photo was created."""

from __future__ import annotations

from collections.abc import Iterator

from workers.handlers.photo.metadata.model import PhotoMetadata
from workers.handlers.photo.metadata.timestamps import capture_time

_DAY, _TIME, _DIGITAL_DAY, _DIGITAL_TIME = (2, 55), (2, 60), (2, 62), (2, 63)
_RESOURCE = b"8BIM"
_IPTC = 0x0404
_MAX_PARTS = 10_000
_MAX_VALUE = 64


def read(content: bytes) -> PhotoMetadata:
    """Return the facts of the datasets (IPTC-NAA IIM 4.2, record 2)."""
    values = dict(reversed(list(_datasets(content))))
    for day, time in ((_DAY, _TIME), (_DIGITAL_DAY, _DIGITAL_TIME)):
        text = values.get(day, b"").decode("latin-1")
        clock = values.get(time, b"").decode("latin-1")
        if taken := capture_time(f"{text} {clock}") or capture_time(text):
            return PhotoMetadata(captured_at=taken)
    return PhotoMetadata()


def in_resources(content: bytes) -> bytes:
    """Return the IPTC data among Photoshop's image resources; empty where there is none."""
    at = 0
    for _ in range(_MAX_PARTS):
        if content[at : at + 4] != _RESOURCE or at + 7 > len(content):
            break
        kind = int.from_bytes(content[at + 4 : at + 6], "big")
        at += 6 + (content[at + 6] + 2) // 2 * 2
        length = int.from_bytes(content[at : at + 4], "big")
        if kind == _IPTC:
            return content[at + 4 : at + 4 + length]
        at += 4 + (length + 1) // 2 * 2
    return b""


def _datasets(content: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    for _ in range(_MAX_PARTS):
        if at + 5 > len(content) or content[at] != 0x1C:
            return
        length = int.from_bytes(content[at + 3 : at + 5], "big")
        if length & 0x8000:
            return
        yield (content[at + 1], content[at + 2]), content[at + 5 : at + 5 + min(length, _MAX_VALUE)]
        at += 5 + length
