"""Turns SIGINT and SIGTERM into an exception that is raised only where the code asks for it.

Python raises KeyboardInterrupt between any two lines, so also in the middle of starting a process or of cleaning up.
Here a signal only counts; ``check`` and ``wait`` raise at places where everything can be stopped in order.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

_SLICE_SECONDS = 0.05


class Interrupted(Exception):
    """SIGINT or SIGTERM asked this process to stop."""


class Interrupts:
    """Counts how often SIGINT or SIGTERM asked this process to stop."""

    def __init__(self) -> None:
        # A number and no lock: a signal's handler runs between any two steps of the main thread.
        self.count = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle both signals for the length of the ``with`` block. On the main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._count_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.count:
            raise Interrupted

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Interrupted as soon as a signal has come."""
        deadline = time.monotonic() + seconds
        self.check()
        # In slices: the signal's handler returns, so Python would go on with one long sleep (PEP 475).
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))
            self.check()

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
