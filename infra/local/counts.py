"""Counts of changes, events and requests of the hub."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Numbers of changes and events. Two sums hold at any time, with ``pending`` the events not yet posted.

    ``writes = late + unannounced + superseded + events`` and
    ``events + duplicates = posted + given_up + dropped + discarded + pending``.
    """

    writes: int = 0
    """Changes committed to any bucket."""
    late: int = 0
    """Changes of another region that have not reached the hub yet."""
    unannounced: int = 0
    """Changes of a bucket without notifications, or that its filter keeps out."""
    superseded: int = 0
    """Late changes older than the hub's newest change of their key: never announced."""
    events: int = 0
    duplicates: int = 0
    reordered: int = 0
    held: int = 0
    dropped: int = 0
    """Lost on purpose, as the disorder asks for."""
    discarded: int = 0
    """Lost because the configuration was cleared, or because too many were waiting."""
    posted: int = 0
    """Events, copies included, in requests answered 2xx."""
    given_up: int = 0
    """Events, copies included, whose retries ran out: they count as sent, and are lost."""
    retries: int = 0
    """Requests sent again."""
    requests: dict[str, int] = field(default_factory=dict)
    """Requests by status, or ``timeout`` or ``unreachable``."""

    def answered(self, outcome: str) -> None:
        """Count a request to a webhook, by its outcome."""
        self.requests[outcome] = self.requests.get(outcome, 0) + 1
