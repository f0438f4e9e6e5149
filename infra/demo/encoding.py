"""Encodes pictures in each format that the demo uploads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyvips

Encode = Callable[[pyvips.Image], bytes]

# The inverse of each EXIF orientation: the pixels as a camera that is held that way stores them.
_INVERSE: dict[int, Callable[[pyvips.Image], pyvips.Image]] = {
    1: lambda image: image,
    2: lambda image: image.fliphor(),
    3: lambda image: image.rot180(),
    4: lambda image: image.flipver(),
    5: lambda image: image.rot90().fliphor(),
    6: lambda image: image.rot270(),
    7: lambda image: image.rot90().flipver(),
    8: lambda image: image.rot90(),
}


def turned_by(image: pyvips.Image, orientation: int) -> pyvips.Image:
    """The pixels turned or mirrored so that a viewer that obeys ``orientation`` (EXIF, 1 to 8) shows ``image``."""
    turned = _INVERSE[orientation](image).copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return turned


def jpeg(image: pyvips.Image) -> bytes:
    """Baseline JPEG."""
    return bytes(image.jpegsave_buffer(Q=85))


def progressive_jpeg(image: pyvips.Image) -> bytes:
    """JPEG in several scans."""
    return bytes(image.jpegsave_buffer(Q=85, interlace=True))


def grey_jpeg(image: pyvips.Image) -> bytes:
    """JPEG of one channel."""
    return jpeg(image.colourspace("b-w"))


def cmyk_jpeg(image: pyvips.Image) -> bytes:
    """JPEG of four inks, with their profile, as a print shop sends it."""
    return bytes(image.icc_transform("cmyk", input_profile="srgb").jpegsave_buffer(Q=85))


def p3_jpeg(image: pyvips.Image) -> bytes:
    """JPEG in Display P3, with its profile, as telephones write it."""
    return bytes(image.icc_transform("p3", input_profile="srgb").jpegsave_buffer(Q=85))


def png(image: pyvips.Image) -> bytes:
    """PNG."""
    return bytes(image.pngsave_buffer(compression=1))


def png_16_bit(image: pyvips.Image) -> bytes:
    """PNG with 16 bits a channel."""
    return png((image.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16"))


def webp(image: pyvips.Image) -> bytes:
    """WebP."""
    return bytes(image.webpsave_buffer(Q=85, effort=0))


def avif(image: pyvips.Image) -> bytes:
    """AVIF."""
    return bytes(image.heifsave_buffer(Q=60, compression="av1", effort=0))


def tiff(image: pyvips.Image) -> bytes:
    """TIFF, compressed without loss."""
    return bytes(image.tiffsave_buffer(compression="lzw"))


def animated_gif(frames: Sequence[pyvips.Image]) -> bytes:
    """GIF that shows the frames for 0.4 s each, in a loop."""
    column = pyvips.Image.arrayjoin(list(frames), across=1)
    column.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    column.set_type(pyvips.GValue.array_int_type, "delay", [400] * len(frames))
    column.set_type(pyvips.GValue.gint_type, "loop", 0)
    return bytes(column.gifsave_buffer(effort=1))


def with_window(image: pyvips.Image) -> pyvips.Image:
    """The image with an alpha channel: clear in a disc in the middle, opaque elsewhere."""
    radius = min(image.width, image.height) // 5
    alpha = (pyvips.Image.black(image.width, image.height) + 255).cast("uchar")
    return image.bandjoin(alpha.draw_circle(0, image.width // 2, image.height // 2, radius, fill=True))
