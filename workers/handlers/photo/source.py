"""Opens a photo: reads its header only, and refuses it where it exceeds the limits.

A decompression bomb is refused here, before a pixel is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyvips

from workers.handlers import HandlerError
from workers.handlers.photo.formats import Format, identify
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.truncation import missing_bytes

_LOADERS = {
    Format.JPEG: "jpegload_source",
    Format.PNG: "pngload_source",
    Format.WEBP: "webpload_source",
    Format.GIF: "gifload_source",
    Format.TIFF: "tiffload_source",
    Format.AVIF: "heifload_source",
    Format.HEIC: "heifload_source",
}
_MAX_BANDS = 8
_MEGA = 1_000_000

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


def open_photo(path: Path, key: str, options: PhotoOptions) -> SourcePhoto:
    """Read the header. Raises ``HandlerError`` (``empty``, ``unreadable``, ``too-large``)."""
    kind = identify(path, key)
    if missing := missing_bytes(path, kind):
        raise HandlerError("unreadable", f"The file is cut off: at least {missing:,} bytes are missing.")
    load = getattr(pyvips.Image, _LOADERS[kind])
    try:
        header = load(pyvips.Source.new_from_file(str(path)), access="sequential", fail_on=FAIL_ON)
    except pyvips.Error as error:
        raise unreadable(path, kind, error) from error
    photo = SourcePhoto(path, kind, header)
    _check(photo, options)
    return photo


def unreadable(path: Path, kind: Format, error: pyvips.Error) -> HandlerError:
    """Return the error for a file that a decoder cannot read, in words for the user who uploaded it."""
    detail = (error.detail or error.message).replace(f"{path}: ", "").strip().partition("\n")[0][:200]
    if "premature end" in detail or "bad seek" in detail:
        return HandlerError("unreadable", "The file is cut off: it ends before the picture does.")
    if kind is Format.HEIC:
        message = f"This worker cannot read this HEIC file ({detail}): export it as JPEG or AVIF."
        return HandlerError("unreadable", message)
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
