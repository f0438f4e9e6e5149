"""Reads what the live view shows: rates, the queue, machines, costs and the latest results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from webhook.api.machines import MachineApi, MachineFilter, MachinePage
from webhook.api.status import PipelineStatus, Status, StatusApi
from webhook.ledger.machines import MachineState
from webhook.ledger.objects import ObjectRows
from webhook.ledger.settles import SettleLog
from webhook.page.files import ResultFiles, ShownObject
from webhook.page.rendering import Rendering

_WINDOW_SECONDS = 10.0
_MOST_MACHINES = 500
_MOST_RESULTS = 12
_MOST_SETTLES = 48
"""Looked at for these: an object may have got several results, and a pipeline may have been removed."""
PARTS = ("flow", "alerts", "results", "machines", "pipelines", "pools")


class _Reading(NamedTuple):
    at: float
    arrived: int
    finished: int


class Rates:
    """Files that arrived and were finished in a second, over the last ten."""

    def __init__(self) -> None:
        self._readings: deque[_Reading] = deque()

    def add(self, at: float, arrived: int, finished: int) -> None:
        """Add what the counters say at a time."""
        self._readings.append(_Reading(at, arrived, finished))
        while len(self._readings) > 2 and self._readings[1].at <= at - _WINDOW_SECONDS:
            self._readings.popleft()

    @property
    def per_second(self) -> tuple[float | None, float | None]:
        """Arrived and finished; None: read only once, or not for a long time."""
        first, last = self._readings[0], self._readings[-1]
        seconds = last.at - first.at
        if not 0 < seconds <= 3 * _WINDOW_SECONDS:
            return None, None
        return max(last.arrived - first.arrived, 0) / seconds, max(last.finished - first.finished, 0) / seconds


@dataclass(frozen=True, slots=True)
class Flow:
    """Files on their way, of all pipelines together."""

    arriving: float | None
    finishing: float | None
    waiting: int
    oldest_seconds: float
    at_work: int
    machines: int
    starting: int
    finished_today: int
    parked: int
    quarantined: int
    spent_today_usd: Decimal
    budget_usd: Decimal | None
    usd_per_hour: Decimal

    @property
    def pace(self) -> str:
        """How fast it looks: ``still``, ``slow`` or ``fast``."""
        rate = max(self.arriving or 0.0, self.finishing or 0.0)
        return "fast" if rate >= 5 else "slow" if rate > 0 or self.at_work else "still"


class Snapshots:
    """Reads the state from the same functions as the API, and renders it."""

    def __init__(
        self,
        status: StatusApi,
        machines: MachineApi,
        objects: ObjectRows,
        settles: SettleLog,
        files: ResultFiles,
        rendering: Rendering,
    ) -> None:
        self._status = status
        self._machines = machines
        self._objects = objects
        self._settles = settles
        self._files = files
        self._rendering = rendering
        self._rates = Rates()

    async def parts(self) -> Mapping[str, str]:
        """HTML by the names of the page's parts. Raises LedgerUnavailable."""
        status = await self._status.report()
        machines = await self._machines.page(MachineFilter(limit=_MOST_MACHINES))
        self._rates.add(time.monotonic(), _changes(status, "accepted", "coalesced"), _changes(status, "done"))
        values = {
            "flow": _flow(status, machines, *self._rates.per_second),
            "alerts": alerts(status),
            "status": status,
            "machines": machines.machines,
            "results": await self._results(),
        }
        return {part: self._rendering.part(f"live_{part}.html", **values) for part in PARTS}

    async def _results(self) -> list[ShownObject]:
        latest = await self._settles.latest_results(_MOST_SETTLES)
        places = [place for place in latest if self._files.knows(place)][:_MOST_RESULTS]
        rows = await self._objects.progress(places) if places else []
        return [
            self._files.shown(place, row)
            for place, row in zip(places, rows, strict=True)
            if row is not None and row.state == "done"
        ]


def _changes(status: Status, *names: str) -> int:
    return sum(p.changes.get(name, 0) + p.events.get(name, 0) for p in status.pipelines.values() for name in names)


def _flow(status: Status, page: MachinePage, arriving: float | None, finishing: float | None) -> Flow:
    pipelines, machines = status.pipelines.values(), page.machines
    return Flow(
        arriving=arriving,
        finishing=finishing,
        waiting=_objects(pipelines, "pending"),
        oldest_seconds=max((p.oldest_due_seconds for p in pipelines), default=0.0),
        at_work=_objects(pipelines, "leased"),
        machines=sum(m.state in (MachineState.READY, MachineState.DRAINING) for m in machines),
        starting=sum(m.state in (MachineState.INTENDED, MachineState.BOOTING) for m in machines),
        finished_today=sum(p.results_today for p in pipelines),
        parked=_objects(pipelines, "parked"),
        quarantined=status.quarantined,
        spent_today_usd=status.spent_today_usd,
        budget_usd=status.budget_usd_per_day,
        usd_per_hour=sum((pool.usd_per_hour for pool in status.pools.values()), start=Decimal(0)),
    )


def _objects(pipelines: Iterable[PipelineStatus], state: str) -> int:
    return sum(pipeline.objects.get(state, 0) for pipeline in pipelines)


class Alert(NamedTuple):
    """Something that a person should look at."""

    what: str
    why: str
    path: str
    """Of the view that says more; empty: there is none."""


def alerts(status: Status) -> list[Alert]:
    """What keeps files from being processed, or is wrong, the worst first."""
    return [*_of_installation(status), *_of_pipelines(status), *_of_pools(status)]


def _of_installation(status: Status) -> list[Alert]:
    found = [Alert(f"The loop “{loop.loop}” fails", loop.error, "") for loop in status.failing_loops]
    if unaccounted := {name: number for name, number in status.unaccounted.items() if number}:
        found.append(Alert("The counters do not add up", f"a fault of the control plane: {unaccounted}", ""))
    for name, provider in status.providers.items():
        if provider.last_error and any(pool.frozen for pool in status.pools.values()):
            found.append(Alert(f"The provider {name} does not list its machines", provider.last_error, ""))
    return found


def _of_pipelines(status: Status) -> list[Alert]:
    found = []
    for name, pipeline in status.pipelines.items():
        if pipeline.refused:
            found.append(Alert(f"The pipeline {name} stands still", pipeline.refused, ""))
        if pipeline.unavailable:
            where = "on no machine" if pipeline.unavailable.everywhere else "not on every machine"
            found.append(Alert(f"The handler of {name} runs {where}", pipeline.unavailable.message, ""))
    return found


def _of_pools(status: Status) -> list[Alert]:
    found = []
    for name, pool in status.pools.items():
        if pool.not_minted:
            found.append(Alert(f"The pool {name} mints no machines", pool.not_minted, "/machines"))
        if pool.breaker != "closed":
            found.append(Alert(f"Machines of the pool {name} fail to start", pool.last_failure, "/machines"))
    return found
