"""Makes pictures in several sizes and ``metadata.json`` from one photo."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyvips
from pydantic import JsonValue

from workers.handlers import Job, OutputFile, Result
from workers.handlers.photo import colour, exif, pictures, thumbhash
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.source import SourcePhoto, open_photo

METADATA = "metadata.json"
_PLACEHOLDER_SIDE = 48
"""Pixels: enough for the lowest seven frequencies and the dominant colour, in about 2 ms."""


def handle(job: Job) -> Result:
    """Make ``{size}.webp`` for each size and ``metadata.json``, whose small facts are the labels too.

    Raises ``HandlerError`` for a file that is no photo, is damaged or exceeds the limits of the options.
    """
    options = PhotoOptions.model_validate(dict(job.options))
    photo = open_photo(job.input, job.key, options)
    largest_size = max(options.sizes)
    largest = pictures.decode(photo, largest_size)
    # The photo is decoded once, which takes longest; each smaller picture is made from the largest one.
    images = pictures.smaller(largest, (size for size in options.sizes if size != largest_size))
    images[largest_size] = largest
    for size, image in images.items():
        pictures.save(image, job.output / _name(size), quality=options.quality, effort=options.effort_of(size))
    facts = _facts(photo, images[min(images)])
    _write_metadata(job.output, photo, facts, gps=options.gps)
    return Result(outputs=_outputs(options), labels=facts)


def _name(size: int) -> str:
    return f"{size}.webp"


def _outputs(options: PhotoOptions) -> tuple[OutputFile, ...]:
    images = [OutputFile(_name(size), "image/webp", options.cache_control) for size in options.sizes]
    return (*images, OutputFile(METADATA, "application/json", options.cache_control))


def _facts(photo: SourcePhoto, small: pyvips.Image) -> dict[str, JsonValue]:
    width, height = photo.displayed_size
    tiny = small.thumbnail_image(_PLACEHOLDER_SIDE, height=_PLACEHOLDER_SIDE, size="down")
    pixels = pictures.rgba(tiny)
    return {
        "width": width,
        "height": height,
        "format": photo.format.value,
        "captured_at": exif.captured_at(photo.header),
        "dominant_colour": colour.dominant(pixels),
        "thumbhash": base64.b64encode(thumbhash.encode(tiny.width, tiny.height, pixels)).decode(),
    }


def _write_metadata(folder: Path, photo: SourcePhoto, facts: dict[str, JsonValue], *, gps: bool) -> None:
    metadata: dict[str, JsonValue] = {
        **facts,
        "orientation": photo.orientation,
        "has_alpha": photo.has_alpha,
        "pages": photo.pages,
        "camera": exif.camera(photo.header),
    }
    if gps:
        metadata["gps"] = exif.gps(photo.header)
    (folder / METADATA).write_text(json.dumps(metadata, indent=2) + "\n")
