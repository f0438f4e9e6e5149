"""Reads HEIC, the format of phones: HEVC in the HEIF container, by libheif.

Its pixels, ICC profile, EXIF and XMP are handed to libvips, so that all that follows is as for any other format.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_size_t, c_uint16, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyvips

from workers.handlers import HandlerError
from workers.handlers.photo import libheif
from workers.handlers.photo.colour_encoding import CodePoints
from workers.handlers.photo.libheif import CHANNEL_INTERLEAVED, RGB, DecodingOptions, HeifStatus, NclxProfile

_PROFILE = "icc-profile-data"
_MAX_METADATA = 16 << 20
_MAX_SIDE = 1_000_000
"""Pixels. libvips has a limit of its own, ten times as high."""
_MAX_TILES = 65_536
_CHROMA = {(False, False): 10, (True, False): 11, (False, True): 14, (True, True): 15}
"""``heif_chroma``: interleaved RGB by alpha and by more than 8 bits, little-endian."""
_CUT_OFF = 100
"""``heif_suberror_End_of_data``."""
_NO_MEMORY = 6
"""``heif_error_Memory_allocation_error``: of bytes, or another security limit."""
_NO_THREAD = -1
"""For libde265, which takes 0 for 1: a thread a tile that this one waits for costs a twentieth of the time."""
_UNSUPPORTED = (3, 4)
"""``heif_error_Unsupported_filetype``, ``heif_error_Unsupported_feature``."""


@dataclass(frozen=True, slots=True)
class HeicHeader:
    """What is known of a HEIC before a pixel is decoded."""

    image: pyvips.Image
    """Of the size, bands and metadata that the picture will have, turned; its pixels are black."""
    code_points: CodePoints | None
    bits: int
    """A channel."""


def open_header(path: Path) -> HeicHeader:
    """Read the structure only. Raises ``HandlerError``."""
    with _opened(_Context(path, memory_bytes=256 << 20)) as picture:
        return picture.header()


def decode(path: Path, *, deep: bool, memory_bytes: int) -> pyvips.Image:
    """Return the primary image as its boxes turn, mirror and crop it: RGB, with alpha where it has any.

    8 bits a channel, or 16 where ``deep`` is set. libheif is allowed ``memory_bytes``. Raises ``HandlerError``.
    """
    with _opened(_Context(path, memory_bytes=memory_bytes)) as picture:
        return picture.pixels(deep=deep)


class _Context:
    """A file as libheif has opened it, freed after the last picture that was decoded from it.

    libheif counts memory by the context's address: a picture that outlived it would be taken from the next one's count.
    """

    def __init__(self, path: Path, *, memory_bytes: int) -> None:
        lib = libheif.library()
        self.pointer = c_void_p(lib.heif_context_alloc())
        limits = lib.heif_context_get_security_limits(self.pointer).contents
        limits.max_number_of_tiles = _MAX_TILES
        limits.max_color_profile_size = _MAX_METADATA
        limits.max_memory_block_size = limits.max_total_memory = memory_bytes
        # One slot is one core: no thread beside this one.
        lib.heif_context_set_max_decoding_threads(self.pointer, 0)
        _check(lib.heif_context_read_from_file(self.pointer, bytes(path), None))

    def __del__(self) -> None:
        libheif.library().heif_context_free(self.pointer)


@contextmanager
def _opened(context: _Context) -> Iterator[_Item | _Track]:
    lib = libheif.library()
    handle = c_void_p()
    status = _primary_handle(context.pointer, handle)
    if status.code == 0:
        try:
            yield _Item(context, handle)
        finally:
            lib.heif_image_handle_release(handle)
        return
    if not lib.heif_context_has_sequence(context.pointer):
        _fail(status)
    track = c_void_p(lib.heif_context_get_track(context.pointer, 0))
    try:
        yield _Track(context, track)
    finally:
        lib.heif_track_release(track)


def _primary_handle(context: c_void_p, handle: c_void_p) -> HeifStatus:
    """The primary image; where that is a thumbnail, the first image that is none."""
    lib = libheif.library()
    identifier = c_uint32()
    status: HeifStatus = lib.heif_context_get_primary_image_ID(context, byref(identifier))
    if status.code == 0 and not lib.heif_context_is_top_level_image_ID(context, identifier):
        lib.heif_context_get_list_of_top_level_image_IDs(context, byref(identifier), 1)
    return status if status.code else lib.heif_context_get_image_handle(context, identifier, byref(handle))


class _Item:
    """The primary image."""

    def __init__(self, context: _Context, handle: c_void_p) -> None:
        self._lib = libheif.library()
        self._context = context
        self._handle = handle

    def header(self) -> HeicHeader:
        """Size and metadata."""
        width = self._lib.heif_image_handle_get_width(self._handle)
        height = self._lib.heif_image_handle_get_height(self._handle)
        image = _blank(width, height, alpha=self._has_alpha())
        images = self._lib.heif_context_get_number_of_top_level_images(self._context.pointer)
        image.set_type(pyvips.GValue.gint_type, "n-pages", max(1, images))
        for field, content in (("exif-data", self._exif()), ("xmp-data", self._xmp()), (_PROFILE, self._profile())):
            if content:
                image.set_type(pyvips.GValue.blob_type, field, content)
        # The orientation in EXIF is not to be obeyed: boxes turn the image (ISO 23000-22, 7.2).
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
        bits = self._lib.heif_image_handle_get_luma_bits_per_pixel(self._handle)
        return HeicHeader(image, self._code_points(), max(8, bits))

    def pixels(self, *, deep: bool) -> pyvips.Image:
        """Decode."""
        image = c_void_p()
        with _decoding_options(deep=deep) as options:
            chroma = _CHROMA[self._has_alpha(), deep]
            _check(self._lib.heif_decode_image(self._handle, byref(image), RGB, chroma, options))
        return _taken(_Pixels(self._context, image), bands=4 if self._has_alpha() else 3, deep=deep)

    def _has_alpha(self) -> bool:
        return bool(self._lib.heif_image_handle_has_alpha_channel(self._handle))

    def _code_points(self) -> CodePoints | None:
        profile = POINTER(NclxProfile)()
        if self._lib.heif_image_handle_get_nclx_color_profile(self._handle, byref(profile)).code != 0:
            return None
        try:
            return CodePoints(profile.contents.primaries, profile.contents.transfer)
        finally:
            self._lib.heif_nclx_color_profile_free(profile)

    def _profile(self) -> bytes:
        size = self._lib.heif_image_handle_get_raw_color_profile_size(self._handle)
        if not 0 < size <= _MAX_METADATA:
            return b""
        content = ctypes.create_string_buffer(size)
        status = self._lib.heif_image_handle_get_raw_color_profile(self._handle, content)
        return content.raw if status.code == 0 else b""

    def _exif(self) -> bytes:
        """ISO 23008-12, annex A: four bytes say how far behind them the TIFF header is. Its reader looks for it."""
        return self._metadata(b"Exif")

    def _xmp(self) -> bytes:
        return self._metadata(b"mime", content_type=b"application/rdf+xml")

    def _metadata(self, kind: bytes, content_type: bytes | None = None) -> bytes:
        lib, handle = self._lib, self._handle
        count = min(16, lib.heif_image_handle_get_number_of_metadata_blocks(handle, kind))
        ids = (c_uint32 * max(1, count))()
        found = lib.heif_image_handle_get_list_of_metadata_block_IDs(handle, kind, ids, count)
        for identifier in ids[:found]:
            size = lib.heif_image_handle_get_metadata_size(handle, identifier)
            named = lib.heif_image_handle_get_metadata_content_type(handle, identifier)
            if not 0 < size <= _MAX_METADATA or (content_type and named != content_type):
                continue
            content = ctypes.create_string_buffer(size)
            if lib.heif_image_handle_get_metadata(handle, identifier, content).code == 0:
                return content.raw
        return b""


class _Track:
    """The first frame of a file that holds no item, only a sequence."""

    def __init__(self, context: _Context, track: c_void_p) -> None:
        self._lib = libheif.library()
        self._context = context
        self._track = track

    def header(self) -> HeicHeader:
        """Size. A sequence's colours are taken for sRGB."""
        width, height = c_uint16(), c_uint16()
        _check(self._lib.heif_track_get_image_resolution(self._track, byref(width), byref(height)))
        return HeicHeader(_blank(width.value, height.value, alpha=self._has_alpha()), None, 8)

    def pixels(self, *, deep: bool) -> pyvips.Image:
        """Decode."""
        image = c_void_p()
        with _decoding_options(deep=deep) as options:
            chroma = _CHROMA[self._has_alpha(), deep]
            _check(self._lib.heif_track_decode_next_image(self._track, byref(image), RGB, chroma, options))
        return _taken(_Pixels(self._context, image), bands=4 if self._has_alpha() else 3, deep=deep)

    def _has_alpha(self) -> bool:
        return bool(self._lib.heif_track_has_alpha_channel(self._track))


