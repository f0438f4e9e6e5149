"""Makes pictures in several sizes and ``metadata.json`` from one photo."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyvips
from pydantic import JsonValue

from workers.handlers import Job, OutputFile, Result
from workers.handlers.photo import colour, pictures, thumbhash
from workers.handlers.photo.metadata.model import PhotoMetadata, Position
from workers.handlers.photo.metadata.reader import read_metadata
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.source import CutOffError, SourcePhoto, open_photo

METADATA = "metadata.json"
_PLACEHOLDER_SIDE = 48
"""Pixels: enough for the lowest seven frequencies and the dominant colour, in about 2 ms."""


_OPERATIONS = (
    "autorot",
    "bandjoin_const",
    "cast",
    "colourspace",
    "copy",
    "icc_transform",
    "ifthenelse",
    "jpegload_source",
    "pngload_source",
    "resize",
    "thumbnail_image",
    "webpsave",
)


def warm_up() -> None:
    """Have libvips describe the usual operations once, before the fork for each file. Starts no thread."""
    for name in _OPERATIONS:
        # pyvips makes this text, which nothing reads, from the description when an operation is called first.
        pyvips.Operation.generate_docstring(name)


def handle(job: Job) -> Result:
    """Make ``{size}.webp`` for each size and ``metadata.json``, whose small facts are the labels too.

    Raises ``HandlerError`` for a file that is no photo, is damaged or exceeds the limits of the options.
    """
    options = PhotoOptions.model_validate(dict(job.options))
    largest_size = max(options.sizes)
    photo, largest = _decoded(job, options, largest_size)
    # The photo is decoded once, which takes longest; each smaller picture is made from the largest one.
    images = pictures.smaller(largest, (size for size in options.sizes if size != largest_size))
    images[largest_size] = largest
    for size, image in images.items():
        pictures.save(image, job.output / _name(size), quality=options.quality, effort=options.effort_of(size))
    metadata = read_metadata(photo.path, photo.format, photo.header, preview=photo.preview)
    facts = _facts(photo, metadata, images[min(images)])
    _write_metadata(job.output, photo, metadata, facts, gps=options.gps)
    return Result(outputs=_outputs(options), labels=facts)


def _decoded(job: Job, options: PhotoOptions, size: int) -> tuple[SourcePhoto, pyvips.Image]:
    try:
        photo = open_photo(job.input, job.key, options)
        return photo, pictures.decode(photo, size)
    except CutOffError:
        if not options.salvage:
            raise
    photo = open_photo(job.input, job.key, options, salvage=True)
    return photo, pictures.decode(photo, size)


def _name(size: int) -> str:
    return f"{size}.webp"


def _outputs(options: PhotoOptions) -> tuple[OutputFile, ...]:
    images = [OutputFile(_name(size), "image/webp", options.cache_control) for size in options.sizes]
    return (*images, OutputFile(METADATA, "application/json", options.cache_control))


def _facts(photo: SourcePhoto, metadata: PhotoMetadata, small: pyvips.Image) -> dict[str, JsonValue]:
    width, height = photo.displayed_size
    tiny = small.thumbnail_image(_PLACEHOLDER_SIDE, height=_PLACEHOLDER_SIDE, size="down")
    pixels = pictures.rgba(tiny)
    return {
        "width": width,
        "height": height,
        "format": photo.format.value,
        "captured_at": metadata.captured_at,
        "dominant_colour": colour.dominant(pixels),
        "salvaged": photo.is_salvaged,
        "thumbhash": base64.b64encode(thumbhash.encode(tiny.width, tiny.height, pixels)).decode(),
    }


def _write_metadata(
    folder: Path, photo: SourcePhoto, metadata: PhotoMetadata, facts: dict[str, JsonValue], *, gps: bool
) -> None:
    document: dict[str, JsonValue] = {
        **facts,
        "orientation": photo.orientation,
        "has_alpha": photo.has_alpha,
        "pages": photo.pages,
        "camera": {"make": metadata.make, "model": metadata.model, "lens": metadata.lens},
    }
    if gps:
        document["gps"] = _position(metadata.place)
    (folder / METADATA).write_text(json.dumps(document, indent=2) + "\n")


def _position(place: Position | None) -> JsonValue:
    if place is None:
        return None
    return {"latitude": place.latitude, "longitude": place.longitude, "altitude": place.altitude}
