"""The folder of one run of the demo: its contact sheet stays, logs and database are removed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from workers.scratch import discard

SHEET = "contact-sheet.html"


class FolderError(Exception):
    """The folder cannot be used. The message says what to do."""


class DemoFolder:
    """A folder with the contact sheet, and a folder inside for what the services write."""

    def __init__(self, chosen: Path | None) -> None:
        """Make the chosen folder, or a new one for temporary files. Raises FolderError."""
        try:
            self.path = self._make(chosen.resolve()) if chosen else Path(tempfile.mkdtemp(prefix="yurt-demo-"))
        except OSError as error:
            raise FolderError(f"--folder: {error.filename or chosen} cannot be made: {error.strerror}") from None

    @property
    def services(self) -> Path:
        """Logs, the database, and what the workers need."""
        return self.path / "services"

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.path / SHEET

    def tidy(self) -> None:
        """Remove what the services wrote, and the folder itself if nothing else is in it."""
        discard(self.services)  # its models are read-only
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _make(self, chosen: Path) -> Path:
        chosen.mkdir(parents=True, exist_ok=True)
        if (chosen / "services").exists():
            raise FolderError(
                f"--folder: {chosen / 'services'} holds another run's logs and database: remove it, or choose another"
            )
        return chosen
