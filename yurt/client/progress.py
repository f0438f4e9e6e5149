"""Tells how far an upload is: to a function of the app's, or as a bar on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and all there are, from whichever thread sends; the first never falls."""

BAR_BYTES = 32 << 20
"""Smallest upload that has a bar."""
_BAR_CELLS = 30
_REDRAW_SECONDS = 0.1
_NAME_CHARACTERS = 24
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class UploadProgress:
    """Adds up what several senders have sent."""

    def __init__(self, total: int, report: Progress | None) -> None:
        self._total = total
        self._report = report
        self._lock = threading.Lock()
        self._sent: dict[int, int] = {}
        self._done = 0
        self._reported = -1

    def note(self, part: int, sent: int) -> None:
        """Note how much of a part was sent. A part that is sent again begins anew."""
        with self._lock:
            self._done += sent - self._sent.get(part, 0)
            self._sent[part] = sent
            if self._report is not None and self._done > self._reported:
                self._reported = self._done
                self._report(self._done, self._total)


class ProgressBar:
    """Draws a bar on a terminal."""

    def __init__(self, name: str, terminal: TextIO) -> None:
        shown = "".join(letter for letter in name if letter.isprintable())
        self._name = shown if len(shown) <= _NAME_CHARACTERS else f"{shown[: _NAME_CHARACTERS - 1]}…"
        self._terminal = terminal
        self._began_at = time.monotonic()
        self._drawn_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Draw it, at most ten times a second."""
        now = time.monotonic()
        if now - self._drawn_at < _REDRAW_SECONDS and done < total:
            return
        self._drawn_at = now
        filled = _BAR_CELLS * done // max(total, 1)
        bar = "█" * filled + "░" * (_BAR_CELLS - filled)
        rate = sized(int(done / max(now - self._began_at, 1e-3)))
        share = 100 * done // max(total, 1)
        end = "\n" if done >= total else ""
        self._terminal.write(f"\r{self._name} {bar} {share:3d} % of {sized(total)}, {rate}/s  {end}")
        self._terminal.flush()


def bar_for(name: str, size: int) -> Progress | None:
    """Return a bar on standard error, where that is a terminal and the upload is long; else None."""
    terminal = sys.stderr
    return ProgressBar(name or "upload", terminal) if size >= BAR_BYTES and terminal and terminal.isatty() else None


def sized(size: float) -> str:
    """Return a number of bytes in words."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} {_UNITS[-1]}"
