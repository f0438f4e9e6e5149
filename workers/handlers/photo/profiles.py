"""Applies ICC profiles: the photo's own, or a standard one for ink."""

from __future__ import annotations

import struct

import pyvips

from workers.handlers.photo.colour_encoding import CodePoints

_MAX_TAGS = 200
_DEVICES = (b"scnr", b"mntr", b"prtr", b"spac")
_DEVICE_COLOURS = {"b-w": b"GRAY", "grey16": b"GRAY", "cmyk": b"CMYK"}
_FIELD = "icc-profile-data"


def embedded(image: pyvips.Image) -> bytes:
    """Return an image's profile; nothing where it has none, or an empty one."""
    try:
        return bytes(image.get(_FIELD)) if image.get_typeof(_FIELD) else b""
    except RuntimeError:  # how pyvips answers an empty one
        return b""


def code_points(profile: bytes) -> CodePoints | None:
    """Return what a profile's ``cicp`` tag says (ICC.1:2022, 9.2.17), where that is HDR.

    The rest of such a profile only approximates it, without tone mapping. None for any other profile.
    """
    count = int.from_bytes(profile[128:132], "big")
    for number in range(min(count, _MAX_TAGS)):
        entry = profile[132 + 12 * number : 144 + 12 * number]
        if len(entry) == 12 and entry[:4] == b"cicp":
            (offset,) = struct.unpack(">I", entry[4:8])
            content = profile[offset : offset + 12]
            if content[:4] == b"cicp" and len(content) == 12:
                points = CodePoints(content[8], content[9])
                encoding = points.encoding()
                return points if encoding and encoding.is_hdr else None
    return None


def to_srgb(image: pyvips.Image) -> pyvips.Image:
    """Return 8-bit sRGB, or grey, with the same alpha.

    A profile that is broken, or of another kind than the pixels, is ignored: viewers do so too. Ink without a profile
    is taken for that of a common offset press. Black becomes black, whatever a press can print: black point
    compensation.
    """
    if _suits(embedded(image), image):
        try:
            return _transformed(image)
        except pyvips.Error:
            pass
    image = image.copy()
    image.remove(_FIELD)
    if image.interpretation == "cmyk":
        return _transformed(image, input_profile="cmyk")
    if image.interpretation == "lab":
        # A file's Lab is relative to D50, as in profiles; libvips' own conversion takes it for D65.
        return image.icc_export(output_profile="srgb", pcs="lab", intent="perceptual")
    return image.colourspace("b-w" if image.bands < 3 else "srgb")


def _suits(profile: bytes, image: pyvips.Image) -> bool:
    """Whether the profile describes a device, and one with such channels (ICC.1:2022, 7.2.5 and 7.2.6)."""
    colours = _DEVICE_COLOURS.get(image.interpretation, b"RGB ")
    return profile[12:16] in _DEVICES and profile[16:20] == colours


def _transformed(image: pyvips.Image, **fallback: str) -> pyvips.Image:
    return image.icc_transform("srgb", embedded=True, black_point_compensation=True, intent="perceptual", **fallback)
