"""Ctrl-C as a wish that is looked at where it is safe, so that nothing is torn at a random line."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

_SLICE_SECONDS = 0.05


class Interrupted(Exception):
    """Somebody asked to stop."""


class Stop:
    """Whether, and how often, SIGINT or SIGTERM asked this process to stop."""

    def __init__(self) -> None:
        # A number and no lock: a signal's handler runs between any two steps of the main thread.
        self.times = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take both signals for the length of the ``with`` block. On the main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._asked) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raises Interrupted once asked."""
        if self.times:
            raise Interrupted

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Interrupted as soon as asked."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))
            self.check()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.times += 1
