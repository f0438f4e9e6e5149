"""Draws sample images: a yurt in a landscape, with a coloured square in every corner.

The squares show which way up an image is, and whether it is mirrored, to code that sees only its pixels.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from random import Random

import pyvips

from infra.demo.lettering import lettering

RGB = tuple[int, int, int]


class Colour(enum.Enum):
    """Colours of the squares: far from each other also after CMYK, sixteen bits or a narrow palette."""

    RED = (208, 44, 44)
    GREEN = (44, 160, 76)
    BLUE = (48, 84, 196)
    YELLOW = (236, 200, 48)


Corners = tuple[Colour, Colour, Colour, Colour]
"""Clockwise from the top left."""

CORNERS: Corners = (Colour.RED, Colour.GREEN, Colour.BLUE, Colour.YELLOW)

SQUARE = 0.14
"""Side of a square, of the picture's shorter side."""

_DRAWN = 640
"""Pixels: a larger picture is drawn at this size and then enlarged, as drawing takes the most time."""
_GRAINED = 1600
"""Pixels: a picture that is larger still gets its grain at this size."""
_GRAIN_TILE = 512


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one landscape."""

    zenith: RGB
    horizon: RGB
    land: RGB
    sun: RGB
    felt: RGB


PALETTES = (
    Palette((64, 120, 190), (214, 226, 228), (74, 106, 66), (255, 250, 226), (236, 228, 212)),
    Palette((52, 52, 104), (242, 158, 108), (72, 52, 70), (255, 214, 150), (210, 190, 180)),
    Palette((94, 146, 186), (246, 224, 188), (176, 136, 84), (255, 246, 214), (240, 230, 206)),
    Palette((14, 20, 48), (58, 74, 116), (24, 34, 48), (226, 230, 240), (148, 150, 166)),
    Palette((150, 166, 182), (222, 228, 232), (122, 136, 128), (250, 250, 246), (226, 224, 220)),
    Palette((40, 96, 128), (168, 212, 206), (40, 84, 84), (250, 244, 214), (226, 222, 206)),
)


@dataclass(frozen=True, slots=True)
class SampleImage:
    """The description of an image; ``draw`` makes it."""

    width: int
    height: int
    caption: str
    palette: Palette = PALETTES[0]
    corners: Corners = CORNERS
    seed: int = 0

    def draw(self) -> pyvips.Image:
        """8-bit sRGB, in memory."""
        image = _enlarged(_landscape(self, *self._within(_DRAWN)), *self._within(_GRAINED))
        image = _enlarged(_grain(image, self.seed), self.width, self.height)
        image = _caption(image, self.caption)
        return _corners(image, self.corners).copy(interpretation="srgb").copy_memory()

    def _within(self, pixels: int) -> tuple[int, int]:
        """Width and height, no longer than so many pixels."""
        factor = min(1.0, pixels / max(self.width, self.height))
        return round(self.width * factor), round(self.height * factor)


def square_centres(width: int, height: int) -> list[tuple[int, int]]:
    """Where the squares' middles are in a picture of this size, clockwise from the top left."""
    inset = SQUARE * min(width, height) / 2
    left, right = int(inset), int(width - inset)
    top, bottom = int(inset), int(height - inset)
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _landscape(sample: SampleImage, width: int, height: int) -> pyvips.Image:
    random = Random(sample.seed)
    palette = sample.palette
    # Kept in memory: libvips would work each out again wherever it is used.
    down = (pyvips.Image.xyz(1, height)[1] / height).replicate(width, 1).copy_memory()
    across = (pyvips.Image.xyz(width, 1)[0] / width).replicate(1, height).copy_memory()
    image = _between(palette.zenith, palette.horizon, (down * 1.5).minpair(1.0))
    image = _sun(image, across, down, palette, random, width / height)
    for depth in (0.66, 0.36, 0.0):
        ridge = _ridge(width, random, depth).replicate(1, height)
        colour = [round(land + (sky - land) * depth) for land, sky in zip(palette.land, palette.horizon, strict=True)]
        image = _paint(image, (down - ridge) * height, colour)
    return _yurt(image, across * (width / height), down, palette, random, width / height)


def _enlarged(image: pyvips.Image, width: int, height: int) -> pyvips.Image:
    if (image.width, image.height) == (width, height):
        return image
    # Computed once here: what follows would ask for the same rows again and again.
    return image.copy_memory().resize(width / image.width, vscale=height / image.height, kernel="linear").copy_memory()


