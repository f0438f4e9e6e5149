"""Reports the status of pipelines and pools, and invites workers that people start. Behind the admin token."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import HttpProblem, json_response, read_model
from webhook.api.service_status import ServiceLoadStatus
from webhook.config import Definitions, Pipeline, ServerSettings
from webhook.cost_phases import PHASES, Phase
from webhook.definitions.current import CurrentDefinitions
from webhook.fleet.manual_workers import INVITATION_SECONDS, MANUAL
from webhook.ledger.costs import CostsToday, costs_today
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import NotIntended
from webhook.ledger.sweeps import COUNTED
from webhook.loops import LoopHealth
from webhook.metrics import CHANGES
from webhook.usd import ExactUsd

_PARKED_SHOWN = 20
_SUSPECTS_SHOWN = 20


class HandlerPause(BaseModel):
    """On which machines a pipeline's handler cannot run, and why."""

    workers: int
    """Ready machines that said so."""
    of: int
    """Ready machines of the pool."""
    everywhere: bool
    """Whether the pipeline is paused: no machine can run its handler."""
    message: str
    """What one of them said."""
    retry_seconds: float
    """Until one of them tries again, with one object."""


class PipelineStatus(BaseModel):
    """Counts of one pipeline's events, changes and objects."""

    pool: str = ""
    """Pool that it runs on; empty where it is no longer configured."""

    events: dict[str, int] = {}
    """Events by verdict, and ``received``."""
    changes: dict[str, int] = {}
    """Accepted changes that ended, by how."""
    objects: dict[str, int] = {}
    """Objects by state."""
    swept: dict[str, int] = {}
    """Objects that sweeps listed, by result."""
    oldest_due_seconds: float = 0
    refused: str = ""
    """Why no work is handed out and what to do: the output's store does not honour conditions, a model is missing."""
    results_today: int = 0
    """Results since midnight UTC."""
    work_today_usd: ExactUsd = Decimal(0)
    """What slots that held leases of it have cost since then, failed attempts included."""
    usd_per_result: ExactUsd | None = None
    """The one divided by the other; null where either is 0."""
    unavailable: HandlerPause | None = None
    """Where the handler cannot run on some of the pool's machines, or on none: these get no objects of it for now."""

    def counters(self, name: str) -> dict[str, int]:
        """The mapping that a counter of the ledger belongs to."""
        if name in COUNTED:
            return self.swept
        return self.changes if name in CHANGES else self.events


class UnjailedWorkers(BaseModel):
    """Workers of a pool whose machines cannot jail handlers."""

    workers: int
    """Number of them."""
    why: str
    """What one of them said."""


class AheadStatus(BaseModel):
    """Machines of a pool that were minted ahead of the work, for one reason."""

    present: int
    """Machines that are not gone."""
    minted: int
    """Machines ever."""
    helped: int
    """Those of them that got a lease: work came before they were let go."""
    usd: ExactUsd
    """What all of them cost until their first lease, or, where there was none, in all."""


class PoolStatus(BaseModel):
    """Counts of one pool's machines, and whether it mints."""

    limit: int
    minted_by: str | None = None
    """Provider; null: only workers that a person starts join."""
    machines: dict[str, int] = {}
    """Machines that are not gone, by state."""
    minted: int = 0
    """Machines ever minted."""
    slain: int = 0
    """Minted machines that are gone."""
    breaker: str = "closed"
    """``closed``; ``open``: nothing is minted after failed starts; ``probing``: one machine at a time."""
    frozen: bool = False
    """The provider's list fails or cannot be true: nothing is minted, nothing taken for gone."""
    failed_starts: int = 0
    """Machines ever that were not accepted or did not call home in time."""
    last_failure: str = ""
    """Why the last start failed."""
    last_boot_log: str = ""
    """Where the last machine that did not call home has its log, and the log's end."""
    unjailed: UnjailedWorkers | None = None
    """Workers that run handlers without a jail; null where none does that a pipeline wants jailed."""
    not_minted: str = ""
    """Why nothing is minted though there is work; empty: it is, or there is none."""
    spent_today_usd: ExactUsd = Decimal(0)
    """Since midnight UTC."""
    today_usd: dict[Phase, ExactUsd] = {}
    """The same by phase: ``work``, ``service``, ``idle``, ``boot`` and ``once``. A phase without costs is missing."""
    budget_usd_per_day: ExactUsd | None = None
    """Most that may be spent in one day (UTC); null: no limit."""
    usd_per_hour: ExactUsd = Decimal(0)
    """Price of an hour of all machines that are not gone."""
    ahead: dict[str, AheadStatus] = {}
    """Machines that were minted ahead of the work, by the reason: ``minimum``, ``schedule``, ``wake``, ``learned``."""


