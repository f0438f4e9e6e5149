"""Shows the views of the page: live, parked, quarantine, machines, services, costs and sweeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from webhook.api.callbacks import CallbackApi
from webhook.api.costs import CostApi, CostFilter
from webhook.api.deployments import DeploymentApi
from webhook.api.http import HttpProblem, path_id, read_query
from webhook.api.machines import MachineApi, MachineFilter
from webhook.api.parked import ParkedApi, ParkedFilter
from webhook.api.quarantine import QuarantineApi, QuarantineFilter
from webhook.api.service_status import ServiceStatus, ServiceStatusApi
from webhook.api.sweeps import SweepApi, SweepFilter
from webhook.api.tokens import TokenApi
from webhook.page.access import PageAuth
from webhook.page.commands import command
from webhook.page.cost_charts import cost_chart, totals
from webhook.page.live import LiveFeed
from webhook.page.rendering import Rendering
from webhook.page.snapshot import PARTS
from webhook.pipelines import Pipelines
from webhook.pool_settings import Pool

Query = TypeVar("Query", bound=BaseModel)

_PAGE_ROWS = 50
_MACHINE_ROWS = 100
NOTICES = {
    "redriven": "{} will be processed again.",
    "forgotten": "{} were given up. A newer upload of one is processed again.",
    "replayed": "{} were read and left the quarantine.",
    "draining": "The machine gets no more work and is slain when it has finished.",
    "slaying": "The machine is being slain; its objects are processed elsewhere.",
    "ordered": "{} ordered.",
    "cancelled": "The sweep was cancelled. What it has recorded stays.",
    "told": "{} will be told again.",
    "revoked": "The token was revoked. It is refused everywhere within a second.",
    "rolled-back": "The earlier version holds again, as the next one. Leases that run keep what they were given.",
    "removed": "The app was removed. Its versions are kept: roll back to one to bring it back.",
}
"""What a change says afterwards, by the word in the address: no other text of an address is shown."""


@dataclass(frozen=True, slots=True)
class Apis:
    """Where views and changes get what they show: the same functions as the endpoints of the API."""

    machines: MachineApi
    parked: ParkedApi
    quarantine: QuarantineApi
    costs: CostApi
    sweeps: SweepApi
    services: ServiceStatusApi
    deployments: DeploymentApi
    callbacks: CallbackApi
    tokens: TokenApi


class Views:
    """Endpoints that show something. All need a session; none changes anything."""

    def __init__(
        self,
        apis: Apis,
        pipelines: Pipelines,
        pools: Mapping[str, Pool],
        feed: LiveFeed,
        auth: PageAuth,
        rendering: Rendering,
    ) -> None:
        self._apis = apis
        self._pipelines = pipelines
        self._pools = pools
        self._feed = feed
        self._auth = auth
        self._rendering = rendering

    async def live(self, request: Request) -> Response:
        """Show what happens now."""
        session = self._auth.session(request)
        return self._rendering.page(
            "live.html", session,
            parts=await self._feed.latest(), names=PARTS, pipelines=self._pipelines.names,
            notice=notice(request), command=command("status", watch=True),
        )  # fmt: skip

    async def live_events(self, request: Request) -> Response:
        """Send what happens from now on, as server-sent events."""
        session = self._auth.session(request)
        self._feed.admit()

        async def messages() -> AsyncIterator[str]:
            async for message in self._feed.watch(lambda: not self._auth.cookies.has_ended(session)):
                yield message

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nginx passes it on at once
        return StreamingResponse(messages(), media_type="text/event-stream", headers=headers)

    async def parked(self, request: Request) -> Response:
        """List parked objects."""
        session = self._auth.session(request)
        query = view_query(request, ParkedFilter)
        page = await self._apis.parked.page(query)
        chosen = {"pipeline": query.pipeline, "reason": query.reason, "prefix": query.prefix}
        return self._rendering.page(
            "parked.html", session,
            page=page, query=query, chosen=chosen, pipelines=self._pipelines.names, notice=notice(request),
            command=command("parked", "list", **chosen),
        )  # fmt: skip

    async def parked_object(self, request: Request) -> Response:
        """Show one parked object with its log."""
        session = self._auth.session(request)
        details = await self._apis.parked.details(path_id(request, unknown("parked object")))
        return self._rendering.page(
            "parked_object.html", session, details=details, command=command("parked", "show", details.id)
        )

    async def quarantine(self, request: Request) -> Response:
        """List quarantined texts."""
        session = self._auth.session(request)
        query = view_query(request, QuarantineFilter)
        chosen = {"source": query.source, "reason": query.reason}
        return self._rendering.page(
            "quarantine.html", session,
            page=await self._apis.quarantine.page(query), query=query, chosen=chosen, notice=notice(request),
            command=command("quarantine", "list", **chosen),
        )  # fmt: skip

    async def quarantined(self, request: Request) -> Response:
        """Show one quarantined text."""
        session = self._auth.session(request)
        text = await self._apis.quarantine.text(path_id(request, unknown("quarantined text")))
        return self._rendering.page(
            "quarantined.html", session, text=text, command=command("quarantine", "show", text.id)
        )

    async def machines(self, request: Request) -> Response:
        """List machines."""
        session = self._auth.session(request)
        query = view_query(request, MachineFilter, _MACHINE_ROWS)
        page = await self._apis.machines.page(query)
        chosen = {"pool": query.pool, "state": query.state and query.state.value}
        return self._rendering.page(
            "machines.html", session,
            page=page, query=query, chosen=chosen, pools=[*self._pools], notice=notice(request),
            command=command("machines", "list", **chosen),
        )  # fmt: skip

    async def machine(self, request: Request) -> Response:
        """Show one machine."""
        session = self._auth.session(request)
        machine = await self._apis.machines.found(path_id(request, unknown("machine")))
        return self._rendering.page(
            "machine.html", session,
            machine=machine, notice=notice(request), command=command("machines", "show", machine.id),
        )  # fmt: skip

    async def machine_log(self, request: Request) -> Response:
        """Show the end of what a machine printed."""
        session = self._auth.session(request)
        machine = await self._apis.machines.found(path_id(request, unknown("machine")))
        try:
            log, problem = await self._apis.machines.log_of(machine), ""
        except HttpProblem as error:
            log, problem = "", error.message
        return self._rendering.page(
            "machine_log.html", session,
            machine=machine, log=log, problem=problem, command=command("machines", "logs", machine.id),
        )  # fmt: skip

    async def services(self, request: Request) -> Response:
        """Show services with their machines and requests."""
        session = self._auth.session(request)
        found = await self._apis.services.report()
        return self._rendering.page(
            "services.html", session, services=found.services, standing=service_standing, command=command("services")
        )

    async def costs(self, request: Request) -> Response:
        """Show what was spent, by day, pool and pipeline."""
        session = self._auth.session(request)
        query = view_query(request, CostFilter)
        costs = await self._apis.costs.report(query)
        return self._rendering.page(
            "costs.html", session,
            costs=costs, chart=cost_chart(costs),
            by_pool=totals(costs, lambda cost: cost.pool),
            by_pipeline=totals(costs, lambda cost: cost.what_for),
            command=command("costs", since=query.since, until=query.until),
        )  # fmt: skip

    async def sweeps(self, request: Request) -> Response:
        """List sweeps."""
        session = self._auth.session(request)
        query = view_query(request, SweepFilter)
        return self._rendering.page(
            "sweeps.html", session,
            sweeps=await self._apis.sweeps.newest(query), query=query, pipelines=self._pipelines.names,
            notice=notice(request), command=command("backfill", list=True),
        )  # fmt: skip


def view_query(request: Request, model: type[Query], limit: int = _PAGE_ROWS) -> Query:
    """Read the query of a view: an empty field of a form selects nothing. Raises HttpProblem 422."""
    given = [(name, value) for name, value in request.query_params.multi_items() if value and name not in ("done", "n")]
    if "limit" in model.model_fields:
        given = [("limit", str(limit)), *((name, value) for name, value in given if name != "limit")]
    scope = {**request.scope, "query_string": str(QueryParams(given)).encode()}
    return read_query(Request(scope), model)


def service_standing(service: ServiceStatus) -> str:
    """How a service stands: ``ready``, ``failing``, ``starting``, ``withheld``, ``stuck``, or ``cold``.

    ``stuck``: requests wait, and no machine comes. ``cold``: it has no machine, and the next request brings one.
    """
    states = {machine.state for machine in service.machines}
    if "ready" in states:
        return "ready"
    if service.withheld:
        return "withheld"
    if service.waiting and service.not_minted and not states - {"failing", "draining"}:
        return "stuck"
    if "failing" in states:
        return "failing"
    return "starting" if states - {"draining"} or service.waiting else "cold"


def notice(request: Request) -> str:
    """What the change that led here says; empty: nothing was changed."""
    text = NOTICES.get(request.query_params.get("done", ""), "")
    number = request.query_params.get("n", "")
    count = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0
    return text.format("One" if count == 1 else f"{count:,}").replace("One were", "One was")


def unknown(what: str) -> HttpProblem:
    """The problem of a path that names nothing."""
    return HttpProblem(404, "not-found", f"there is no {what} of that number")
