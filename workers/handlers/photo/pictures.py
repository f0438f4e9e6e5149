"""Decodes a photo and makes upright sRGB pictures of several sizes from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyvips

from workers.handlers.photo import profiles
from workers.handlers.photo.hdr import to_srgb
from workers.handlers.photo.source import SourcePhoto, unreadable

_COLOURS = {"b-w": 1, "grey16": 1, "cmyk": 4}
"""Channels of a colour; three where it is not listed."""
_BLURRED_SIDE = 16
"""Pixels that are left of a blurred picture's longer side."""


def decode(photo: SourcePhoto, size: int) -> pyvips.Image:
    """Return the first page upright in 8-bit sRGB (or grey), within a box of ``size`` pixels, held in memory.

    Decodes at a fraction of the size where the format can, and converts the colours of the small picture only. Raises
    ``HandlerError``.
    """
    try:
        image = _resized(photo, size).copy_memory()
        image = to_srgb(image, photo.encoding) if photo.encoding else profiles.to_srgb(image)
        return _upright(image, photo.orientation).copy_memory()
    except pyvips.Error as error:
        raise unreadable(photo.path, photo.format, error) from error


def smaller(largest: pyvips.Image, sizes: Iterable[int]) -> dict[int, pyvips.Image]:
    """Return one picture a size, each made from ``largest`` and in memory."""
    return {size: within(largest, size) for size in sizes}


def within(image: pyvips.Image, size: int) -> pyvips.Image:
    """Return the picture within a box of ``size`` pixels, in memory."""
    return image.thumbnail_image(size, height=size, size="down").copy_memory()


def blurred(image: pyvips.Image) -> pyvips.Image:
    """Return a picture of the same size of which only areas of colour can be told.

    It is made of so few pixels that no filter brings back what was there.
    """
    few = image.thumbnail_image(_BLURRED_SIDE, height=_BLURRED_SIDE, size="down")
    return few.thumbnail_image(image.width, height=image.height, size="force").copy_memory()


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


def _resized(photo: SourcePhoto, size: int) -> pyvips.Image:
    factor = max(photo.header.width, photo.header.height) / size
    width, height = (max(1, round(side / max(1, factor))) for side in (photo.header.width, photo.header.height))
    # The decoder leaves at least half of the work to a filter that is better than its own.
    image = photo.load(next((shrink for shrink in (8, 4, 2) if factor >= 2 * shrink), 1))
    image = _in_16_bits(_visible(image, has_alpha=photo.has_alpha))
    if (image.width, image.height) == (width, height):
        return image
    kind = image.format
    # A pixel that cannot be seen must not colour its neighbours.
    flat = image.premultiply() if photo.has_alpha else image
    small = flat.resize(width / image.width, vscale=height / image.height)
    return small.unpremultiply().cast(kind) if photo.has_alpha else small


def _in_16_bits(image: pyvips.Image) -> pyvips.Image:
    """Take the upper half of whole numbers of 32 bits, which no conversion of colours knows."""
    if image.format != "uint":
        return image
    return (image >> 16).cast("ushort").copy(interpretation="grey16" if image.bands < 3 else "rgb16")


def _visible(image: pyvips.Image, *, has_alpha: bool) -> pyvips.Image:
    """Drop the channels that a TIFF may have beside colour and alpha: masks, depth, infrared."""
    wanted = _COLOURS.get(image.interpretation, 3) + has_alpha
    return image.extract_band(0, n=wanted) if image.bands > wanted else image


def _upright(image: pyvips.Image, orientation: int) -> pyvips.Image:
    turned = image.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return turned.autorot()
