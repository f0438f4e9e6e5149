"""Opens a photo: reads its header only, and refuses it where it exceeds the limits.

A decompression bomb is refused here, before a pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import pyvips

from workers.handlers import HandlerError
from workers.handlers.photo import boxes, heic, lab_tiff, memory, png_colour, profiles, raw, tiff
from workers.handlers.photo.colour_encoding import CodePoints, ColourEncoding
from workers.handlers.photo.formats import Format, identify
from workers.handlers.photo.lab_tiff import Lab
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.truncation import claims_too_much, completed, ends_early, missing_bytes

_LOADERS = {
    Format.JPEG: "jpegload_source",
    Format.RAW: "jpegload_source",
    Format.PNG: "pngload_source",
    Format.WEBP: "webpload_source",
    Format.GIF: "gifload_source",
    Format.TIFF: "tiffload_source",
    Format.AVIF: "heifload_source",
}
_SHRINKING = {Format.JPEG: "shrink", Format.RAW: "shrink", Format.WEBP: "scale"}
_MAX_BANDS = 8
_MEGA = 1_000_000
_MIB = 1 << 20
_OLD_JPEG = 6
"""Compression of TIFF 6.0, withdrawn in its Technical Note 2: libtiff shows many such files as an empty picture."""
_EXTRANEOUS = "extraneous bytes before marker"
"""libjpeg's warning of bytes behind the pixels (``JWRN_EXTRANEOUS_DATA``)."""
_PROFILE = "icc-profile-data"

_CUT_UNNOTICED = frozenset({Format.GIF, Format.AVIF, Format.HEIC})
"""Formats whose decoders do not need all of a file for its first picture."""


class FailOn(StrEnum):
    """How bad a fault in a file ends its decoding (``VipsFailOn``)."""

    NOTHING = "none"
    """What cannot be decoded is grey, black or clear."""
    ERROR = "error"
    """A file that is cut off or damaged is an error, not a picture with a grey half. Warnings are let pass: many
    cameras write what a strict reader warns of.
    """
    WARNING = "warning"
    """Of a file that was completed: pixels that are missing before its end are a warning."""


class CutOffError(HandlerError):
    """A file that lacks some of its pixels."""

    def __init__(self, message: str) -> None:
        super().__init__("unreadable", f"The file is cut off: {message}")


def _configure() -> None:
    # One slot is one core. A second job never asks for what the first has cached.
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    # Each loader is an attack surface: only these parse what strangers upload.
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif"):
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)


_configure()


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """A file whose header is within the limits. No pixel has been decoded."""

    path: Path
    format: Format
    header: pyvips.Image
    encoding: ColourEncoding | None = None
    """Of the colours, where it is neither sRGB nor in an ICC profile."""
    has_alpha: bool = False
    """Whether the last channel says how opaque a pixel is."""
    content: bytes | None = None
    """What is decoded in the file's place: the preview in a raw photo, a TIFF that libvips can read, or a file with
    the end that it lacked.
    """
    lab: Lab | None = None
    """How the numbers of a Lab picture that is decoded as if it were RGB are meant."""
    fail_on: FailOn = FailOn.ERROR
    """What ends its decoding."""

    @property
    def is_salvaged(self) -> bool:
        """Whether the file is cut off, and pixels are missing."""
        return self.fail_on is FailOn.NOTHING

    @property
    def preview(self) -> bytes | None:
        """The JPEG that is read of a raw photo."""
        return self.content if self.format is Format.RAW else None

    @property
    def orientation(self) -> int:
        """EXIF orientation 1–8, 1 where none is given. HEIF and AVIF are turned by their decoder."""
        value = self.header.get("orientation") if self.header.get_typeof("orientation") else 1
        return value if 1 <= value <= 8 else 1

    @property
    def displayed_size(self) -> tuple[int, int]:
        """Width and height in pixels as a viewer shows the photo."""
        size = (self.header.width, self.header.height)
        return (size[1], size[0]) if self.orientation >= 5 else size

    @property
    def pages(self) -> int:
        """Frames or pages in the file."""
        return int(self.header.get("n-pages")) if self.header.get_typeof("n-pages") else 1

    def load(self, shrink: int = 1) -> pyvips.Image:
        """Begin to decode the first page, not yet turned, with its ICC profile.

        ``shrink`` (1, 2, 4 or 8) asks for a smaller picture, which JPEG and WebP give in less time. Raises
        ``HandlerError``, and ``pyvips.Error``: that one also later, when the pixels are needed.
        """
        if self.format is Format.HEIC:
            return self._load_heic()
        options: dict[str, float] = {}
        if shrink > 1 and self.format in _SHRINKING:
            options = {_SHRINKING[self.format]: 1 / shrink if self.format is Format.WEBP else shrink}
        image = _load(self.format, self.path, self.content, self.fail_on, **options)
        return lab_tiff.unpacked(image, self.lab) if self.lab else image

    def _load_heic(self) -> pyvips.Image:
        pixels = heic.decode(
            self.path,
            deep=self.encoding is not None and self.encoding.is_hdr,
            memory_bytes=memory.available(),
        )
        if profile := profiles.embedded(self.header):
            pixels.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
        return pixels


