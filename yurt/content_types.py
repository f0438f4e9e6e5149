"""Guesses a file's content type by the suffix of its name."""

from __future__ import annotations

import mimetypes

UNKNOWN_TYPE = "application/octet-stream"
# Lists of older Pythons and of bare systems leave these out, and cameras and phones write them.
_MORE = {
    ".avif": "image/avif",
    ".dng": "image/x-adobe-dng",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jxl": "image/jxl",
    ".webp": "image/webp",
}
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def guessed_type(name: str) -> str:
    """Return the content type for a name or key, in lower case; ``application/octet-stream`` where it says nothing."""
    for suffix, known_type in _MORE.items():
        if name.lower().endswith(suffix):
            return known_type
    content_type, encoding = mimetypes.guess_type(name, strict=False)
    if encoding:
        return _COMPRESSED.get(encoding, UNKNOWN_TYPE)
    return (content_type or UNKNOWN_TYPE).lower()
