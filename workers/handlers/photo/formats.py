"""Identifies a file's format by its first bytes. Its name is used in error messages only."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path, PurePosixPath

from workers.handlers import HandlerError
from workers.handlers.photo import boxes

_HEAD_BYTES = 512
_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".avif", ".heic", ".heif", ".tif", ".tiff"}
    | {".bmp", ".svg", ".jxl", ".jp2", ".dng", ".raw", ".psd"}
)
_READ = "Photos may be JPEG, PNG, WebP, GIF, AVIF, HEIC or TIFF, or a camera's raw photo with a preview."


class Format(StrEnum):
    """The formats that are read. No other loader of libvips is ever called."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    TIFF = "tiff"
    AVIF = "avif"
    HEIC = "heic"
    RAW = "raw"
    """A camera's raw photo, of which the preview is read."""


_SIGNATURES = {
    b"\xff\xd8\xff": Format.JPEG,
    b"\x89PNG\r\n\x1a\n": Format.PNG,
    b"GIF87a": Format.GIF,
    b"GIF89a": Format.GIF,
    b"II*\0": Format.TIFF,
    b"MM\0*": Format.TIFF,
    b"II+\0": Format.TIFF,
    b"MM\0+": Format.TIFF,
    b"IIRO": Format.RAW,
    b"IIRS": Format.RAW,
    b"MMOR": Format.RAW,
    b"IIU\0": Format.RAW,
    b"FUJIFILMCCD-RAW ": Format.RAW,
}
_RAW = "a camera's raw photo of a kind that is not read: export it as JPEG"
_AVIF_BRANDS = (b"avif", b"avis")
_CANON_RAW = b"crx "
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_FOREIGN = {
    b"%PDF": "a PDF document",
    b"8BPS": "a Photoshop document",
    b"BM": "a BMP picture",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"FOVb": _RAW,
    b"\0MRM": _RAW,
    b"II\x1a\0\0\0HEAPCCDR": _RAW,
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
_MARKUP = {b"<svg": "an SVG drawing", b"<!doctype html": "a web page", b"<html": "a web page"}


def identify(path: Path, key: str) -> Format:
    """Return the format of the file's content. Raises ``HandlerError`` for anything that is not read here."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise HandlerError("empty", "The file is empty.")
    if kind := _signature(head):
        return _by_coding(path, kind) if kind in (Format.AVIF, Format.HEIC) else kind
    suffix = PurePosixPath(key).suffix.lower()
    named = f"is named {suffix} but holds" if suffix in _SUFFIXES else "holds"
    raise HandlerError("unreadable", f"This file {named} {_describe(head)}. {_READ}")


def _signature(head: bytes) -> Format | None:
    for magic, kind in _SIGNATURES.items():
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        return _brand(head)
    return None


def _by_coding(path: Path, kind: Format) -> Format:
    """What a HEIF file is by the codec of its picture; by its brands where that is not found."""
    image = boxes.coded_image(path)
    return kind if image is None else Format.AVIF if image.coding == b"av01" else Format.HEIC


def _brand(head: bytes) -> Format | None:
    """ISO 14496-12: a file type box lists a main brand and compatible ones, four bytes each."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return Format.AVIF
    return Format.HEIC if any(brand in _HEIC_BRANDS for brand in brands) else None


def _describe(head: bytes) -> str:
    for magic, description in _FOREIGN.items():
        if head.startswith(magic):
            return description
    if head[4:8] == b"ftyp":
        return _RAW if head[8:12] == _CANON_RAW else "a video or a sound"
    for tag, description in _MARKUP.items():
        if tag in head.lower():
            return description
    return "text" if _is_text(head) else "something else than a photo"


def _is_text(head: bytes) -> bool:
    # The last character may have been cut by where reading stopped.
    text = head.decode(errors="ignore")
    return len(text.encode()) >= len(head) - 3 and all(c.isprintable() or c.isspace() for c in text)
