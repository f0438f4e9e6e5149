"""Opening a photo: what is read from its header, and what is refused there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pyvips

from tests.workers.handlers.photo.samples import quadrants, with_fields
from workers.handlers import HandlerError
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


def test_one_thread_and_no_cache() -> None:
    assert pyvips.concurrency_get() == 1
    assert pyvips.cache_get_max() == 0
