"""Keeps calls apart where an API takes so many a second and answers 429 to more."""

from __future__ import annotations

import asyncio

from webhook.fleet.providers import ProviderBusy


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
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for this caller's turn. Raises ProviderBusy where too many wait already."""
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now)
        if mine - now > self._longest_seconds:
            raise ProviderBusy(f"{self._api} takes a call each {self._seconds:g} s, and many wait", retry_seconds=5)
        self._next = mine + self._seconds
        await asyncio.sleep(mine - now)
