"""The dominant colour."""

from __future__ import annotations

from tests.workers.handlers.photo.samples import solid
from workers.handlers.photo.colour import dominant
from workers.handlers.photo.pictures import rgba


def test_the_colour_of_the_larger_part() -> None:
    image = solid((250, 10, 10), 30, 10).join(solid((10, 10, 250), 20, 10), "horizontal")
    assert dominant(rgba(image)) == "#fa0a0a"


def test_near_shades_count_together_and_are_averaged() -> None:
    image = solid((100, 100, 100), 10, 10).join(solid((110, 110, 110), 10, 10), "horizontal")
    image = image.join(solid((250, 0, 0), 15, 10), "horizontal")
    assert dominant(rgba(image)) == "#696969"


def test_what_cannot_be_seen_does_not_count() -> None:
    image = solid((250, 10, 10, 255), 5, 10).join(solid((10, 10, 250, 0), 20, 10), "horizontal")
    assert dominant(rgba(image)) == "#fa0a0a"
    assert dominant(bytes(40)) == "#000000"
