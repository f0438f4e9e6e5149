"""A file as a parameter of a function: on the disk of where the function runs."""

from __future__ import annotations

import os
from pathlib import Path

from yurt.content_types import guessed_type


class File:
    """A file that a function is given: the object that was uploaded, or a file of the caller's."""

    __slots__ = ("content_type", "etag", "key", "path")

    def __init__(self, path: str | os.PathLike[str], key: str = "", etag: str = "", content_type: str = "") -> None:
        """Name a file on this disk.

        Args:
            path: Where it is.
            key: Its object's key; by default the file's name.
            etag: Of the object's content; empty where it is no object.
            content_type: By default what the key's suffix says.

        """
        self.path = Path(path)
        """Where it is on this disk, to be read only. On a worker its name says nothing: see ``key``."""
        self.key = key or self.path.name
        """Key of the object in its bucket (``uploads/2026/cat.jpg``), or the name of the caller's file."""
        self.etag = etag
        """ETag of the content, without quotes; empty where it is no object."""
        self.content_type = content_type or guessed_type(self.key)
        """Guessed from the key's suffix, unless the caller named it (``image/jpeg``)."""

    def read_bytes(self) -> bytes:
        """Return the whole content. Raises OSError."""
        return self.path.read_bytes()

    def read_text(self) -> str:
        """Return the content as text in UTF-8. Raises OSError, UnicodeDecodeError."""
        return self.path.read_text("utf-8")

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"yurt.File({str(self.path)!r}, key={self.key!r})"
