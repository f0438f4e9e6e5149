"""What one history is made of, drawn from its seed, and where all that happens is written down."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.simulation.draws import Draws
from tests.simulation.loop import VirtualLoop

if TYPE_CHECKING:
    from tests.simulation.process import SimulatedProcess

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
"""When every history begins. Long past: what is "in the future" by the real clock is not believed."""
MOST_STEPS = 60_000
"""Of one history. A world that needs more never comes to rest."""


class BrokenInvariant(Exception):
    """A violated invariant. ``str()`` is a sentence."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self._parts = invariant, detail

    def __reduce__(self) -> tuple[type[BrokenInvariant], tuple[str, str]]:
        """Pickle with both arguments: worker processes return violations."""
        return type(self), self._parts


@dataclass(frozen=True)
class WorldSettings:
    """Parameters of one world."""

    regions: int
    lag_seconds: float
    """Longest time that a region's replica is behind."""
    replica_lag_seconds: float
    """The pipeline's setting of that name."""
    keys: tuple[str, ...]
    contents: tuple[str, ...]
    operations: int
    payload: str
    """Fields of the source's events: Tigris' as they are (``bare``), with Last-Modified (``modified``) and also with a
    versionstamp (``stamped``); or Ceph's."""
    on_delete: str
    lossy: bool
    """Whether the hub drops events, which sweeps have to find."""
    batch: int
    """Most events in one request."""
    duplicate: float
    late: float
    drop: float
    store_fault: float
    listing_fault: float
    database_fault: float
    network_fault: float
    kill: float
    stall: float
    handler_fault: float
    handler_missing: float
    """Of runs in which the handler cannot run on the worker at all."""
    absent_checks: int
    late_effects: bool
    """Whether requests may take effect long after their sender gave them up. Then only a full sweep repairs results."""
    since_query: bool
    """Whether the store supports queries by Last-Modified in listings."""
    crowded: bool
    """Whether writes come in bursts within one second."""
    workers: int
    clock_back: float
    """Seconds by which the database's clock is set back in the midst of a history; 0: it is not."""
    killer: str
    """Content that mostly ends the worker that works on it; empty: none does."""
    killer_stage: str
    """Where it does: ``fetching``, ``handling`` or ``publishing``."""


