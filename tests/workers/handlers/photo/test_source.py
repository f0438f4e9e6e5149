"""Opening a photo: what is read from its header, and what is refused there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pyvips

from tests.workers.handlers.photo.samples import BLUE, GREEN, RED, YELLOW, corners, quadrants, with_fields
from tests.workers.handlers.photo.tiff_samples import Image, jpeg, preview, sensor, thumbnail, tiff
from workers.handlers import HandlerError
from workers.handlers.photo import memory, pictures
from workers.handlers.photo.formats import Format
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.source import SourcePhoto, open_photo


def opened(folder: Path, image: pyvips.Image, suffix: str = ".jpg", **options: Any) -> SourcePhoto:
    path = folder / f"input{suffix}"
    image.write_to_file(str(path))
    return open_photo(path, f"a{suffix}", PhotoOptions(**options))


def test_a_header(tmp_path: Path) -> None:
    photo = opened(tmp_path, quadrants(120, 80))
    assert (photo.format, photo.orientation, photo.displayed_size, photo.pages) == (Format.JPEG, 1, (120, 80), 1)


@pytest.mark.parametrize(("orientation", "size"), [(1, (120, 80)), (4, (120, 80)), (5, (80, 120)), (8, (80, 120))])
def test_the_displayed_size_is_that_of_the_turned_photo(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    photo = opened(tmp_path, with_fields(quadrants(120, 80), orientation=orientation))
    assert (photo.orientation, photo.displayed_size) == (orientation, size)


def test_pixels_at_the_limit_are_read_and_one_more_is_refused(tmp_path: Path) -> None:
    assert opened(tmp_path, quadrants(120, 80), max_pixels=9_600)
    with pytest.raises(HandlerError, match="120 × 80 pixels") as raised:
        opened(tmp_path, quadrants(120, 80), max_pixels=9_599)
    assert (raised.value.reason, raised.value.retry) == ("too-large", False)


def test_more_channels_than_a_photo_has(tmp_path: Path) -> None:
    with pytest.raises(HandlerError, match="9 channels"):
        opened(tmp_path, quadrants().bandjoin([1, 2, 3, 4, 5, 6]), ".tif")


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"%PDF-1.4\n",
        b"\x08\xf2\xa6\xb6" + bytes(60),
    ],
)
def test_only_the_listed_loaders_can_be_reached(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.svg").write_bytes(content)
    with pytest.raises(pyvips.Error, match="not a known file format"):
        pyvips.Image.new_from_file(str(tmp_path / "a.svg"))


def test_a_picture_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 100_000)
    assert opened(tmp_path, quadrants(120, 80), ".png")
    with pytest.raises(HandlerError, match="120 × 80 pixels, and WEBP is decoded as a whole") as raised:
        opened(tmp_path, quadrants(120, 80), ".webp")
    assert (raised.value.reason, raised.value.retry) == ("too-large", False)


@pytest.mark.parametrize(("extra", "is_alpha"), [(0, False), (1, True), (2, True), (None, False)])
def test_a_fourth_channel_is_alpha_only_where_the_file_says_it(
    tmp_path: Path, extra: int | None, is_alpha: bool
) -> None:
    tags: dict[int, int | tuple[int, ...]] = {256: 16, 257: 12, 258: (8, 8, 8, 8), 259: 1, 262: 2, 277: 4, 278: 12}
    tags |= {} if extra is None else {338: extra}
    (tmp_path / "a").write_bytes(tiff(Image(tags, bytes([90, 80, 70, 128]) * (16 * 12))))
    photo = open_photo(tmp_path / "a", "a.tif", PhotoOptions())
    assert photo.has_alpha is is_alpha
    assert pictures.decode(photo, 16).bands == (4 if is_alpha else 3)


def test_jpeg_in_tiff_as_it_was_withdrawn(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tiff(Image({256: 120, 257: 80, 259: 6, 262: 6, 277: 3}, jpeg(quadrants()))))
    with pytest.raises(HandlerError, match="withdrawn in 1995: export it as JPEG") as raised:
        open_photo(tmp_path / "a", "a.tif", PhotoOptions())
    assert raised.value.reason == "unreadable"


def test_a_raw_photos_own_orientation_turns_a_preview_without_one(tmp_path: Path) -> None:
    first = thumbnail()
    first.tags[274] = 6
    first.below = [sensor(420, 320), preview(quadrants(400, 300))]
    (tmp_path / "a").write_bytes(tiff(first))
    photo = open_photo(tmp_path / "a", "a.dng", PhotoOptions())
    assert (photo.format, photo.orientation, photo.displayed_size) == (Format.RAW, 6, (300, 400))
    assert corners(pictures.decode(photo, 100)) == [BLUE, RED, YELLOW, GREEN]


def test_one_thread_and_no_cache() -> None:
    assert pyvips.concurrency_get() == 1
    assert pyvips.cache_get_max() == 0
