"""Lists the files in a handler's output folder, with content types from their names."""

from __future__ import annotations

from mimetypes import MimeTypes
from pathlib import Path

from workers.handlers import OutputFile

# Python's own table and these, not the machine's: a result must not depend on which worker made it.
_TYPES = MimeTypes()
for _type, _suffix in (
    ("image/avif", ".avif"),
    ("image/heic", ".heic"),
    ("image/webp", ".webp"),
    ("application/x-ndjson", ".jsonl"),
    ("application/vnd.apache.parquet", ".parquet"),
    ("text/markdown", ".md"),
):
    _TYPES.add_type(_type, _suffix)
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def every_file(folder: Path) -> tuple[OutputFile, ...]:
    """Return every entry of ``folder``, sorted by name, with a content type guessed from its suffix.

    Folders and links are listed too: the sandbox refuses them with a message, rather than leaving them out in silence.
    """
    return tuple(
        OutputFile(name=name, content_type=content_type(name))
        for name in sorted(entry.name for entry in folder.iterdir())
    )


def content_type(name: str) -> str:
    """Return the content type for a name's suffix; ``application/octet-stream`` for an unknown one."""
    kind, encoding = _TYPES.guess_type(name)
    if encoding is not None:
        return _COMPRESSED.get(encoding, "application/octet-stream")
    return kind or "application/octet-stream"
