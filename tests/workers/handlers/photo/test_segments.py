"""The segments of JPEGs."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.handlers.photo.metadata_samples import jpeg, segment
from tests.workers.handlers.photo.samples import quadrants
from workers.handlers.photo.segments import (
    PROGRESSIVE_FRAME,
    START_OF_SCAN,
    end_of_scans,
    is_every_scan_there,
    segments,
)


def test_up_to_the_pixels() -> None:
    content = jpeg(segment(0xE1, b"one"), b"\xff\xff" + segment(0xE2, b""))
    found = list(segments(io.BytesIO(content)))
    assert [(marker, content[at : at + length]) for marker, at, length in found[:2]] == [(0xE1, b"one"), (0xE2, b"")]
    assert found[-1][0] == START_OF_SCAN


def test_junk_between_segments_is_passed_over() -> None:
    content = jpeg(segment(0xE1, b"one"), b"junk\xff\0" + segment(0xE2, b"two"))
    found = list(segments(io.BytesIO(content)))
    assert [content[at : at + length] for _, at, length in found[:2]] == [b"one", b"two"]
    assert found[-1][0] == START_OF_SCAN


def test_scans_of_a_progressive_jpeg() -> None:
    content = bytes(quadrants().jpegsave_buffer(interlace=True, keep="none"))
    found = {marker: (at, length) for marker, at, length in segments(io.BytesIO(content))}
    at, length = found[PROGRESSIVE_FRAME]
    frame, first = content[at : at + length], found[START_OF_SCAN][0]
    assert is_every_scan_there(content, frame, first)
    for scan in list(re.finditer(rb"\xff\xda\0", content))[1:]:
        assert not is_every_scan_there(content[: scan.start()], frame, first)


@pytest.mark.parametrize("interlace", [False, True])
def test_the_scans_end_before_what_belongs_to_none(interlace: bool) -> None:
    content = bytes(quadrants().jpegsave_buffer(interlace=interlace, keep="none"))
    first = {marker: at for marker, at, _ in segments(io.BytesIO(content))}[START_OF_SCAN]
    assert end_of_scans(content, first) == len(content) - 2
    assert end_of_scans(content[:-2], first) == len(content) - 2
    for behind in (b"\xff\xcf\0\4ab", b"\xff\x01", b"\xff\xe1\xff\xff"):
        assert end_of_scans(content[:-2] + behind + bytes(50), first) == len(content) - 2


@given(st.binary(max_size=200), st.binary(max_size=30))
def test_any_bytes_have_segments_or_none(content: bytes, frame: bytes) -> None:
    assert all(length >= 0 for _, _, length in segments(io.BytesIO(b"\xff\xd8" + content)))
    assert 0 <= end_of_scans(content, 0) <= len(content)
    assert is_every_scan_there(content, frame, 0) in (True, False)
