"""What a file lacks by its own account."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.handlers.photo.heif_samples import AVIF_SEQUENCE, TURNED_HEIC
from tests.workers.handlers.photo.png_samples import png
from tests.workers.handlers.photo.samples import quadrants, with_fields
from tests.workers.handlers.photo.tiff_samples import Image, tiff
from workers.handlers.photo.formats import Format
from workers.handlers.photo.truncation import claims_too_much, completed, ends_early, missing_bytes


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
    last = len(whole) - (2 if kind is Format.GIF else 1)
    for length in {20, len(whole) // 3, len(whole) * 2 // 3, last - (kind is Format.GIF)}:
        cut.write_bytes(whole[:length])
        assert 1 <= missing_bytes(cut, kind) <= max(len(whole) - length, 12), length


@pytest.mark.parametrize("kind", list(Format))
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 40, b"\0" * 40, b"!" * 40, b"," * 40])
def test_nonsense_ends(tmp_path: Path, kind: Format, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert missing_bytes(tmp_path / "a", kind) >= 0


def test_a_jpeg_states_no_length(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xd8\xff")
    assert missing_bytes(tmp_path / "a", Format.JPEG) == 0


def test_lengths_that_no_file_has_say_nothing(tmp_path: Path) -> None:
    avif = bytes(quadrants().heifsave_buffer(compression="av1"))
    length = int.from_bytes(avif[:4], "big")
    huge = avif[:length] + b"\0\0\0\1mdat" + b"\xff" * 8 + bytes(40)
    (tmp_path / "a").write_bytes(huge)
    assert missing_bytes(tmp_path / "a", Format.AVIF) == 0
    assert claims_too_much(tmp_path / "a", Format.AVIF)
    (tmp_path / "a").write_bytes(avif)
    assert not claims_too_much(tmp_path / "a", Format.AVIF)
    (tmp_path / "b").write_bytes(png(quadrants())[:33] + b"\xff\xff\xff\xffIDAT")
    assert missing_bytes(tmp_path / "b", Format.PNG) == 0


@pytest.mark.parametrize(("kind", "content"), [(Format.AVIF, None), (Format.HEIC, TURNED_HEIC)])
def test_bytes_of_a_box_that_no_item_has_are_not_missed(tmp_path: Path, kind: Format, content: bytes | None) -> None:
    whole = content or bytes(quadrants().heifsave_buffer(compression="av1"))
    at = whole.rindex(b"mdat")
    length = int.from_bytes(whole[at - 4 : at], "big") + 10
    longer = whole[: at - 4] + length.to_bytes(4, "big") + whole[at:]
    for file, missing in ((longer, 0), (whole + b"\0\0\0\x20free", 0), (longer[:-1], 1), (whole[:-7], 7)):
        (tmp_path / "a").write_bytes(file)
        assert missing_bytes(tmp_path / "a", kind) == missing


def test_a_sequence_lacks_what_its_boxes_say(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(AVIF_SEQUENCE[:-9])
    assert missing_bytes(tmp_path / "a", Format.AVIF) == 9


def test_a_tiff_lacks_what_its_directory_says(tmp_path: Path) -> None:
    pixels = Image({256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 278: 8}, bytes(64))
    (tmp_path / "a").write_bytes(tiff(pixels))
    assert missing_bytes(tmp_path / "a", Format.TIFF) == 0
    (tmp_path / "a").write_bytes(tiff(pixels)[:-7])
    assert missing_bytes(tmp_path / "a", Format.TIFF) > 0
    first = bytearray(tiff(pixels))
    first[4:8] = (10_000).to_bytes(4, "little")
    (tmp_path / "a").write_bytes(first)
    assert missing_bytes(tmp_path / "a", Format.TIFF) > 0


@pytest.mark.parametrize("interlace", [False, True])
def test_a_jpeg_without_its_end(tmp_path: Path, interlace: bool) -> None:
    whole = bytes(quadrants().jpegsave_buffer(interlace=interlace))
    path = tmp_path / "a"
    path.write_bytes(whole + b"trailer")
    assert (ends_early(path, Format.JPEG), completed(path, Format.JPEG)) == (False, None)
    for content in (whole[:-2], whole[:-2] + bytes(100)):
        path.write_bytes(content)
        assert (ends_early(path, Format.JPEG), completed(path, Format.JPEG)) == (True, whole)
    path.write_bytes(whole[:100])
    assert (ends_early(path, Format.JPEG), completed(path, Format.JPEG)) == (True, None)


def test_scans_that_are_missing_are_not_an_end(tmp_path: Path) -> None:
    whole = bytes(quadrants().jpegsave_buffer(interlace=True))
    (tmp_path / "a").write_bytes(whole[: whole.rindex(b"\xff\xda")])
    assert completed(tmp_path / "a", Format.JPEG) is None


def test_a_gif_without_its_last_block_s_end(tmp_path: Path) -> None:
    whole = bytes(quadrants().gifsave_buffer())
    path = tmp_path / "a"
    for cut, expected in ((0, None), (1, whole), (2, whole), (3, None)):
        path.write_bytes(whole[: len(whole) - cut])
        assert completed(path, Format.GIF) == expected, cut
    path.write_bytes(bytes(animated().gifsave_buffer())[:-2])
    assert (completed(path, Format.GIF), missing_bytes(path, Format.GIF)) == (None, 1)


@pytest.mark.parametrize("kind", list(Format))
@given(content=st.binary(max_size=200))
def test_any_bytes_are_whole_or_not(tmp_path_factory: pytest.TempPathFactory, kind: Format, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(b"\xff\xd8" + content)
    assert missing_bytes(path, kind) >= 0
    assert ends_early(path, kind) in (True, False)
    assert isinstance(completed(path, kind), bytes | None)
