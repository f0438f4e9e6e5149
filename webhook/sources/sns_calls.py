"""Limits how often and how many at once Amazon SNS is called.

Any sender that knows a topic can name a certificate that was never seen, and so cause a call. Such calls have a smaller
budget of their own, part of it for each sender, so that forged messages neither use up the calls that genuine ones
cause nor call Amazon without end. The names of certificates that were good are remembered, and need no call.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator

CALL_SECONDS = 10.0
"""Time limit for one call to SNS, its turn included."""
CALLS_A_MINUTE = 30
"""Most calls in a minute for messages whose signature was right."""
NEW_NAMES_A_MINUTE = 12
"""Most calls in a minute for certificates that have not signed a genuine message yet. SNS changes them in months."""
NEW_NAMES_OF_ONE_SENDER = 3
"""As many of these for one sender, where it can be told from others."""
_WAITING = 8
_MINUTE_SECONDS = 60.0


class SnsUnavailable(Exception):
    """SNS did not answer, so the message could not be judged. It has to be sent again."""


class CallBudget:
    """Lets calls through one at a time, so many in a minute."""

    def __init__(self, a_minute: int, of_one_sender: int | None = None) -> None:
        self._of_one_sender = of_one_sender
        self._a_minute = a_minute
        self._called: deque[tuple[float, str]] = deque(maxlen=a_minute)
        self._calling = asyncio.Lock()
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a call's turn. Raises SnsUnavailable where too many wait, or it does not come or end in time."""
        if self._waiting >= _WAITING:
            raise SnsUnavailable("too many messages wait for an answer of SNS")
        self._waiting += 1
        try:
            # The time limit holds for the turn too: a slow SNS must not hold up requests one after the other.
            async with asyncio.timeout(CALL_SECONDS), self._calling:
                yield
        except TimeoutError:
            raise SnsUnavailable("SNS does not answer in time") from None
        finally:
            self._waiting -= 1

    def spend(self, sender: str = "") -> None:
        """Count a call. ``sender`` is empty where it cannot be told from others. Raises SnsUnavailable."""
        since = time.monotonic() - _MINUTE_SECONDS
        recent = [by for at, by in self._called if at > since]
        if len(recent) >= self._a_minute:
            raise SnsUnavailable(f"SNS was called {self._a_minute} times in a minute")
        if sender and self._of_one_sender is not None and recent.count(sender) >= self._of_one_sender:
            raise SnsUnavailable(f"one sender caused {self._of_one_sender} calls to SNS in a minute")
        self._called.append((time.monotonic(), sender))