@contextmanager
def _decoding_options(*, deep: bool) -> Iterator[ctypes._Pointer[DecodingOptions]]:
    lib = libheif.library()
    options = lib.heif_decoding_options_alloc()
    try:
        options.contents.convert_hdr_to_8bit = not deep
        options.contents.output_image_nclx_profile_passthrough = 1
        options.contents.autocorrect_broken_input = 1
        options.contents.num_codec_threads = _NO_THREAD
        yield options
    finally:
        lib.heif_decoding_options_free(options)


class _Pixels:
    """libheif's memory, given back when the last image that reads it is gone."""

    def __init__(self, context: _Context, image: c_void_p) -> None:
        self._context = context
        self.image = image

    def __del__(self) -> None:
        libheif.library().heif_image_release(self.image)


def _taken(owner: _Pixels, *, bands: int, deep: bool) -> pyvips.Image:
    """The decoded pixels as an image of libvips, without a copy."""
    lib = libheif.library()
    image = owner.image
    stride = c_size_t()
    start = lib.heif_image_get_plane_readonly2(image, CHANNEL_INTERLEAVED, byref(stride))
    width = lib.heif_image_get_width(image, CHANNEL_INTERLEAVED)
    height = lib.heif_image_get_height(image, CHANNEL_INTERLEAVED)
    if not start or width <= 0 or height <= 0:
        raise HandlerError("unreadable", "The HEIC file is damaged: its picture is empty.")
    buffer = (ctypes.c_uint8 * (stride.value * height)).from_address(start)
    buffer.owner = owner  # libvips holds the buffer, and the buffer its owner
    pixels = _rows(buffer, stride.value, width, height, bands, "ushort" if deep else "uchar")
    pixels = pixels.copy(interpretation="rgb16" if deep else "srgb")
    return _scaled(pixels, lib.heif_image_get_bits_per_pixel_range(image, CHANNEL_INTERLEAVED), image)


