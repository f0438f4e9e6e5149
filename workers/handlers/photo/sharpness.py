"""Measures how sharp a photo is, by the variance of its Laplacian."""

from __future__ import annotations

import pyvips

_LAPLACIAN = ((0, 1, 0), (1, -4, 1), (0, 1, 0))


def sharpness(picture: pyvips.Image) -> float:
    """Return the variance over a grey picture from 0 to 255. Figures of pictures of different sizes do not compare."""
    grey = picture.flatten(background=255) if picture.hasalpha() else picture
    edges = grey.colourspace("b-w").cast("float").conv(pyvips.Image.new_from_array([list(row) for row in _LAPLACIAN]))
    return float(edges.deviate() ** 2)
