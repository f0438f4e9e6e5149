"""Orders, shows and cancels sweeps. Behind the admin token."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import HttpProblem, json_response, path_id, read_model, read_query
from webhook.config import SweepSettings as Settings
from webhook.events import utc
from webhook.ledger.sweeps import Sweep, SweepKind, SweepOrder, Sweeps, SweepStage, SweepState
from webhook.pipelines import Pipelines

_MOST_ORDERED = 1000

Prefix = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")]


def _in_utc(moment: datetime) -> datetime:
    try:
        return utc(moment)
    except OverflowError as error:
        raise ValueError(str(error)) from None


class SweepRequest(BaseModel):
    """Orders sweeps: one for each pipeline and prefix."""

    model_config = ConfigDict(extra="forbid")

    pipelines: Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=1000)] = []
    """Names; all where empty."""
    prefixes: Annotated[list[Prefix], Field(max_length=1000)] = []
    """Prefixes of keys, each including the pipeline's own; that alone where empty."""
    kind: SweepKind = "backfill"
    since: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None
    """Only objects that were written after that."""
    pages_per_second: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    """0: as fast as it goes. By default as configured."""
    dry_run: bool = False


class SweepStatus(BaseModel):
    """Progress and counts of one sweep."""

    id: int
    pipeline: str
    kind: SweepKind
    scheduled: bool
    prefix: str
    since: str | None
    dry_run: bool
    state: SweepState
    stage: SweepStage
    cursor: str
    """The last key that was compared."""
    pages: int
    listed: int
    known: int
    found: int
    """Recorded as work; with ``dry_run``, what would be. The same for the counts below."""
    adopted: int
    missing: int
    orphaned: int
    removed: int
    failures: int
    """Failed pages in a row."""
    error: str
    """Message of the last failure."""
    created_at: str
    started_at: str | None
    finished_at: str | None


class SweepPage(BaseModel):
    """Sweeps, the newest first."""

    sweeps: list[SweepStatus]


class SweepFilter(BaseModel):
    """Selects the sweeps to list."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[int, Field(ge=1, le=2**63 - 1)] = 2**63 - 1
    """Only those with lower numbers."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class SweepApi:
    """Endpoints for sweeps."""

    def __init__(self, sweeps: Sweeps, pipelines: Pipelines, settings: Settings, auth: AdminAuth) -> None:
        self._sweeps = sweeps
        self._pipelines = pipelines
        self._settings = settings
        self._auth = auth

    async def order_sweeps(self, request: Request) -> Response:
        """Order sweeps, which compare buckets with the ledger: one for each pipeline and prefix."""
        self._auth.require(request)
        return json_response(SweepPage(sweeps=await self.order(await read_model(request, SweepRequest))), 201)

    async def order(self, sweep_request: SweepRequest) -> list[SweepStatus]:
        """Order sweeps. Raises HttpProblem 404 or 422, LedgerUnavailable."""
        orders = list(self._orders(sweep_request))
        if len(orders) > _MOST_ORDERED:
            raise HttpProblem(
                422, "too-many", f"these are {len(orders)} sweeps; {_MOST_ORDERED} can be ordered at once"
            )
        return [self._status(await self._sweeps.order(order)) for order in orders]

    async def list_sweeps(self, request: Request) -> Response:
        """List sweeps, the newest first."""
        self._auth.require(request)
        return json_response(SweepPage(sweeps=await self.newest(read_query(request, SweepFilter))))

    async def newest(self, query: SweepFilter) -> list[SweepStatus]:
        """The newest sweeps. Raises LedgerUnavailable."""
        return [self._status(sweep) for sweep in await self._sweeps.newest(query.before, query.limit)]

    async def show_sweep(self, request: Request) -> Response:
        """Show one sweep."""
        self._auth.require(request)
        return json_response(self._existing(await self._sweeps.get(path_id(request, _no_such_sweep()))))

    async def cancel_sweep(self, request: Request) -> Response:
        """Cancel a sweep; what it has recorded stays. One that has ended is left as it is."""
        self._auth.require(request)
        return json_response(await self.cancel(path_id(request, _no_such_sweep())))

    async def cancel(self, id: int) -> SweepStatus:
        """Cancel a sweep. Raises HttpProblem 404, LedgerUnavailable."""
        return self._existing(await self._sweeps.cancel(id) or await self._sweeps.get(id))

    def _existing(self, sweep: Sweep | None) -> SweepStatus:
        if sweep is None:
            raise _no_such_sweep()
        return self._status(sweep)

    def _orders(self, request: SweepRequest) -> Iterator[SweepOrder]:
        known = {name: number for number, (name, _) in self._pipelines.by_id.items()}
        for name in dict.fromkeys(request.pipelines or known):
            if name not in known:
                there = ", ".join(known)
                raise HttpProblem(404, "unknown-pipeline", f"there is no pipeline {name!r}; there are: {there}")
            for prefix in self._prefixes(known[name], request.prefixes):
                rate = self._settings.pages_per_second if request.pages_per_second is None else request.pages_per_second
                yield SweepOrder(known[name], request.kind, prefix, request.since, request.dry_run, rate)

    def _prefixes(self, pipeline_id: int, prefixes: list[str]) -> list[str]:
        name, pipeline = self._pipelines.by_id[pipeline_id]
        for prefix in prefixes:
            if not prefix.startswith(pipeline.input.prefix):
                raise HttpProblem(
                    422, "outside", f"{prefix!r} lies outside of what {name!r} watches: {pipeline.input.prefix!r}"
                )
        chosen = sorted(set(prefixes or [pipeline.input.prefix]))
        # A prefix within another one would be listed twice.
        return [own for own in chosen if not any(own != other and own.startswith(other) for other in chosen)]

    def _status(self, sweep: Sweep) -> SweepStatus:
        order, counts = sweep.order, sweep.counts
        return SweepStatus(
            id=sweep.id, pipeline=self._pipelines.name_of(order.pipeline_id), kind=order.kind,
            scheduled=order.scheduled,
            prefix=order.prefix, since=_moment(order.since), dry_run=order.dry_run, state=sweep.state,
            stage=sweep.stage, cursor=sweep.cursor, pages=counts.pages, listed=counts.listed, known=counts.known,
            found=counts.found, adopted=counts.adopted, missing=counts.missing, orphaned=counts.orphaned,
            removed=counts.removed, failures=sweep.failures, error=sweep.error, created_at=sweep.created_at.isoformat(),
            started_at=_moment(sweep.started_at), finished_at=_moment(sweep.finished_at),
        )  # fmt: skip


def _no_such_sweep() -> HttpProblem:
    return HttpProblem(404, "unknown-sweep", "there is no sweep of that number: it may have been pruned")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
