"""Decodes a photo and makes upright sRGB pictures of several sizes from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyvips

from workers.handlers.photo.source import FAIL_ON, SourcePhoto, unreadable


def decode(photo: SourcePhoto, size: int) -> pyvips.Image:
    """Return the first page upright in 8-bit sRGB (or grey), within a box of ``size`` pixels, held in memory.

    Decodes at a fraction of the size where the format can. Colours go through the embedded profile, or
    through a standard one for CMYK without any; where neither applies that step costs three times the
    decoding and is left out. Raises ``HandlerError``.
    """
    profile = {"output_profile": "srgb"} if _needs_profile(photo.header) else {}
    try:
        source = pyvips.Source.new_from_file(str(photo.path))
        image = pyvips.Image.thumbnail_source(
            source,
            size,
            height=size,
            size="down",
            # Its own argument fail_on does not reach the loader (libvips 8.18); this does.
            option_string=f"[fail_on={FAIL_ON}]",
            **profile,
        )
        return _without_extra_channels(image).copy_memory()
    except pyvips.Error as error:
        raise unreadable(photo.path, photo.format, error) from error


def smaller(largest: pyvips.Image, sizes: Iterable[int]) -> dict[int, pyvips.Image]:
    """Return one picture a size, each made from ``largest`` and in memory."""
    return {size: largest.thumbnail_image(size, height=size, size="down").copy_memory() for size in sizes}


def save(image: pyvips.Image, path: Path, *, quality: int, effort: int) -> None:
    """Write WebP without EXIF, XMP or colour profile: what has none is shown as sRGB.

    A profile is left out because ``decode`` has applied it; the rest, because it may name the user's place or camera.
    """
    image.webpsave(str(path), Q=quality, effort=effort, keep="none")


def rgba(image: pyvips.Image) -> bytes:
    """Pixels row by row, 4 bytes each, not premultiplied."""
    image = image.colourspace("srgb")
    if not image.hasalpha():
        image = image.bandjoin(255)
    return bytes(image.cast("uchar").write_to_memory())


def _without_extra_channels(image: pyvips.Image) -> pyvips.Image:
    """Drop the channels that a TIFF may have beside colour and alpha: masks, depth, infrared."""
    wanted = 2 if image.interpretation == "b-w" else 4
    return image.extract_band(0, n=wanted) if image.bands > wanted else image


def _needs_profile(header: pyvips.Image) -> bool:
    return header.interpretation == "cmyk" or bool(header.get_typeof("icc-profile-data"))