def _rows(
    buffer: ctypes.Array[ctypes.c_uint8], stride: int, width: int, height: int, bands: int, kind: str
) -> pyvips.Image:
    numbers = stride // (2 if kind == "ushort" else 1)
    if numbers % bands == 0:
        return pyvips.Image.new_from_memory(buffer, numbers // bands, height, bands, kind).crop(0, 0, width, height)
    # A row ends with padding that is no whole number of pixels.
    rows = pyvips.Image.new_from_memory(buffer, numbers, height, 1, kind)
    return rows.crop(0, 0, width * bands, height).bandfold(factor=bands)


def _scaled(pixels: pyvips.Image, bits: int, image: c_void_p) -> pyvips.Image:
    """All 16 bits of ``rgb16``; alpha that colours are not multiplied with."""
    if pixels.format == "ushort" and bits < 16:
        pixels = pixels.linear(65_535 / (2**bits - 1), 0).cast("ushort").copy(interpretation="rgb16")
    if pixels.hasalpha() and libheif.library().heif_image_is_premultiplied_alpha(image):
        pixels = pixels.unpremultiply().cast(pixels.format)
    return pixels


def _blank(width: int, height: int, *, alpha: bool) -> pyvips.Image:
    if max(width, height) > _MAX_SIDE:
        raise HandlerError("too-large", f"The picture has {width:,} × {height:,} pixels.")
    if width <= 0 or height <= 0:
        raise HandlerError("unreadable", "The HEIC file is damaged: its picture is empty.")
    return pyvips.Image.black(width, height, bands=4 if alpha else 3).copy(interpretation="srgb")


def _check(status: HeifStatus) -> None:
    if status.code != 0:
        _fail(status)


def _fail(status: HeifStatus) -> NoReturn:
    if status.subcode == _CUT_OFF:
        raise HandlerError("unreadable", "The file is cut off: it ends before the picture does.")
    if status.code == _NO_MEMORY and "bytes" in status.text():
        raise HandlerError("too-large", f"Decoding the HEIC file takes more memory than is allowed: {status.text()}")
    rare = "of a kind that is not read here" if status.code in _UNSUPPORTED else "damaged, or of a rare kind"
    raise HandlerError("unreadable", f"The HEIC file is {rare} ({status.text()}): export it as JPEG or AVIF.")
