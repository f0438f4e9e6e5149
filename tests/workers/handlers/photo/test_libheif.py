"""The library that the wheel brings: its interface is the one that is declared."""

from __future__ import annotations

import subprocess
import sys

from workers.handlers.photo.libheif import library


def test_it_is_new_enough_and_loaded_once() -> None:
    assert library() is library()


def test_decoding_options_are_laid_out_as_declared() -> None:
    options = library().heif_decoding_options_alloc()
    try:
        assert options.contents.version >= 10
        assert options.contents.color_conversion_options.version == 1
        assert (options.contents.decoder_id, options.contents.cancel_decoding) == (None, None)
    finally:
        library().heif_decoding_options_free(options)


def test_security_limits_are_laid_out_as_declared() -> None:
    context = library().heif_context_alloc()
    limits = library().heif_context_get_security_limits(context).contents
    try:
        assert limits.version >= 2
        assert (limits.max_image_size_pixels, limits.max_total_memory) == (1 << 30, 4 << 30)
    finally:
        library().heif_context_free(context)


def test_a_photo_of_another_format_does_not_load_it() -> None:
    script = "import sys, workers.handlers.photo.handler; print('_pi_heif' in sys.modules, 'PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
