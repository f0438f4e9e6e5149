"""Plays arrivals of half a day through a scaling rule, in virtual time: how long objects wait, and what it costs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

LIMIT = 20
"""Machines at most, for every rule."""
STEP_SECONDS = 2
SERVICE_SECONDS = 20.0
"""Of one object on one machine, which works on one at a time."""
_HOURS = 12
_TAIL_STEPS = 2_000
"""After the last arrival, at least: machines that are kept cost something too."""


class ScalingRule(Protocol):
    """Says how many machines there should be. One of its own for each replay: it may remember."""

    @property
    def objects_per_machine(self) -> float:
        """After so many a machine takes no more."""
        ...

    def wanted(self, replay: TraceReplay) -> int:
        """How many machines there should be now, those that start included."""
        ...


@dataclass(slots=True)
class ReplayedMachine:
    """A machine of a replay. Times are in seconds since the replay began."""

    ready_at: float
    busy_until: float = 0.0
    idle_since: float = 0.0
    objects: int = 0
    """That it has taken."""


@dataclass
class TraceReplay:
    """One trace played through one rule, a step every two seconds.

    No rule interrupts an object or a boot: of the machines that are too many, those go that are ready and idle, the
    longest idle first.
    """

    boot_seconds: float
    rule: ScalingRule
    now: float = 0.0
    queue: deque[float] = field(default_factory=deque)
    """When each object came that waits."""
    machines: list[ReplayedMachine] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    """In seconds, from arrival until a machine has taken it."""
    machine_seconds: float = 0.0
    """Of all machines, from the order until they are gone."""
    history: list[int] = field(default_factory=list)
    """Objects queued or in work, one number a step."""

    @property
    def ready(self) -> list[ReplayedMachine]:
        """Machines that have booted."""
        return [machine for machine in self.machines if machine.ready_at <= self.now]

    @property
    def idle(self) -> list[ReplayedMachine]:
        """Machines that have booted and work on nothing."""
        return [one for one in self.machines if one.ready_at <= self.now and one.busy_until <= self.now]

    @property
    def work(self) -> int:
        """Objects queued or in work."""
        return len(self.queue) + sum(machine.busy_until > self.now for machine in self.machines)

    @property
    def machine_hours(self) -> float:
        """What it cost."""
        return self.machine_seconds / 3600

    def run(self, arrivals: Sequence[int]) -> TraceReplay:
        """Play a trace to its end, and until all is done."""
        for count in [*arrivals, *[0] * _TAIL_STEPS]:
            self._step(count)
        while self.work:
            self._step(0)
        return self

    def wait_seconds(self, share: float) -> float:
        """The wait that this share of all objects does not exceed."""
        return sorted(self.waits)[int(len(self.waits) * share)]

    def _step(self, arrived: int) -> None:
        self.queue.extend([self.now] * arrived)
        self._serve()
        self.history.append(self.work)
        self._scale(self.rule.wanted(self))
        self.machine_seconds += len(self.machines) * STEP_SECONDS
        self.now += STEP_SECONDS

    def _serve(self) -> None:
        if not self.queue:
            return
        for machine in self.idle:
            if self.queue and machine.objects < self.rule.objects_per_machine:
                self.waits.append(self.now - self.queue.popleft())
                machine.busy_until = machine.idle_since = self.now + SERVICE_SECONDS
                machine.objects += 1

    def _scale(self, wanted: int) -> None:
        for _ in range(wanted - len(self.machines)):
            ready_at = self.now + self.boot_seconds
            self.machines.append(ReplayedMachine(ready_at, idle_since=ready_at))
        if surplus := max(0, len(self.machines) - wanted):
            for machine in sorted(self.idle, key=lambda one: one.idle_since)[:surplus]:
                self.machines.remove(machine)


def traces() -> dict[str, list[int]]:
    """Arrivals in each step of twelve hours."""
    random, steps = Random(10), _HOURS * 3600 // STEP_SECONDS

    def arrivals(mean: Callable[[float], float]) -> list[int]:
        return [int(mean(n * STEP_SECONDS) * STEP_SECONDS + random.random()) for n in range(steps)]

    return {
        "sinusoid": arrivals(lambda at: 0.2 * (1 + math.sin(at / (6 * 3600) * 2 * math.pi))),
        "bursts": [150 if n % 900 == 450 else 0 for n in range(steps)],
        "trickle": arrivals(lambda _: 1 / 600),
        "on and off": arrivals(lambda at: 0.4 if int(at // 3600) % 2 else 0.0),
    }
