"""Keeps calls apart where an API takes so many a second and answers 429 to more."""

from __future__ import annotations

import asyncio

from webhook.fleet.providers import NotSent


class Spacing:
    """Lets one call through at a time, each a while after the one before.

    Args:
        api: Whose calls they are, for the error.
        seconds: Between two calls.
        longest_seconds: A caller that would have to wait for longer is sent away.

    """

    def __init__(self, api: str, seconds: float, longest_seconds: float = 20.0) -> None:
        self._api = api
        self._seconds = seconds
        self._longest_seconds = longest_seconds
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._next = 0.0
        self._held_until = 0.0
        self._why_held = ""

    async def wait(self) -> None:
        """Wait for this caller's turn. Raises NotSent where too many wait already, or calls are held back."""
        now = asyncio.get_running_loop().time()
        if now < self._held_until:
            raise NotSent(self._why_held, retry_seconds=self._held_until - now)
        if max(0.0, self._next - now) + self._waiting * self._seconds > self._longest_seconds:
            raise NotSent(f"{self._api} takes a call each {self._seconds:g} s, and many wait", retry_seconds=5)
        self._waiting += 1
        try:
            await self._take_turn()
        finally:
            self._waiting -= 1

    def hold(self, seconds: float, why: str) -> None:
        """Send every caller away for so long: the API has answered that it takes no call before."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)
        self._why_held = why

    async def _take_turn(self) -> None:
        clock = asyncio.get_running_loop().time
        # Reckoned from when the call before went, not from when it was due: a process that stood still for a while
        # would send all that became due at once.
        async with self._turn:
            await asyncio.sleep(max(0.0, self._next - clock()))
            self._next = clock() + self._seconds
