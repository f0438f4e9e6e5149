"""Puts together what all metadata of a photo's file say."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyvips

from workers.handlers.photo.formats import Format
from workers.handlers.photo.metadata import blocks, exif, iptc, xmp
from workers.handlers.photo.metadata.blocks import MetadataBlock, Standard
from workers.handlers.photo.metadata.model import PhotoMetadata

_READERS: dict[Standard, Callable[[bytes], PhotoMetadata]] = {
    Standard.EXIF: exif.read_block,
    Standard.XMP: xmp.read,
    Standard.IPTC: iptc.read,
}
"""In their order of precedence: what a camera wrote first, then what programs wrote."""
_TIFF_BASED = (Format.TIFF, Format.RAW)
_DECODED = {"exif-data": Standard.EXIF, "xmp-data": Standard.XMP}
"""Fields of libvips. From HEIF only: its decoder knows where items are."""


def read_metadata(path: Path, kind: Format, header: pyvips.Image, preview: bytes | None = None) -> PhotoMetadata:
    """Return the facts of a photo's EXIF, then XMP, then IPTC; those of a raw photo's preview come last."""
    with path.open("rb") as file:
        known = exif.read(file) if kind in _TIFF_BASED else PhotoMetadata()
        found = [*blocks.find(file, kind), *_decoded(kind, header)]
    known = known.or_else(_facts(found))
    if preview is None:
        return known
    return known.or_else(_facts(blocks.find(io.BytesIO(preview), Format.JPEG)))


def _decoded(kind: Format, header: pyvips.Image) -> Iterator[MetadataBlock]:
    if kind in (Format.AVIF, Format.HEIC):
        for field, standard in _DECODED.items():
            if header.get_typeof(field):
                yield MetadataBlock(standard, bytes(header.get(field)))


def _facts(found: list[MetadataBlock]) -> PhotoMetadata:
    facts = PhotoMetadata()
    for standard, read in _READERS.items():
        for block in found:
            if block.standard is standard:
                facts = facts.or_else(read(block.content))
    return facts
