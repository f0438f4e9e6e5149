"""Converts a picture in another colour encoding to sRGB: wide gamut, and HDR by tone mapping.

A page's white is 203 cd/m² (ITU-R BT.2408, ISO 22028-5), as browsers take it: what is not brighter keeps its
colour, and only a picture with brighter parts is compressed.
"""

from __future__ import annotations

import pyvips

from workers.handlers.photo.colour_encoding import ColourEncoding, Transfer

_WHITE = 203.0
"""cd/m²: what is as bright as paper in an HDR picture."""
_PQ_PEAK = 10_000.0
_HLG_PEAK = 1_000.0
"""cd/m² of the display that an HLG picture is rendered for (BT.2100, table 5); its system gamma is 1.2 there."""
_STEPS = 4096
_PERCENTILE = 99.9
"""A highlight of fewer pixels than one in a thousand does not darken the rest."""
# ITU-R BT.2100, table 4
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# ITU-R BT.2100, table 5
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_LUMINANCE = [[0.2627, 0.6780, 0.0593]]


def to_srgb(image: pyvips.Image, encoding: ColourEncoding) -> pyvips.Image:
    """Return 8-bit sRGB with the same alpha. ``image`` has 8 or 16 bits a channel, in grey or RGB."""
    alpha = image[image.bands - 1] if image.hasalpha() else None
    colours = image[: image.bands - 1] if alpha is not None else image
    colours = colours if colours.bands == 3 else colours[0].bandjoin([colours[0], colours[0]])
    light = _linear(colours, encoding)
    if encoding.is_hdr:
        light = _tone_mapped(light)
    matrix = [list(row) for row in encoding.matrix()]
    converted = light.recomb(matrix).copy(interpretation="scrgb").colourspace("srgb")
    if alpha is None:
        return converted
    return converted.bandjoin(alpha >> 8 if alpha.format == "ushort" else alpha).cast("uchar")


def _linear(colours: pyvips.Image, encoding: ColourEncoding) -> pyvips.Image:
    """Light relative to a page's white."""
    deep = colours.format == "ushort"
    number = pyvips.Image.identity(ushort=deep, size=65_536 if deep else 256) / (65_535 if deep else 255)
    light = colours.maplut(_light(number, encoding).cast("float"))
    if encoding.transfer is Transfer.HLG:
        # BT.2100's opto-optical transfer function: the display's light from the scene's.
        light = light * (light.recomb(_HLG_LUMINANCE) ** 0.2) * (_HLG_PEAK / _WHITE)
    return light


def _light(number: pyvips.Image, encoding: ColourEncoding) -> pyvips.Image:
    match encoding.transfer:
        case Transfer.PQ:
            power = number ** (1 / _M2)
            above = power - _C1
            return ((above > 0).ifthenelse(above, 0) / (_C2 - power * _C3)) ** (1 / _M1) * (_PQ_PEAK / _WHITE)
        case Transfer.HLG:
            return (number <= 0.5).ifthenelse(number**2 / 3, (((number - _C) / _A).exp() + _B) / 12)
        case Transfer.POWER:
            return number**encoding.exponent
        case Transfer.SRGB:  # IEC 61966-2-1
            return (number <= 0.04045).ifthenelse(number / 12.92, ((number + 0.055) / 1.055) ** 2.4)


def _tone_mapped(light: pyvips.Image) -> pyvips.Image:
    """Compress what is brighter than a page's white. All channels get one factor, so that a hue keeps its place."""
    brightest = light[0].maxpair(light[1]).maxpair(light[2])
    # A square root gives the dark tones enough of the steps.
    steps = ((brightest * (_WHITE / _PQ_PEAK)) ** 0.5 * (_STEPS - 1)).cast("ushort").copy_memory()
    peak = _luminance(steps.percent(_PERCENTILE))
    if peak <= 1:
        return light
    factors = [_compressed(_luminance(step), peak) / max(_luminance(step), 1e-6) for step in range(1, _STEPS)]
    return light * steps.maplut(pyvips.Image.new_from_array([[1.0, *factors]]).cast("float"))


def _luminance(step: float) -> float:
    """Relative to a page's white."""
    return float((step / (_STEPS - 1)) ** 2 * _PQ_PEAK / _WHITE)


def _compressed(luminance: float, peak: float) -> float:
    """The electrical-electrical transfer function of ITU-R BT.2390, 5.4.1, in PQ, with black at 0."""
    source, target = _pq(peak), _pq(1.0) / _pq(peak)
    value, knee = min(1.0, _pq(luminance) / source), 1.5 * target - 0.5
    if value > knee:
        t = (value - knee) / (1 - knee)
        value = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * target
    return _from_pq(value * source)


def _pq(luminance: float) -> float:
    power = (luminance * _WHITE / _PQ_PEAK) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _from_pq(number: float) -> float:
    power = number ** (1 / _M2)
    return float((max(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1) * _PQ_PEAK / _WHITE)
