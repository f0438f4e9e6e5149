"""Notices that the user's handlers have changed, while one of them cannot run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from workers.handlers.folder import snapshot

_LOOK_SECONDS = 1.0


class HandlerWatch:
    """Compares the handlers' folder with what it was when a handler was found to be unavailable."""

    def __init__(self, folder: Path | None, *, look_seconds: float = _LOOK_SECONDS) -> None:
        """``look_seconds`` lie between two looks at the folder. Without a folder nothing ever changes."""
        self._folder = folder
        self._look_seconds = look_seconds
        self._broken: frozenset[tuple[str, int, int]] | None = None
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """Watch from now on: a handler of the folder as it is cannot run."""
        if self._folder is not None and self._broken is None:
            self._broken = snapshot(self._folder)
            self._begun.set()

    async def changed(self) -> None:
        """Wait until the folder has changed after ``begin``. The watch has then ended."""
        await self._begun.wait()
        assert self._folder is not None
        while await asyncio.to_thread(snapshot, self._folder) == self._broken:  # noqa: ASYNC110 - a file that changes wakes no process
            await asyncio.sleep(self._look_seconds)
        self._broken = None
        self._begun.clear()