class ProviderStatus(BaseModel):
    """How one provider's lists of machines go."""

    list_failures: int
    """Lists of machines that failed, ever."""
    unknown_slain: int
    """Machines slain that the ledger did not know, ever."""
    last_error: str
    """Why the last list failed."""
    strangers: int = 0
    """Machines that it lists of another installation of the same name. Where there are any, nothing is minted there."""
    stranger: str = ""
    """The label of one of them."""


class SenderStatus(BaseModel):
    """How the notifications of one source fare."""

    taken_seconds: float | None
    """Seconds since one was taken; null: none ever was."""
    refused: int
    """Number that were answered 4xx, ever."""
    refused_seconds: float | None
    """Seconds since one was refused; null: none ever was."""
    error: str
    """Code of the last refusal."""
    message: str
    """What was wrong with the last one that was refused."""


class SuspectStatus(BaseModel):
    """A worker that was drained or revoked because it is not to be trusted."""

    worker: int
    pool: str
    label: str
    state: str
    reason: str
    """``errors``: its leases fail far more often than others'. ``distrusted``: an operator revoked it."""
    why: str
    """In words."""


class FailingLoopStatus(BaseModel):
    """A background loop of the replica that answers whose last turn failed. It tries again until it succeeds."""

    loop: str
    error: str
    seconds: float
    """Since the first of the turns that failed in a row."""


class ParkedObject(BaseModel):
    """An object that failed for good or too often."""

    id: int
    pipeline: str
    bucket: str
    key: str
    attempts: int
    reason: str
    message: str
    parked_at: str


class Status(BaseModel):
    """State of the whole installation."""

    pipelines: dict[str, PipelineStatus]
    unrouted: dict[str, int]
    """Events that no pipeline watches, or that could not be read."""
    pools: dict[str, PoolStatus]
    spent_today_usd: ExactUsd = Decimal(0)
    """By all pools, since midnight UTC."""
    budget_usd_per_day: ExactUsd | None = None
    """Most that all pools together may spend in one day (UTC); null: no limit."""
    services: dict[str, ServiceLoadStatus] = {}
    """Their requests and machines."""
    providers: dict[str, ProviderStatus]
    senders: dict[str, SenderStatus]
    """Notifications, by source."""
    parked: list[ParkedObject]
    """The twenty that were parked last."""
    quarantined: int
    """Number of quarantined texts."""
    suspects: list[SuspectStatus] = []
    """The twenty workers that were found not to be trusted last."""
    failing_loops: list[FailingLoopStatus] = []
    """What keeps the replica that answers from a part of its work."""
    unaccounted: dict[str, int]
    """Events and changes that the counters cannot account for: 0, or there is a bug."""


class InvitationRequest(BaseModel):
    """Requests a token with which workers may join."""

    pool: Annotated[str, Field(max_length=24)]
    uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = 1
    """Workers that may join; null: any number, as long as the pool is not full."""
    valid_seconds: Annotated[float, Field(gt=0, le=100 * 366 * 24 * 3600)] | None = INVITATION_SECONDS
    """How long the token can be used; null: for ever."""


class Invitation(BaseModel):
    """Token with which workers may join, as ``YURT_TOKEN`` in their environment."""

    label: str
    """Of the worker; empty where each that joins gets a label of its own."""
    token: Annotated[str, Field(repr=False)]