def open_photo(path: Path, key: str, options: PhotoOptions, *, salvage: bool = False) -> SourcePhoto:
    """Read the header. Raises ``HandlerError`` (``empty``, ``unreadable``, ``too-large``).

    With ``salvage``, decoding gives what there is of a file that is cut off, where its decoder can.
    """
    kind = identify(path, key)
    if kind in _CUT_UNNOTICED and not salvage and (cut_off := _cut_off(path, kind)):
        raise cut_off
    try:
        photo = _open(path, kind, salvage=salvage)
    except pyvips.Error as error:
        raise unreadable(path, kind, error) from error
    _check(photo, options)
    return _decodable(photo) if photo.fail_on is FailOn.WARNING and kind is Format.JPEG else photo


def _decodable(photo: SourcePhoto) -> SourcePhoto:
    """Decode a JPEG without an end, to see whether it lacks more than that. Raises ``HandlerError``.

    Some phones put other data in the end's place: then the decoder warns of these, and not of missing pixels.
    """
    try:
        photo.load().avg()
    except pyvips.Error as error:
        if _EXTRANEOUS not in error.detail:
            raise unreadable(photo.path, photo.format, error) from error
        return replace(photo, fail_on=FailOn.ERROR)
    return photo


def _open(path: Path, kind: Format, *, salvage: bool) -> SourcePhoto:
    fail_on = FailOn.NOTHING if salvage else FailOn.ERROR
    match kind:
        case Format.HEIC:
            return _open_heic(path)
        case Format.TIFF | Format.RAW:
            return _open_tiff(path, kind, fail_on)
        case _:
            content = completed(path, kind)
            fail_on = FailOn.WARNING if content and not salvage else fail_on
            photo = _opened(path, kind, content, fail_on)
            return replace(photo, encoding=_encoding(photo))


def _opened(path: Path, kind: Format, content: bytes | None, fail_on: FailOn) -> SourcePhoto:
    header = _load(kind, path, content, fail_on)
    return SourcePhoto(path, kind, header, has_alpha=bool(header.hasalpha()), content=content, fail_on=fail_on)


def _load(kind: Format, path: Path, content: bytes | None, fail_on: FailOn, **options: float) -> pyvips.Image:
    load = getattr(pyvips.Image, _LOADERS[kind])
    source = pyvips.Source.new_from_file(str(path)) if content is None else pyvips.Source.new_from_memory(content)
    return load(source, access="sequential", fail_on=fail_on.value, **options)


def _encoding(photo: SourcePhoto) -> ColourEncoding | None:
    profile = profiles.embedded(photo.header)
    if photo.format is Format.PNG:
        return png_colour.colour_encoding(photo.path, has_profile=bool(profile))
    if profile:
        return _encoded(profiles.code_points(profile))
    image = boxes.coded_image(photo.path) if photo.format is Format.AVIF else None
    return _encoded(image.code_points) if image else None


def _encoded(points: CodePoints | None) -> ColourEncoding | None:
    return points.encoding() if points else None