def settings_of(draws: Draws) -> WorldSettings:
    """Draw the parameters of a world: some have one kind of fault, some have all."""
    wild = draws.choice("world/wild", (0.0, 0.3, 1.0, 1.0, 2.0))

    def rate(name: str, most: float) -> float:
        return draws.choice(f"world/{name}", (0.0, 0.3, 1.0)) * most * wild

    payload = draws.choice("world/payload", ("bare", "bare", "modified", "stamped", "ceph"))
    # A Ceph gateway is in one place.
    regions = 1 if payload == "ceph" else draws.choice("world/regions", (1, 2, 3, 3))
    lag = draws.choice("world/lag", (0.5, 4.0, 9.0)) if regions > 1 else 0.0
    lossy = draws.chance("world/lossy", 0.35)
    late_effects = draws.chance("world/late-effects", 0.25)
    store_fault = rate("store-fault", 0.15)
    return WorldSettings(
        regions=regions,
        lag_seconds=lag,
        replica_lag_seconds=10.0 if regions > 1 else draws.choice("world/believed", (0.0, 10.0)),
        keys=("a.jpg", "b.jpg", "c.jpg")[: draws.choice("world/keys", (1, 1, 2, 3))],
        contents=draws.choice("world/contents", (("A", "B"), ("A", "B", "C"), ("A", "B", "C", "D", "A", "B"))),
        operations=3 + draws.below("world/operations", 10),
        payload=payload,
        on_delete=draws.choice("world/on-delete", ("keep", "remove", "remove")),
        lossy=lossy,
        batch=1 if payload == "ceph" else draws.choice("world/batch", (1, 1, 3, 8)),
        duplicate=rate("duplicate", 0.3),
        late=rate("late", 0.3),
        drop=rate("drop", 0.3) if lossy else 0.0,
        store_fault=max(store_fault, 0.12) if late_effects else store_fault,
        listing_fault=rate("listing-fault", 0.3),
        database_fault=rate("database-fault", 0.05),
        network_fault=rate("network-fault", 0.06),
        kill=rate("kill", 0.015),
        stall=rate("stall", 0.02),
        handler_fault=rate("handler-fault", 0.15),
        handler_missing=rate("handler-missing", 0.15),
        absent_checks=2,
        late_effects=late_effects,
        since_query=draws.chance("world/since", 0.5),
        crowded=draws.chance("world/crowded", 0.3),
        workers=draws.choice("world/workers", (1, 2, 2, 3)),
        clock_back=draws.choice("world/clock-back", (0.0, 0.0, 0.0, 30.0, 7200.0)),
        killer=draws.choice("world/killer", ("", "", "A")),
        killer_stage=draws.choice("world/killer-stage", ("fetching", "handling", "handling", "publishing")),
    )


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass
class World:
    """State shared by all parts of one history: time, draws, processes, counts and trace."""

    seed: int
    draws: Draws
    loop: VirtualLoop
    settings: WorldSettings
    left_out_operations: Collection[int] = ()
    tracing: bool = False
    trace: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failure: BrokenInvariant | None = None
    processes: list[SimulatedProcess] = field(default_factory=list)
    observers: list[Callable[[], None]] = field(default_factory=list)
    """Called after every step."""
    stalled: int = 0
    """Number of requests and processes that are stalled."""
    tables: Any = None
    invariants: Any = None
    clock_back_micros: int = 0
    planes: dict[str, Any] = field(default_factory=dict)
    pauses: dict[tuple[int, int], float] = field(default_factory=dict)
    """By worker and pipeline, until when its handler is not tried there."""
    given_up: bool = False
    """Whether the request that takes effect in this step was given up by its sender."""
    _changed: list[asyncio.Future[None]] = field(default_factory=list)
    _ended: asyncio.Future[None] | None = None

    # time

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    @property
    def ledger_micros(self) -> int:
        """The time by the database's clock, which may be set back."""
        return self.micros - self.clock_back_micros

    @property
    def micros(self) -> int:
        """Microseconds since the beginning: the ledger's clock."""
        return round(self.loop.time() * 1e6)

    def moment(self, seconds: float | None = None) -> datetime:
        """The date, to the microsecond."""
        return EPOCH + timedelta(microseconds=round((self.now if seconds is None else seconds) * 1e6))

    # what happened

    def note(self, line: str) -> None:
        """Write a line of the trace. Call only if ``tracing``, for speed."""
        self.trace.append((self.now, line))

    def stepped(self) -> None:
        """Check the invariants after an external effect, and wake the tasks that wait for a change."""
        self.counts["steps"] += 1
        try:
            for check in self.observers:
                check()
        except BrokenInvariant as violation:
            self.fail(violation)
        self.given_up = False
        if self.counts["steps"] > MOST_STEPS:
            self.fail(BrokenInvariant("it comes to rest", f"more than {MOST_STEPS} steps"))
        if self._changed:
            waiting, self._changed = self._changed, []
            for future in waiting:
                _resolve(future)

    def fail(self, violation: BrokenInvariant) -> None:
        """Record a violation; the first one ends the history."""
        if self.failure is None:
            self.failure = violation
        if self._ended is not None:
            _resolve(self._ended)

    def ended(self) -> asyncio.Future[None]:
        """Future that is done at the first violation."""
        if self._ended is None:
            self._ended = self.loop.create_future()
        return self._ended

    async def next_step(self, longest_seconds: float | None) -> None:
        """Wait for any step, at most ``longest_seconds``."""
        future = self.loop.create_future()
        self._changed.append(future)
        if longest_seconds is None:
            await future
            return
        timer = self.loop.call_later(longest_seconds, _resolve, future)
        try:
            await future
        finally:
            timer.cancel()
