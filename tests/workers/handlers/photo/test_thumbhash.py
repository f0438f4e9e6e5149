"""ThumbHash, decoded again by the inverse of the cosine transform."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from tests.workers.handlers.photo.samples import quadrants, solid
from workers.handlers.photo.pictures import rgba
from workers.handlers.photo.thumbhash import encode


@dataclass
class Decoded:
    """The fields of a hash, and the colour at a place (0 to 1 each way)."""

    data: bytes

    def __post_init__(self) -> None:
        head = int.from_bytes(self.data[:5], "little")
        self.has_alpha = bool(head >> 23 & 1)
        self.landscape = bool(head >> 39 & 1)
        longer = 5 if self.has_alpha else 7
        shorter = max(3, head >> 24 & 7)
        nx, ny = (longer, shorter) if self.landscape else (shorter, longer)
        scales = [(head >> 18 & 31) / 31, (head >> 27 & 63) / 63, (head >> 33 & 63) / 63]
        averages = [(head & 63) / 63, (head >> 6 & 63) / 31.5 - 1, (head >> 12 & 63) / 31.5 - 1]
        sizes = [(nx, ny), (3, 3), (3, 3)]
        at = 5
        if self.has_alpha:
            averages.append((self.data[5] & 15) / 15)
            scales.append((self.data[5] >> 4) / 15)
            sizes.append((5, 5))
            at = 6
        nibbles = [half for byte in self.data[at:] for half in (byte & 15, byte >> 4)]
        self.channels = []
        for average, scale, size in zip(averages, scales, sizes, strict=True):
            terms = {}
            for y in range(size[1]):
                for x in range(size[0]):
                    if (x or y) and x * size[1] < size[0] * (size[1] - y):
                        terms[x, y] = (nibbles.pop(0) / 7.5 - 1) * scale
            self.channels.append((average, terms))
        self.left_over = nibbles

    def colour(self, x: float, y: float) -> tuple[int, ...]:
        values = [
            average
            + sum(
                factor * math.cos(math.pi * cx * x) * (2 if cx else 1) * math.cos(math.pi * cy * y) * (2 if cy else 1)
                for (cx, cy), factor in terms.items()
            )
            for average, terms in self.channels
        ]
        luminance, p, q, *alpha = values
        blue = luminance - 2 / 3 * p
        red = (3 * luminance - blue + q) / 2
        return tuple(round(255 * max(0, min(1, v))) for v in (red, red - q, blue, *alpha))


def near(one: tuple[int, ...], other: tuple[int, ...], within: int) -> bool:
    return all(abs(a - b) <= within for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (10, 20, 200), (255, 255, 255), (0, 0, 0), (128,) * 3])
def test_one_colour_comes_back(colour: tuple[int, ...]) -> None:
    decoded = Decoded(encode(30, 30, rgba(solid(colour, 30, 30))))
    assert near(decoded.colour(0.5, 0.5), colour, 8)
    assert near(decoded.colour(0.1, 0.9), colour, 8)


@pytest.mark.parametrize(("width", "height"), [(48, 32), (32, 48), (40, 40), (48, 2), (2, 48)])
def test_quadrants_come_back_in_their_places(width: int, height: int) -> None:
    image = quadrants(width, height)
    decoded = Decoded(encode(width, height, rgba(image)))
    assert decoded.landscape == (width > height)
    assert decoded.left_over in ([], [0])
    places = [(0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)]
    for place, expected in zip(places, [(220, 30, 30), (30, 180, 30), (30, 30, 220), (230, 220, 30)], strict=True):
        colour = decoded.colour(*place)
        assert max(range(3), key=colour.__getitem__) == max(range(3), key=expected.__getitem__), (place, colour)


def test_alpha_comes_back() -> None:
    left = solid((200, 40, 40, 255), 20, 40)
    image = left.join(solid((0, 0, 0, 0), 20, 40), "horizontal")
    decoded = Decoded(encode(40, 40, rgba(image)))
    assert decoded.has_alpha
    opaque, clear = decoded.colour(0.15, 0.5), decoded.colour(0.85, 0.5)
    assert opaque[3] > 200 > 60 > clear[3]
    assert near(opaque[:3], (200, 40, 40), 40)


def test_all_clear() -> None:
    assert Decoded(encode(8, 8, bytes(4 * 64))).colour(0.5, 0.5)[3] == 0


@pytest.mark.parametrize(("width", "height", "size"), [(101, 1, 404), (0, 1, 0), (2, 2, 15)])
def test_bounds(width: int, height: int, size: int) -> None:
    with pytest.raises(ValueError, match="pixels"):
        encode(width, height, bytes(size))
