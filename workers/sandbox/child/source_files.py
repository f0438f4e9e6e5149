"""Imports the user's modules from the handlers' folder, and records each source file that was read.

The folder comes last on ``sys.path``: what is installed, Yurt itself included, is never shadowed by a file of the same
name. Each file is compiled from its source: CPython takes cached bytecode for fresh when the source has the same size
and the same whole second (PEP 3147), so it may miss an edit.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from workers.handlers.folder import INSTALLED
from workers.sandbox.messages import SourceFile

_MAX_REPORTED = 500
"""Files in one message to the agent; more of them come with the next."""


class SourceFiles:
    """The source files below one folder that this process has imported."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._read: list[SourceFile] = []

    def install(self) -> None:
        """Make modules in the folder importable, after everything else that is."""
        sys.path_hooks.insert(0, self._finder)
        sys.path.append(str(self._folder))

    def take(self) -> list[SourceFile]:
        """Return what was read since the last call."""
        taken, self._read = self._read[:_MAX_REPORTED], self._read[_MAX_REPORTED:]
        return taken

    def _finder(self, path: str) -> FileFinder:
        """Return a finder for a folder below this one. Raises ``ImportError``, which leaves it to Python's own."""
        place = Path(path)
        if not place.is_relative_to(self._folder) or INSTALLED & set(place.relative_to(self._folder).parts):
            raise ImportError
        record = self._read.append

        class RecordingLoader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                file = self.get_filename(fullname)
                # Before it is read: an edit between the two is then noticed.
                record(source_file(Path(file)))
                code: Any = self.source_to_code(self.get_data(file), file)
                return code  # type: ignore[no-any-return]  # typeshed has no better type for source_to_code

        return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (RecordingLoader, SOURCE_SUFFIXES))


def source_file(path: Path) -> SourceFile:
    """Return a file's present state."""
    status = path.stat()
    return SourceFile(str(path), status.st_mtime_ns, status.st_size)
