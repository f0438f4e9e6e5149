"""Decides which content types a pipeline's outputs may have: a browser runs scripts in some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PHOTO = ("image/webp", "application/json", "text/plain")
"""What the photo handler makes; and plain text, which no browser takes for anything else."""
PASSIVE = (
    "application/gzip",
    "application/json",
    "application/octet-stream",
    "application/pdf",
    "application/vnd.apache.parquet",
    "application/x-bzip2",
    "application/x-ndjson",
    "application/x-tar",
    "application/x-xz",
    "application/zip",
    "audio/*",
    "font/*",
    "image/avif",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/tiff",
    "image/webp",
    "text/csv",
    "text/markdown",
    "text/plain",
    "text/tab-separated-values",
    "video/*",
)
"""What handlers of your own may make by default: nothing in which a browser runs scripts of the page's site."""

_BY_HANDLER: Mapping[str, Sequence[str]] = {"photo": PHOTO}


def allowed(handler: str, configured: Sequence[str] | None) -> Sequence[str]:
    """The content types of a pipeline's outputs: those configured, else the handler's own."""
    return _BY_HANDLER.get(handler, PASSIVE) if configured is None else configured


def is_allowed(content_type: str, allowed: Sequence[str]) -> bool:
    """Whether a content type is one of these; its parameters, a charset say, do not count."""
    essence = content_type.partition(";")[0].strip().lower()
    return bool({essence, f"{essence.partition('/')[0]}/*", "*/*"} & {*allowed})
