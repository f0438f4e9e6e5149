"""Tries at each output location what its store does: once, when first needed, for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from webhook.config import Place

Found = TypeVar("Found")


class PlaceProbes(Generic[Found]):
    """The results of one kind of probe, by output location. Close with ``aclose``."""

    def __init__(self, probe: Callable[[Place], Awaitable[Found]]) -> None:
        self._probe = probe
        self._known: dict[str, Found] = {}
        self._probing: dict[str, asyncio.Task[Found]] = {}

    def known(self, place: Place) -> Found | None:
        """The last result at a location; None: it was not tried yet."""
        return self._known.get(str(place))

    async def found(self, place: Place) -> Found:
        """The last result at a location, or that of a first probe. Raises what the probe raises."""
        known = self.known(place)
        return await self.again(place) if known is None else known

    async def again(self, place: Place) -> Found:
        """The result of one probe that all requests share, and that goes on where one of them is cancelled."""
        name = str(place)
        if name not in self._probing:
            task = self._probing[name] = asyncio.create_task(self._noted(place))
            task.add_done_callback(lambda done: self._ended(name, done))
        return await asyncio.shield(self._probing[name])

    async def aclose(self) -> None:
        """Cancel the probes that are under way."""
        for task in [*self._probing.values()]:
            task.cancel()
        await asyncio.gather(*self._probing.values(), return_exceptions=True)

    async def _noted(self, place: Place) -> Found:
        found = self._known[str(place)] = await self._probe(place)
        return found

    def _ended(self, name: str, task: asyncio.Task[Found]) -> None:
        del self._probing[name]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the request that waited for it may be gone
