"""What a file lacks by its own account."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvips

from tests.workers.handlers.photo.samples import quadrants, with_fields
from workers.handlers.photo.formats import Format
from workers.handlers.photo.truncation import missing_bytes


def animated() -> pyvips.Image:
    frames = pyvips.Image.arrayjoin([quadrants(), quadrants().invert(), quadrants()], across=1)
    return with_fields(frames, page_height=80)


SAMPLES = [
    (Format.PNG, ".png", quadrants),
    (Format.WEBP, ".webp", animated),
    (Format.GIF, ".gif", quadrants),
    (Format.GIF, ".gif", animated),
    (Format.AVIF, ".avif", quadrants),
]


@pytest.mark.parametrize(("kind", "suffix", "make"), SAMPLES)
def test_every_cut_is_seen_and_nothing_else(tmp_path: Path, kind: Format, suffix: str, make: object) -> None:
    assert callable(make)
    make().write_to_file(str(tmp_path / f"whole{suffix}"))
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    cut = tmp_path / "cut"
    for extra in (b"", b"\0\0", b"appended"):
        cut.write_bytes(whole + extra)
        assert missing_bytes(cut, kind) == 0
    for length in {20, len(whole) // 3, len(whole) * 2 // 3, len(whole) - 1}:
        cut.write_bytes(whole[:length])
        assert 1 <= missing_bytes(cut, kind) <= max(len(whole) - length, 12), length


@pytest.mark.parametrize("kind", list(Format))
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 40, b"\0" * 40, b"!" * 40, b"," * 40])
def test_nonsense_ends(tmp_path: Path, kind: Format, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert missing_bytes(tmp_path / "a", kind) >= 0


def test_a_jpeg_is_left_to_its_decoder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xd8\xff")
    assert missing_bytes(tmp_path / "a", Format.JPEG) == 0
