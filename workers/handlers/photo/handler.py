"""Makes pictures in several sizes and ``metadata.json`` from one photo."""

from __future__ import annotations

import base64
from collections.abc import Container

import pyvips

from workers.handlers import Job, OutputFile, Result
from workers.handlers.photo import colour, pictures, thumbhash
from workers.handlers.photo.document import CameraFacts, PhotoDocument, PhotoPlace, PictureState
from workers.handlers.photo.inspection import Inspection, inspect
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
    "conv",
    "copy",
    "crop",
    "flatten",
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

    Raises ``HandlerError`` for a file that is no photo, is damaged or exceeds the limits of the options, and
    ``HandlerUnavailable`` where a model of the checks cannot be used.
    """
    options = PhotoOptions.model_validate(dict(job.options))
    photo, decoded = _decoded(job, options, options.decoded_size)
    images = _images(decoded, options)
    findings = inspect([*images.values(), decoded], options, job.models, job.model_roots)
    shown = _shown(images, findings.pictures)
    for size, image in shown.items():
        pictures.save(image, job.output / _name(size), quality=options.quality, effort=options.effort_of(size))
    metadata = read_metadata(photo.path, photo.format, photo.header, preview=photo.preview)
    # Of what is shown: a placeholder and a colour tell of the picture that is withheld.
    document = _document(photo, metadata, shown[min(shown)] if shown else None, findings, gps=options.gps)
    (job.output / METADATA).write_text(document.encode())
    return Result(outputs=_outputs(options, shown), labels=document.labels)


def _images(decoded: pyvips.Image, options: PhotoOptions) -> dict[int, pyvips.Image]:
    """One picture a size. The photo is decoded once, which takes longest: each smaller one is made from that."""
    smaller = (size for size in options.sizes if size != options.decoded_size)
    images = pictures.smaller(decoded, smaller)
    if options.decoded_size in options.sizes:
        images[options.decoded_size] = decoded
    return images


def _shown(images: dict[int, pyvips.Image], state: PictureState) -> dict[int, pyvips.Image]:
    match state:
        case PictureState.PUBLISHED:
            return images
        case PictureState.BLURRED:
            return {size: pictures.blurred(image) for size, image in images.items()}
        case PictureState.WITHHELD:
            return {}


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


def _outputs(options: PhotoOptions, shown: Container[int]) -> tuple[OutputFile, ...]:
    sizes = [size for size in options.sizes if size in shown]
    images = [OutputFile(_name(size), "image/webp", options.cache_control) for size in sizes]
    return (*images, OutputFile(METADATA, "application/json", options.cache_control))


def _document(
    photo: SourcePhoto, metadata: PhotoMetadata, small: pyvips.Image | None, findings: Inspection, *, gps: bool
) -> PhotoDocument:
    width, height = photo.displayed_size
    colour_of_all, placeholder = _placeholder(small) if small else (None, None)
    place = {"gps": _position(metadata.place)} if gps else {}
    return PhotoDocument(
        width=width,
        height=height,
        format=photo.format,
        captured_at=metadata.captured_at,
        dominant_colour=colour_of_all,
        salvaged=photo.is_salvaged,
        thumbhash=placeholder,
        orientation=photo.orientation,
        has_alpha=photo.has_alpha,
        pages=photo.pages,
        camera=CameraFacts(make=metadata.make, model=metadata.model, lens=metadata.lens),
        **place,
        **findings.fields,
    )


def _placeholder(small: pyvips.Image) -> tuple[str, str]:
    """The dominant colour, and the ThumbHash in Base64."""
    tiny = small.thumbnail_image(_PLACEHOLDER_SIDE, height=_PLACEHOLDER_SIDE, size="down")
    pixels = pictures.rgba(tiny)
    return colour.dominant(pixels), base64.b64encode(thumbhash.encode(tiny.width, tiny.height, pixels)).decode()


def _position(place: Position | None) -> PhotoPlace | None:
    if place is None:
        return None
    return PhotoPlace(latitude=place.latitude, longitude=place.longitude, altitude=place.altitude)