class StatusApi:
    """Endpoints for status and invitations."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: LedgerFleet,
        definitions: CurrentDefinitions,
        server: ServerSettings,
        withheld: Callable[[Pipeline], str],
        auth: AdminAuth,
        health: LoopHealth,
        services: Callable[[], Awaitable[dict[str, ServiceLoadStatus]]],
    ) -> None:
        """``services`` tells how many requests each service has."""
        self._services = services
        self._health = health
        self._ledger = ledger
        self._fleet = fleet
        self._current = definitions
        self._server = server
        self._withheld = withheld
        self._auth = auth

    async def status(self, request: Request) -> Response:
        """Report the state of pipelines, pools and providers."""
        self._auth.require(request)
        return json_response(await self.report())

    async def report(self) -> Status:
        """The state of the whole installation. Raises LedgerUnavailable."""
        costs = await costs_today(self._ledger)
        pools = await self._pools(costs)
        return Status(
            pipelines=await self._pipelines(costs),
            unrouted=await self._unrouted(),
            pools=pools,
            spent_today_usd=sum((pool.spent_today_usd for pool in pools.values()), start=Decimal(0)),
            budget_usd_per_day=self._server.budget_usd_per_day,
            services=await self._services(),
            providers=await self._providers(),
            senders=await self._senders(),
            parked=await self._parked(),
            quarantined=await self._quarantined(),
            suspects=await self._suspects(),
            failing_loops=[FailingLoopStatus(**asdict(failing)) for failing in self._health.failing()],
            unaccounted=await self._unaccounted(),
        )

    async def invite(self, request: Request) -> Response:
        """Issue a token for workers that a person starts."""
        self._auth.require(request)
        invitation = await read_model(request, InvitationRequest)
        pool = self._definitions.pools.get(invitation.pool)
        if pool is None:
            raise HttpProblem(
                404,
                "unknown-pool",
                f"there is no pool {invitation.pool!r}; there are: {', '.join(self._definitions.pools)}",
            )
        if (invitation.uses, invitation.valid_seconds) != (1, INVITATION_SECONDS):
            uses, seconds = invitation.uses, invitation.valid_seconds
            return json_response(
                Invitation(label="", token=await self._fleet.invite(invitation.pool, MANUAL, uses, seconds)), 201
            )
        # One worker within a day: its place in the pool is kept for it.
        intent = await self._fleet.intend(invitation.pool, MANUAL, pool.limit)
        if isinstance(intent, NotIntended):
            raise HttpProblem(
                409, "pool-full", f"the pool has {pool.limit} machines, its limit, those that boot included"
            )
        return json_response(Invitation(label=intent.label, token=intent.token), 201)

    @property
    def _definitions(self) -> Definitions:
        return self._current.definitions

    async def _pipelines(self, costs: CostsToday) -> dict[str, PipelineStatus]:
        pipelines = {
            name: PipelineStatus(pool=pipeline.pool, refused=self._withheld(pipeline))
            for name, pipeline in self._definitions.pipelines.items()
        }
        for row in await self._ledger.fetch("totals"):
            if row["pipeline"] is not None:
                status = pipelines.setdefault(row["pipeline"], PipelineStatus())
                status.counters(row["name"])[row["name"]] = row["value"]
        for row in await self._ledger.fetch("standing"):
            pipelines.setdefault(row["pipeline"], PipelineStatus()).objects[row["state"]] = row["objects"]
        for row in await self._ledger.fetch("oldest"):
            # A pipeline that was moved to another bucket has a row for each.
            status = pipelines.setdefault(row["pipeline"], PipelineStatus())
            status.oldest_due_seconds = max(status.oldest_due_seconds, row["seconds"])
        for row in await self._ledger.fetch("unavailable_handlers"):
            status = pipelines.setdefault(row["pipeline"], PipelineStatus())
            status.unavailable = HandlerPause(
                workers=row["workers"],
                of=row["pool_workers"],
                everywhere=row["everywhere"],
                message=row["message"],
                retry_seconds=row["retry_seconds"],
            )
        for name in {*costs.work, *costs.results}:
            status = pipelines.setdefault(name, PipelineStatus())
            status.results_today, status.work_today_usd = costs.results.get(name, 0), costs.work.get(name, Decimal(0))
            status.usd_per_result = costs.per_result(name)
        return pipelines

    async def _unrouted(self) -> dict[str, int]:
        return {row["name"]: row["value"] for row in await self._ledger.fetch("totals") if row["pipeline"] is None}

    async def _pools(self, costs: CostsToday) -> dict[str, PoolStatus]:
        pools = {
            name: PoolStatus(
                limit=pool.limit,
                minted_by=", ".join(pool.provider_names) or None,
                budget_usd_per_day=pool.budget_usd_per_day,
            )
            for name, pool in self._definitions.pools.items()
        }
        for row in await self._ledger.fetch("workers_standing"):
            pools.setdefault(row["pool"], PoolStatus(limit=0)).machines[row["state"]] = row["machines"]
        for row in await self._ledger.fetch("minted_ever"):
            status = pools.setdefault(row["pool"], PoolStatus(limit=0))
            status.minted, status.slain = row["minted"], row["slain"]
        jailing = {pipeline.pool for pipeline in self._definitions.pipelines.values() if pipeline.sandbox.mode == "on"}
        for row in await self._ledger.fetch("unjailed_workers"):
            if row["pool"] in pools and row["pool"] in jailing:
                pools[row["pool"]].unjailed = UnjailedWorkers(workers=row["workers"], why=row["why"])
        for row in await self._ledger.fetch("pool_reports"):
            if row["pool"] in pools:
                status = pools[row["pool"]]
                status.breaker, status.frozen = row["breaker"], row["frozen"]
                status.failed_starts, status.last_failure = row["failed_starts"], row["last_failure"]
                status.last_boot_log, status.not_minted = row["last_boot_log"], row["not_minted"]
        for row in await self._ledger.fetch("spending_by_pool"):
            status = pools.setdefault(row["pool"], PoolStatus(limit=0))
            status.spent_today_usd, status.usd_per_hour = row["spent_today_usd"], row["usd_per_hour"]
            status.today_usd = {
                phase: usd for phase in PHASES if (usd := costs.by_pool.get(row["pool"], {}).get(phase))
            }
        for row in await self._ledger.fetch("ahead"):
            status = pools.setdefault(row["pool"], PoolStatus(limit=0))
            status.ahead[row["cause"]] = AheadStatus.model_validate(dict(row))
        return pools

    async def _providers(self) -> dict[str, ProviderStatus]:
        rows = await self._ledger.fetch("provider_reports")
        providers = {row["provider"]: ProviderStatus.model_validate(dict(row)) for row in rows}
        for row in await self._ledger.fetch("strangers_standing"):
            if status := providers.get(row["provider"]):
                status.strangers, status.stranger = row["machines"], row["label"]
        return providers

    async def _senders(self) -> dict[str, SenderStatus]:
        rows = await self._ledger.fetch("senders")
        return {row["source"]: SenderStatus.model_validate(dict(row)) for row in rows}

    async def _parked(self) -> list[ParkedObject]:
        return [
            ParkedObject(
                id=row["id"],
                pipeline=row["pipeline"],
                bucket=row["bucket"],
                key=row["key"],
                attempts=row["attempts"],
                parked_at=row["parked_at"].isoformat(),
                **_error_fields(row["error"]),
            )
            for row in await self._ledger.fetch("parked", _PARKED_SHOWN)
        ]

    async def _suspects(self) -> list[SuspectStatus]:
        rows = await self._ledger.fetch("suspects", _SUSPECTS_SHOWN)
        return [SuspectStatus.model_validate(dict(row)) for row in rows]

    async def _quarantined(self) -> int:
        [row] = await self._ledger.fetch("quarantined")
        return int(row["texts"])

    async def _unaccounted(self) -> dict[str, int]:
        [row] = await self._ledger.fetch("balance")
        return dict(row)


def _error_fields(error: str | None) -> dict[str, str]:
    fields = json.loads(error or "{}")
    return {"reason": fields.get("reason", ""), "message": fields.get("message", "")}
