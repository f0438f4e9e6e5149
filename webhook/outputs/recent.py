"""Remembers which objects got a result last, in the memory of the replica that recorded it."""

from __future__ import annotations

from webhook.ledger.coalescing import ObjectPlace

MOST = 48


class RecentResults:
    """The objects whose results this replica recorded last, each once."""

    def __init__(self) -> None:
        self._places: dict[ObjectPlace, None] = {}

    def note(self, place: ObjectPlace) -> None:
        """Note that an object has got a result."""
        self._places.pop(place, None)
        self._places[place] = None
        if len(self._places) > MOST:
            del self._places[next(iter(self._places))]

    def newest(self, most: int) -> list[ObjectPlace]:
        """The objects, the latest first."""
        return [*reversed(self._places)][:most]
