"""Our scaling rule beside published ones: machine hours, and how long objects wait, on the same arrivals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from tests.bench.peer_rules import PUBLISHED, VARIANTS
from tests.bench.replay import LIMIT, TraceReplay, traces
from tests.bench.report import BenchFigure
from webhook.fleet.scaling import STARTING, scale
from webhook.ledger.machines import Demand, Machine, MachineState
from webhook.pool_settings import Pool

_BOOTS = (2, 60, 300)
"""How long a machine takes to boot, in seconds."""
_IDLE_SECONDS = (1, 10, 30, 60, 120, 300, 600, 1800)
_HEADROOM = 0.5
"""Knative's rule has 0.43: it wants machines to be busy for 70 % of the time."""


class OurRule:
    """`webhook.fleet.scaling.scale`, as the autoscaler asks it, for a pool with these settings."""

    objects_per_machine = math.inf

    def __init__(self, **settings: float) -> None:
        self._pool = Pool.model_validate({"provider": "p", "limit": LIMIT, "slots": 1, **settings})

    def wanted(self, replay: TraceReplay) -> int:
        """See `ScalingRule.wanted`."""
        if not replay.queue and not replay.machines:
            return 0
        now = replay.now
        machines = [
            _machine(n, one.ready_at <= now, one.busy_until > now, max(0.0, now - one.idle_since))
            for n, one in enumerate(replay.machines)
        ]
        scaling = scale(self._pool, Demand(len(replay.queue), sum(one.leased for one in machines)), machines)
        assert all(drain.machine.state not in STARTING for drain in scaling.drains)
        return len(machines) + scaling.mint - len(scaling.drains)


@lru_cache(maxsize=100_000)
def _machine(number: int, ready: bool, busy: bool, idle_seconds: float) -> Machine:
    state = MachineState.READY if ready else MachineState.BOOTING
    return Machine(
        id=number, label=str(number), pool="a", provider="p", ref="r", state=state, age_seconds=0, state_seconds=0,
        leased=int(busy), idle_seconds=0 if busy else idle_seconds, silent_seconds=0,
    )  # fmt: skip


def measure() -> list[BenchFigure]:
    """For each trace and boot time: our rule at its defaults, at the best of its settings, and each peer's."""
    return [
        row
        for trace, arrivals in traces().items()
        for boot in _BOOTS
        for row in _beside(f"{trace}, boot {boot} s", boot, arrivals)
    ]


def _beside(where: str, boot: int, arrivals: Sequence[int]) -> list[BenchFigure]:
    peers = {name: TraceReplay(boot, rule()).run(arrivals) for name, rule in (PUBLISHED | VARIANTS).items()}
    best = min(PUBLISHED, key=lambda name: (peers[name].wait_seconds(0.95), peers[name].machine_seconds))
    defaults = TraceReplay(boot, OurRule()).run(arrivals)
    settings, cheapest = _cheapest(boot, arrivals, peers[best].wait_seconds(0.95))
    ratio = cheapest.machine_seconds / peers[best].machine_seconds
    most_ms = 1000 * peers[best].wait_seconds(0.95)
    return [
        replace(
            _row(f"{where}: ours, {settings} ÷ {best}", cheapest), ratio=ratio, at_most=1.0, p95_at_most_ms=most_ms
        ),
        _row(f"{where}: ours, defaults", defaults),
        *(_row(f"{where}: {name}", peer, compared(peer, defaults)) for name, peer in peers.items()),
    ]


def _row(what: str, replay: TraceReplay, note: str = "") -> BenchFigure:
    waits = [1000 * replay.wait_seconds(share) for share in (0.5, 0.95)]
    return BenchFigure(what, replay.machine_hours, "h", p50_ms=waits[0], p95_ms=waits[1], note=note)


def compared(peer: TraceReplay, ours: TraceReplay) -> str:
    """How a peer does beside our rule at its defaults: by machine hours, and by the wait of 95 in 100 objects."""
    cost, wait = peer.machine_seconds - ours.machine_seconds, peer.wait_seconds(0.95) - ours.wait_seconds(0.95)
    if cost == wait == 0:
        return "the same as our defaults"
    if cost <= 0 and wait <= 0:
        return "better than our defaults"
    if cost >= 0 and wait >= 0:
        return "worse than our defaults"
    return "cheaper, longer waits" if cost < 0 else "dearer, shorter waits"


def _cheapest(boot: int, arrivals: Sequence[int], wait_seconds: float) -> tuple[str, TraceReplay]:
    """Our cheapest settings with which 95 in 100 objects wait no longer than so, else those with the shortest wait.

    ``headroom`` is only tried where no ``idle_seconds`` alone is enough.
    """
    tried: dict[str, TraceReplay] = {}
    for headroom in (0.0, _HEADROOM):
        for idle in _IDLE_SECONDS:
            name = f"idle_seconds {idle}" + (f", headroom {headroom}" if headroom else "")
            tried[name] = TraceReplay(boot, OurRule(idle_seconds=idle, headroom=headroom)).run(arrivals)
        if good := [(name, one) for name, one in tried.items() if one.wait_seconds(0.95) <= wait_seconds]:
            return min(good, key=lambda one: one[1].machine_seconds)
    return min(tried.items(), key=lambda one: (one[1].wait_seconds(0.95), one[1].machine_seconds))