def _open_heic(path: Path) -> SourcePhoto:
    header = heic.open_header(path)
    profile = profiles.embedded(header.image)
    encoding = _encoded(profiles.code_points(profile) if profile else header.code_points)
    return SourcePhoto(path, Format.HEIC, header.image, encoding, has_alpha=bool(header.image.hasalpha()))


def _open_tiff(path: Path, kind: Format, fail_on: FailOn) -> SourcePhoto:
    if recorded := raw.read(path):
        opened = _opened(path, Format.RAW, recorded.preview, fail_on)
        if recorded.orientation and not opened.header.get_typeof("orientation"):
            opened.header.set_type(pyvips.GValue.gint_type, "orientation", recorded.orientation)
        return opened
    directories = tiff.directories(path)
    if not any(directory.number(tiff.WIDTH) and directory.number(tiff.HEIGHT) for directory in directories):
        raise _cut_off(path, kind) or HandlerError("unreadable", "The TIFF file is damaged: no picture is in it.")
    if directories[0].number(tiff.COMPRESSION) == _OLD_JPEG:
        message = "The TIFF file is compressed as JPEG in a way that was withdrawn in 1995: export it as JPEG."
        raise HandlerError("unreadable", message)
    lab = lab_tiff.lab(directories[0])
    content = lab_tiff.as_rgb(path, directories[0]) if lab else tiff.without_broken_link(path)
    photo = _opened(path, kind, content, fail_on)
    return replace(photo, lab=lab, has_alpha=lab is None and photo.has_alpha and _is_alpha(directories))


def _is_alpha(directories: list[tiff.Directory]) -> bool:
    """TIFF 6.0, section 18: a channel beyond the colours is alpha only where ExtraSamples says it."""
    return directories[0].number(tiff.EXTRA_SAMPLES) in (1, 2)


def unreadable(path: Path, kind: Format, error: pyvips.Error) -> HandlerError:
    """Return the error for a file that a decoder cannot read, in words for the user who uploaded it.

    Whether it is cut off is seen in the file: decoders say of many a damage that it is the end.
    """
    if cut_off := _cut_off(path, kind):
        return cut_off
    if claims_too_much(path, kind):
        message = f"The {kind.upper()} file is damaged: a part of it claims to be longer than any file is."
        return HandlerError("unreadable", message)
    detail = _detail(error).replace(f"{path}: ", "")
    return HandlerError("unreadable", f"The {kind.upper()} file is damaged, or of a rare kind: {detail}")


def _detail(error: pyvips.Error) -> str:
    """The first line of what libvips noted that is not of its input's offsets, as far as it noted any other."""
    lines = (error.detail or error.message).strip().splitlines()
    return next((line for line in lines if "bad seek" not in line), "its structure is broken")[:200]


def _cut_off(path: Path, kind: Format) -> CutOffError | None:
    if missing := missing_bytes(path, kind):
        return CutOffError(f"at least {missing:,} bytes are missing." if missing > 1 else "at least 1 byte is missing.")
    return CutOffError("it ends before the picture does.") if ends_early(path, kind) else None


def _check(photo: SourcePhoto, options: PhotoOptions) -> None:
    width, height = photo.displayed_size
    if width * height > options.max_pixels:
        raise HandlerError(
            "too-large",
            f"The picture has {width:,} × {height:,} pixels ({width * height / _MEGA:,.1f} megapixels): "
            f"at most {options.max_pixels / _MEGA:,.1f} megapixels are read.",
        )
    if photo.pages > options.max_pages:
        raise HandlerError("too-large", f"The file has {photo.pages:,} pages: at most {options.max_pages:,} are read.")
    if photo.header.bands > _MAX_BANDS:
        raise HandlerError("unreadable", f"The picture has {photo.header.bands} channels: no photo has so many.")
    needed = memory.needed(photo.format, photo.header)
    if needed > memory.available():
        raise HandlerError(
            "too-large",
            f"The picture has {width:,} × {height:,} pixels, and {photo.format.upper()} is decoded as a whole: "
            f"that takes about {needed / _MIB:,.0f} MiB of memory, more than this worker allows.",
        )
