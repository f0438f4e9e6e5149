"""The part of libheif's C interface that reading needs, by ctypes.

The library is the one that the wheel ``pi-heif`` brings, with a decoder for HEVC; libvips' wheel has none. It is called
here and not through that package's own interface, which sets no limits, converts HDR to sRGB without tone mapping, and
copies each picture twice.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

RGB = 1
"""``heif_colorspace_RGB``."""
CHANNEL_INTERLEAVED = 10
"""``heif_channel_interleaved``."""
_OPTIONS_VERSION = 10
"""Of ``heif_decoding_options``: the first that can leave colours as they are."""


class HeifStatus(ctypes.Structure):
    """``struct heif_error``: what every call returns that can fail."""

    _fields_ = [("code", c_int), ("subcode", c_int), ("message", c_char_p)]

    def text(self) -> str:
        """The library's own words."""
        return " ".join((self.message or b"").decode(errors="replace").split())[:200]


class SecurityLimits(ctypes.Structure):
    """The beginning of ``struct heif_security_limits``, up to version 2."""

    _fields_ = [
        ("version", c_uint8),
        ("max_image_size_pixels", c_uint64),
        ("max_number_of_tiles", c_uint64),
        ("max_bayer_pattern_pixels", c_uint32),
        ("max_items", c_uint32),
        ("max_color_profile_size", c_uint32),
        ("max_memory_block_size", c_uint64),
        ("max_components", c_uint32),
        ("max_iloc_extents_per_item", c_uint32),
        ("max_size_entity_group", c_uint32),
        ("max_children_per_box", c_uint32),
        ("max_total_memory", c_uint64),
    ]


class _ColourConversion(ctypes.Structure):
    _fields_ = [("version", c_uint8), ("downsampling", c_int), ("upsampling", c_int), ("only_preferred", c_uint8)]


class DecodingOptions(ctypes.Structure):
    """``struct heif_decoding_options``, version 10."""

    _fields_ = [
        ("version", c_uint8),
        ("ignore_transformations", c_uint8),
        ("start_progress", c_void_p),
        ("on_progress", c_void_p),
        ("end_progress", c_void_p),
        ("progress_user_data", c_void_p),
        ("convert_hdr_to_8bit", c_uint8),
        ("strict_decoding", c_uint8),
        ("decoder_id", c_char_p),
        ("color_conversion_options", _ColourConversion),
        ("cancel_decoding", c_void_p),
        ("color_conversion_options_ext", c_void_p),
        ("ignore_sequence_editlist", c_int),
        ("output_image_nclx_profile", c_void_p),
        ("num_library_threads", c_int),
        ("num_codec_threads", c_int),
        ("autocorrect_broken_input", c_uint8),
        ("output_image_nclx_profile_passthrough", c_uint8),
    ]


class NclxProfile(ctypes.Structure):
    """The beginning of ``struct heif_color_profile_nclx``."""

    _fields_ = [("version", c_uint8), ("primaries", c_int), ("transfer", c_int), ("matrix", c_int)]


_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "heif_context_alloc": (c_void_p,),
    "heif_context_free": (None, c_void_p),
    "heif_context_get_security_limits": (POINTER(SecurityLimits), c_void_p),
    "heif_context_set_max_decoding_threads": (None, c_void_p, c_int),
    "heif_context_read_from_file": (HeifStatus, c_void_p, c_char_p, c_void_p),
    "heif_context_get_primary_image_ID": (HeifStatus, c_void_p, POINTER(c_uint32)),
    "heif_context_is_top_level_image_ID": (c_int, c_void_p, c_uint32),
    "heif_context_get_list_of_top_level_image_IDs": (c_int, c_void_p, POINTER(c_uint32), c_int),
    "heif_context_get_image_handle": (HeifStatus, c_void_p, c_uint32, POINTER(c_void_p)),
    "heif_context_get_number_of_top_level_images": (c_int, c_void_p),
    "heif_context_has_sequence": (c_int, c_void_p),
    "heif_context_get_track": (c_void_p, c_void_p, c_uint32),
    "heif_track_release": (None, c_void_p),
    "heif_track_has_alpha_channel": (c_int, c_void_p),
    "heif_track_get_image_resolution": (HeifStatus, c_void_p, POINTER(c_uint16), POINTER(c_uint16)),
    "heif_track_decode_next_image": (HeifStatus, c_void_p, POINTER(c_void_p), c_int, c_int, c_void_p),
    "heif_image_handle_release": (None, c_void_p),
    "heif_image_handle_get_width": (c_int, c_void_p),
    "heif_image_handle_get_height": (c_int, c_void_p),
    "heif_image_handle_has_alpha_channel": (c_int, c_void_p),
    "heif_image_handle_get_luma_bits_per_pixel": (c_int, c_void_p),
    "heif_image_handle_get_raw_color_profile_size": (c_size_t, c_void_p),
    "heif_image_handle_get_raw_color_profile": (HeifStatus, c_void_p, c_void_p),
    "heif_image_handle_get_nclx_color_profile": (HeifStatus, c_void_p, POINTER(POINTER(NclxProfile))),
    "heif_nclx_color_profile_free": (None, POINTER(NclxProfile)),
    "heif_image_handle_get_number_of_metadata_blocks": (c_int, c_void_p, c_char_p),
    "heif_image_handle_get_list_of_metadata_block_IDs": (c_int, c_void_p, c_char_p, POINTER(c_uint32), c_int),
    "heif_image_handle_get_metadata_content_type": (c_char_p, c_void_p, c_uint32),
    "heif_image_handle_get_metadata_size": (c_size_t, c_void_p, c_uint32),
    "heif_image_handle_get_metadata": (HeifStatus, c_void_p, c_uint32, c_void_p),
    "heif_decoding_options_alloc": (POINTER(DecodingOptions),),
    "heif_decoding_options_free": (None, POINTER(DecodingOptions)),
    "heif_decode_image": (HeifStatus, c_void_p, POINTER(c_void_p), c_int, c_int, c_void_p),
    "heif_image_release": (None, c_void_p),
    "heif_image_get_width": (c_int, c_void_p, c_int),
    "heif_image_get_height": (c_int, c_void_p, c_int),
    "heif_image_get_bits_per_pixel_range": (c_int, c_void_p, c_int),
    "heif_image_is_premultiplied_alpha": (c_int, c_void_p),
    "heif_image_get_plane_readonly2": (c_void_p, c_void_p, c_int, POINTER(c_size_t)),
}


@functools.cache
def library() -> ctypes.CDLL:
    """Load the library on first use: most files need none. Raises ``ImportError`` where it is not installed."""
    import _pi_heif

    # A handle of the extension module finds the symbols of what it is linked with: dlsym(3).
    loaded = ctypes.CDLL(_pi_heif.__file__)
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    options = loaded.heif_decoding_options_alloc()
    version = options.contents.version
    loaded.heif_decoding_options_free(options)
    if version < _OPTIONS_VERSION:
        raise ImportError(f"libheif is too old: its decoding options have version {version}, not {_OPTIONS_VERSION}")
    return loaded
