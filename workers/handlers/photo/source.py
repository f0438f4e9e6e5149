"""Opens a photo: reads its header only, and refuses it where it exceeds the limits.

A decompression bomb is refused here, before a pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyvips

from workers.handlers import HandlerError
from workers.handlers.photo import boxes, heic, lab_tiff, memory, png_colour, profiles, raw, tiff
from workers.handlers.photo.colour_encoding import CodePoints, ColourEncoding
from workers.handlers.photo.formats import Format, identify
from workers.handlers.photo.lab_tiff import Lab
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.truncation import missing_bytes

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
_PROFILE = "icc-profile-data"

FAIL_ON = "error"
"""A file that is cut off or damaged is an error, not a picture with a grey half. Warnings are let pass: many
cameras write what a strict reader warns of."""


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
    """What is decoded in the file's place: the preview in a raw photo, or a TIFF that libvips can read."""
    lab: Lab | None = None
    """How the numbers of a Lab picture that is decoded as if it were RGB are meant."""

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
        image = _load(self.format, self.path, self.content, **options)
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


def open_photo(path: Path, key: str, options: PhotoOptions) -> SourcePhoto:
    """Read the header. Raises ``HandlerError`` (``empty``, ``unreadable``, ``too-large``)."""
    kind = identify(path, key)
    if missing := missing_bytes(path, kind):
        raise HandlerError("unreadable", f"The file is cut off: at least {missing:,} bytes are missing.")
    try:
        photo = _open(path, kind)
    except pyvips.Error as error:
        raise unreadable(path, kind, error) from error
    _check(photo, options)
    return photo


def _open(path: Path, kind: Format) -> SourcePhoto:
    match kind:
        case Format.HEIC:
            return _open_heic(path)
        case Format.TIFF | Format.RAW:
            return _open_tiff(path, kind)
        case _:
            photo = _opened(path, kind)
            return replace(photo, encoding=_encoding(photo))


def _opened(path: Path, kind: Format, content: bytes | None = None) -> SourcePhoto:
    header = _load(kind, path, content)
    return SourcePhoto(path, kind, header, has_alpha=bool(header.hasalpha()), content=content)


def _load(kind: Format, path: Path, content: bytes | None, **options: float) -> pyvips.Image:
    load = getattr(pyvips.Image, _LOADERS[kind])
    source = pyvips.Source.new_from_file(str(path)) if content is None else pyvips.Source.new_from_memory(content)
    return load(source, access="sequential", fail_on=FAIL_ON, **options)


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


def _open_tiff(path: Path, kind: Format) -> SourcePhoto:
    if recorded := raw.read(path):
        opened = _opened(path, Format.RAW, recorded.preview)
        if recorded.orientation and not opened.header.get_typeof("orientation"):
            opened.header.set_type(pyvips.GValue.gint_type, "orientation", recorded.orientation)
        return opened
    directories = tiff.directories(path)
    if directories and directories[0].number(tiff.COMPRESSION) == _OLD_JPEG:
        message = "The TIFF file is compressed as JPEG in a way that was withdrawn in 1995: export it as JPEG."
        raise HandlerError("unreadable", message)
    lab = lab_tiff.lab(directories[0]) if directories else None
    photo = _opened(path, kind, lab_tiff.as_rgb(path, directories[0]) if lab else None)
    return replace(photo, lab=lab, has_alpha=lab is None and photo.has_alpha and _is_alpha(directories))


def _is_alpha(directories: list[tiff.Directory]) -> bool:
    """TIFF 6.0, section 18: a channel beyond the colours is alpha only where ExtraSamples says it."""
    return not directories or directories[0].number(tiff.EXTRA_SAMPLES) in (1, 2)


def unreadable(path: Path, kind: Format, error: pyvips.Error) -> HandlerError:
    """Return the error for a file that a decoder cannot read, in words for the user who uploaded it."""
    detail = (error.detail or error.message).replace(f"{path}: ", "").strip().partition("\n")[0][:200]
    if "premature end" in detail or "bad seek" in detail:
        return HandlerError("unreadable", "The file is cut off: it ends before the picture does.")
    return HandlerError("unreadable", f"The {kind.upper()} file is damaged, or of a rare kind: {detail}")


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
