"""Computes a photo's PDQ hash, by which copies are found."""

from __future__ import annotations

from types import ModuleType

import pyvips

from workers.handlers import HandlerUnavailable
from workers.handlers.photo.document import PdqHash
from workers.inference.runtime import load_library


def load() -> ModuleType:
    """Import the package. Raises HandlerUnavailable where it is not installed."""
    try:
        return load_library("pdqhash")
    except ImportError as error:
        raise HandlerUnavailable("PDQ needs pdqhash, which is not installed: pip install 'yurt[pdq]'.") from error


def pdq_hash(picture: pyvips.Image) -> PdqHash:
    """Return the hash. Raises HandlerUnavailable where the package is not installed."""
    pdqhash = load()
    import numpy as np

    rgb = picture.colourspace("srgb")
    rgb = (rgb.flatten(background=255) if rgb.hasalpha() else rgb).cast("uchar")
    pixels = np.frombuffer(rgb.write_to_memory(), np.uint8).reshape(rgb.height, rgb.width, 3)
    bits, quality = pdqhash.compute(pixels)
    return PdqHash(hash=np.packbits(bits).tobytes().hex(), quality=int(quality))
