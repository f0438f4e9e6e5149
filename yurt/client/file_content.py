"""The content of a file that is uploaded: read at any place, from several threads, and as long as it was at first."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO, Self

from yurt.errors import YurtError

FileOrPath = str | os.PathLike[str] | BinaryIO


class FileContent:
    """A file of known size."""

    def __init__(self, file: BinaryIO, name: str, own: bool) -> None:
        """Take a file that is open for reading, whole, wherever its position is. ``own`` says to close it."""
        if not file.seekable():
            raise TypeError("the file cannot seek, so that its size is unknown: write it to the disk first")
        self._file = file
        self._own = own
        self._lock = threading.Lock()
        self.name = name
        """Without folders; empty where it has none."""
        self.size = file.seek(0, os.SEEK_END)
        """Bytes."""

    @classmethod
    def opened(cls, file: FileOrPath) -> Self:
        """Open a path, or take a file that is open already. Raises OSError and TypeError."""
        if isinstance(file, str | os.PathLike):
            path = Path(file)
            return cls(path.open("rb"), path.name, own=True)
        name = getattr(file, "name", "")  # a number where it was opened by its descriptor
        return cls(file, Path(name).name if isinstance(name, str) else "", own=False)

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly so many bytes. Raises OSError, and `YurtError` where the file has become shorter."""
        with self._lock:
            self._file.seek(offset)
            content = self._file.read(size)
        if not isinstance(content, bytes):
            raise TypeError("the file is open as text: open it with the mode 'rb'")
        if len(content) != size:
            raise YurtError(f"{self.name or 'The file'} became shorter while it was uploaded: upload it again.")
        return content

    def close(self) -> None:
        """Close the file, unless the caller has opened it."""
        if self._own:
            self._file.close()
