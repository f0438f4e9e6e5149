"""What a simulated day wants before there is work: windows of a schedule, wishes, and hours in which work is likely.

The invariants look at this, not at what the project makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.simulation.draws import Draws
from tests.webhook.fleet.fleet_memory import MONDAY
from webhook.ledger.arrivals import ArrivalHistory

AHEAD = ("nothing", "schedule", "wakes", "learn", "all")
HOUR_SECONDS = 3_600.0
WEEKS = 4
_LONGEST_WISH = 3_600.0


@dataclass
class DaysForesight:
    """What one day wants ahead, which begins at 0:00 of a Monday and is of the kind ``kind``."""

    draws: Draws
    limit: int
    boot_seconds: float
    kind: str = ""
    window: tuple[int, int, int] | None = None
    """First hour, number of hours and machines of the day's window."""
    likely: frozenset[int] = frozenset()
    """Hours of the day in which something came in every week."""
    wishes: list[tuple[float, int]] = field(default_factory=list)
    """When each ends, and how many machines it wants."""

    def __post_init__(self) -> None:
        draws = self.draws
        self.kind = draws.choice("ahead/kind", AHEAD)
        if self.kind in ("schedule", "all"):
            machines = 1 + draws.below("ahead/machines", self.limit)
            self.window = draws.below("ahead/begins", 22), 1 + draws.below("ahead/hours", 3), machines
        if self.kind in ("learn", "all"):
            self.likely = frozenset(draws.below("ahead/likely", 24) for _ in range(3))

    @property
    def settings(self) -> dict[str, Any]:
        """Of the day's pool."""
        learn = {"learn": self.kind in ("learn", "all")}
        if self.window is None:
            return learn
        begins, hours, machines = self.window
        return {**learn, "schedules": [{"cron": f"0 {begins} * * *", "hours": hours, "minimum": machines}]}

    @property
    def history(self) -> ArrivalHistory:
        """What is known of earlier weeks: something came in the likely hours in each, in all others in one of four."""
        monday = MONDAY.weekday() * 24
        busy = {monday + hour: WEEKS if hour in self.likely else 1 for hour in range(24)}
        return ArrivalHistory(WEEKS, busy if self.likely else {}, self.boot_seconds)

    def new_wish(self, now: float) -> tuple[int, float] | None:
        """Machines and seconds of a call that is made in this minute, maybe of more machines than there may be."""
        if self.kind not in ("wakes", "all") or not self.draws.chance("ahead/wake", 0.004):
            return None
        wish = 1 + self.draws.below("ahead/wish", self.limit + 2), self.draws.between("ahead/lasts", 60, _LONGEST_WISH)
        self.wishes = [*((until, machines) for until, machines in self.wishes if until > now), (now + wish[1], wish[0])]
        return wish

    def wanted(self, now: float) -> int:
        """Machines that there have to be without any work."""
        begins, hours, machines = self.window or (0, 0, 0)
        open_now = begins <= now // HOUR_SECONDS % 24 < begins + hours  # on the next day too: days end a bit later
        wished = max((count for until, count in self.wishes if until > now), default=0)
        likely = int(now // HOUR_SECONDS in self.likely)
        return min(self.limit, max(machines if open_now else 0, wished, likely))

    def allowed(self, now: float) -> int:
        """Machines that there may be without any work: also one that boots before a likely hour."""
        soon = (now + self.boot_seconds) // HOUR_SECONDS in self.likely
        return max(self.wanted(now), min(self.limit, int(soon)))
