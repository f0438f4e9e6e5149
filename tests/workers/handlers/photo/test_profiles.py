"""ICC profiles: those that apply, those that cannot, and what is done without one."""

from __future__ import annotations

import struct

import pytest
import pyvips

from tests.workers.handlers.photo.samples import CORNERS, corners, quadrants, solid
from workers.handlers.photo.colour_encoding import CodePoints
from workers.handlers.photo.profiles import code_points, to_srgb

FIELD = "icc-profile-data"


def profile(name: str) -> bytes:
    return bytes(pyvips.Image.profile_load(name))


OF_LAB = profile("p3")[:16] + b"Lab " + profile("p3")[20:]


def with_profile(image: pyvips.Image, content: bytes) -> pyvips.Image:
    tagged = image.copy()
    tagged.set_type(pyvips.GValue.blob_type, FIELD, content)
    return tagged


def ink(*channels: int) -> pyvips.Image:
    return solid(channels, 8, 8).copy(interpretation="cmyk")


def test_a_profile_is_applied() -> None:
    image = quadrants().icc_transform("p3", input_profile="srgb")
    assert image(1, 1)[0] < 215
    assert to_srgb(image)(1, 1) == pytest.approx([220, 30, 30], abs=2)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 200, profile("p3")[:300], profile("cmyk"), profile("p3").replace(b"rXYZ", b"zzzz"), OF_LAB],
    ids=["empty", "zeros", "cut off", "of ink", "without a colorant", "of Lab"],
)
def test_a_profile_that_cannot_apply_is_ignored(content: bytes) -> None:
    assert corners(to_srgb(with_profile(quadrants(), content))) == list(CORNERS)


def test_rich_black_is_black_and_paper_white() -> None:
    assert max(to_srgb(ink(191, 173, 171, 230))(1, 1)) < 16
    assert min(to_srgb(ink(0, 0, 0, 0))(1, 1)) > 250


def test_rich_black_is_black_with_a_profile_too() -> None:
    assert max(to_srgb(with_profile(ink(191, 173, 171, 230), profile("cmyk")))(1, 1)) < 16


def test_ink_with_a_profile_of_light_is_taken_for_common_ink() -> None:
    red = to_srgb(with_profile(ink(0, 255, 255, 0), profile("srgb")))(1, 1)
    assert red[0] > 180
    assert max(red[1:]) < 80


def test_lab_is_relative_to_d50() -> None:
    # sRGB (0, 0, 255) in Lab of D50; with D65 it would be (0, 26, 255).
    black = pyvips.Image.black(8, 8, bands=3)
    blue = black.linear(1, [29.57, 68.30, -112.03]).cast("float").copy(interpretation="lab")
    assert to_srgb(blue)(1, 1) == pytest.approx([0, 0, 255], abs=4)


def with_code_points(primaries: int, transfer: int) -> bytes:
    """A profile of one tag."""
    tag = struct.pack(">4sII", b"cicp", 144, 12)
    return bytes(128) + struct.pack(">I", 1) + tag + b"cicp" + bytes(4) + bytes([primaries, transfer, 0, 1])


def test_code_points_in_a_profile() -> None:
    assert code_points(with_code_points(9, 16)) == CodePoints(9, 16)
    assert code_points(with_code_points(12, 13)) is None
    assert code_points(with_code_points(9, 16)[:150]) is None
    assert code_points(profile("p3")) is None
    assert code_points(b"") is None