def _between(top: RGB, bottom: RGB, share: pyvips.Image) -> pyvips.Image:
    return share.linear([b - t for t, b in zip(top, bottom, strict=True)], list(top)).cast("uchar")


def _sun(
    image: pyvips.Image, across: pyvips.Image, down: pyvips.Image, palette: Palette, random: Random, aspect: float
) -> pyvips.Image:
    x, y = random.uniform(0.2, 0.8), random.uniform(0.14, 0.34)
    distance = ((across - x) * aspect).complexform(down - y).abs()
    glow = (distance * -6).exp() * 0.5 + (0.05 - distance).linear(300, 0.5).maxpair(0.0)
    return (glow * 255).cast("uchar").ifthenelse(list(palette.sun), image, blend=True)


def _ridge(width: int, random: Random, depth: float) -> pyvips.Image:
    """Heights of one row of hills, 0 to 1 from the top, one pixel high."""
    degrees = pyvips.Image.xyz(width, 1)[0] * (360 / width)
    ridge = pyvips.Image.black(width, 1) + (0.74 - 0.26 * depth)
    for waves, swing in ((0.8, 0.05), (2.3, 0.03), (7.1, 0.008)):
        ridge += (degrees * waves + random.uniform(0, 360)).math("sin") * swing
    return ridge.copy_memory()


def _yurt(
    image: pyvips.Image, across: pyvips.Image, down: pyvips.Image, palette: Palette, random: Random, aspect: float
) -> pyvips.Image:
    """Walls, roof, crown and door. ``across`` is in units of the height."""
    height = image.height
    x, ground, half = aspect * random.uniform(0.35, 0.65), 0.86, 0.17 * min(1.0, aspect)
    beside = (across - x).abs()
    wall_top = ground - half * 0.62
    roof_top = wall_top - half * 0.62
    walls = _inside(half - beside, down - wall_top, ground - down)
    roof = _inside(half * 1.06 - beside - (wall_top - down) * 1.36, wall_top - down + 0.004, down - roof_top)
    crown = _inside(half * 0.24 - beside, down - roof_top + half * 0.07, roof_top + half * 0.06 - down)
    band = _inside(half - beside, down - wall_top - half * 0.04, wall_top + half * 0.12 - down)
    door = _inside(half * 0.2 - beside, down - wall_top - half * 0.12, ground - down)
    shade = [round(part * 0.82) for part in palette.felt]
    painted = (
        (walls, palette.felt),
        (roof, shade),
        (band, (176, 66, 52)),
        (door, (116, 52, 44)),
        (crown, (70, 50, 46)),
    )
    for region, colour in painted:
        image = _paint(image, region * height, list(colour))
    return image


def _inside(*distances: pyvips.Image) -> pyvips.Image:
    """Where all distances are positive; how far inside the nearest border."""
    nearest, *others = distances
    for other in others:
        nearest = nearest.minpair(other)
    return nearest


def _paint(image: pyvips.Image, inside_pixels: pyvips.Image, colour: list[int]) -> pyvips.Image:
    """Paint where ``inside_pixels`` is positive, with a border one pixel soft."""
    cover = inside_pixels.linear(255, 127.5).cast("uchar")  # clips
    return cover.ifthenelse(colour, image, blend=True)


def _grain(image: pyvips.Image, seed: int) -> pyvips.Image:
    tile = pyvips.Image.gaussnoise(_GRAIN_TILE, _GRAIN_TILE, mean=0, sigma=5, seed=seed % 2**31).copy_memory()
    times = [math.ceil(side / _GRAIN_TILE) for side in (image.width, image.height)]
    return (image + tile.replicate(*times).crop(0, 0, image.width, image.height)).cast("uchar")


def _caption(image: pyvips.Image, text: str) -> pyvips.Image:
    ink = lettering(text, round(min(image.width, image.height) * 0.06))
    if ink.width > image.width * (1 - 2.4 * SQUARE):
        ink = ink.resize(image.width * (1 - 2.4 * SQUARE) / ink.width)
    x, y = (image.width - ink.width) // 2, round(image.height * 0.97) - ink.height
    mask = ink.embed(x, y, image.width, image.height)
    return mask.ifthenelse([250, 248, 240], image, blend=True)


def _corners(image: pyvips.Image, corners: Corners) -> pyvips.Image:
    side = math.ceil(SQUARE * min(image.width, image.height))
    right, bottom = image.width - side, image.height - side
    for colour, (x, y) in zip(corners, ((0, 0), (right, 0), (right, bottom), (0, bottom)), strict=True):
        image = image.draw_rect(list(colour.value), x, y, side, side, fill=True)
    return image
