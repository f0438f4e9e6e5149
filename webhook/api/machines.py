"""Lists, shows, drains and slays machines, and fetches their logs from providers. Behind the admin token."""

from __future__ import annotations

import json
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.filters import Number, Text
from webhook.api.http import HttpProblem, json_response, path_id, read_model, read_query
from webhook.fleet.manual_workers import MANUAL
from webhook.fleet.provider_set import ProviderSet
from webhook.fleet.providers import ProviderError
from webhook.ledger.fleet import OPERATOR, LedgerFleet
from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import Cause, MachineState
from webhook.usd import ExactUsd

log = structlog.get_logger()

MAX_PAGE = 1_000
"""Machines that one call lists."""
_TRIES = 5
"""A machine that keeps changing its state while it is judged is judged again so often."""
_DRAINING = (MachineState.DRAINING, MachineState.SLAYING)


class MachineFilter(BaseModel):
    """Selects the machines to list: by default all that are not gone."""

    model_config = ConfigDict(extra="forbid")

    pool: Text | None = None
    provider: Text | None = None
    state: MachineState | None = None
    after: Number | None = None
    """``next`` of the previous page."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class MachineLoading(BaseModel):
    """What a machine fetches or loads before it can take work, by its own report of the last 15 seconds."""

    phase: str
    model: str
    done_bytes: int
    total_bytes: int
    bytes_per_second: int


def _parsed(column: Any) -> Any:
    """The value of a column of PostgreSQL's type ``jsonb``, which is read as text."""
    return json.loads(column) if isinstance(column, str) else column


class MachineStatus(BaseModel):
    """One machine, as the ledger knows it."""

    id: int
    label: str
    pool: str
    provider: str
    ref: str
    """The provider's own name for it; empty: it has not confirmed the order."""
    state: MachineState
    reason: str
    """Why it is draining, being slain or gone."""
    suspicion: str
    """Why it is not trusted, in words."""
    offer: str
    machine: str
    """The provider's name for the physical machine; empty: not known."""
    host: str
    """The provider's name for who runs it; empty: not known."""
    slots: int
    """Objects that it handles at once."""
    leases: int
    """Objects that it handles now."""
    age_seconds: float
    """Since its intent; of one that is gone, until then."""
    state_seconds: float
    """Since it came into its present state."""
    idle_seconds: float
    """Since its last lease ended, or it called home. 0 while it holds one."""
    silent_seconds: float | None
    """Since its last call; null: it has made none."""
    cause: Cause
    """Why it was minted."""
    usd_per_hour: ExactUsd
    usd_once: ExactUsd
    """Paid once, when the provider took the order."""
    usd_spent: ExactUsd
    """What it has cost up to now."""
    loading: Annotated[MachineLoading | None, BeforeValidator(_parsed)]
    """Null: it loads nothing now."""
    rented_seconds: float | None
    """From its intent until the provider had taken the order. Null, as in those below: not over, or not known."""
    booted_seconds: float | None
    """From then until its worker's process began: the machine booted, and its image was pulled."""
    process_seconds: float | None
    """From then until the process called home."""
    weights_seconds: float | None
    """From then until it asked for work: it fetched its models."""
    load_seconds: float | None
    """For which it loaded models of checks into memory until its first result, beside the steps before and after."""
    first_result_seconds: float | None
    """From its first lease until its first result."""
    service_weights_seconds: float | None
    """Of a machine that serves: from its first order until the models of that service were there."""
    service_ready_seconds: float | None
    """From then until its server took requests."""


class StrangerStatus(BaseModel):
    """A machine of another installation of the same name, or of this one's ledger before it was lost."""

    provider: str
    label: str
    ref: str
    """The provider's own name for it."""
    slaying: bool
    """Whether an operator has said that it is to be slain."""


class StrangerChoice(BaseModel):
    """Names a stranger by its label."""

    model_config = ConfigDict(extra="forbid")

    label: Text


class MachinePage(BaseModel):
    """One page of machines, the newest first."""

    machines: list[MachineStatus]
    strangers: list[StrangerStatus] = []
    """Machines that providers list for another installation of the same name: on the first page, whatever the pool."""
    next: int | None
    """``after`` of the next page. Null: this is the last."""


class MachineLog(BaseModel):
    """The end of what a machine printed."""

    log: str
    """Behind a line that says where it is; empty: the provider knows of none."""


class MachineApi:
    """Endpoints for machines."""

    def __init__(self, ledger: Ledger, fleet: LedgerFleet, providers: ProviderSet, auth: AdminAuth) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._providers = providers
        self._auth = auth

    async def machines(self, request: Request) -> Response:
        """List machines, the newest first: all that are not gone, or those of a state."""
        self._auth.require(request)
        return json_response(await self.page(read_query(request, MachineFilter)))

    async def page(self, query: MachineFilter) -> MachinePage:
        """One page of machines. Raises LedgerUnavailable."""
        rows = await self._ledger.fetch(
            "machine_page", query.pool, query.provider, query.state, query.after, query.limit
        )
        machines = [MachineStatus.model_validate(dict(row)) for row in rows]
        following = machines[-1].id if len(machines) == query.limit else None
        return MachinePage(machines=machines, strangers=await self._strangers(query), next=following)

    async def _strangers(self, query: MachineFilter) -> list[StrangerStatus]:
        if query.after is not None:
            return []
        rows = await self._ledger.fetch("strangers", query.provider, MAX_PAGE)
        return [StrangerStatus.model_validate(dict(row)) for row in rows]

    async def machine(self, request: Request) -> Response:
        """Show one machine."""
        return json_response(await self.found(self._asked(request)))

    async def drain_machine(self, request: Request) -> Response:
        """Give a machine no more leases; it finishes those that it has, and is slain then."""
        return json_response(await self.drain(self._asked(request)))

    async def drain(self, id: int) -> MachineStatus:
        """Drain a machine. Raises HttpProblem 404 or 409, LedgerUnavailable."""
        machine = await self.found(id)
        if await self._fleet.drain(machine.id, OPERATOR):
            log.info("draining", label=machine.label, pool=machine.pool, reason=OPERATOR)
        machine = await self.found(machine.id)
        if machine.state not in _DRAINING:
            raise _not_drained(machine)
        return machine

    async def slay_machine(self, request: Request) -> Response:
        """Revoke a machine's token, take its leases back, and have its provider destroy it."""
        return json_response(await self.slay(self._asked(request)))

    async def slay(self, id: int) -> MachineStatus:
        """Slay a machine. Raises HttpProblem 404 or 409, LedgerUnavailable."""
        machine = await self.found(id)
        for _ in range(_TRIES):
            if machine.state is MachineState.GONE:
                raise _gone()
            if machine.state is MachineState.SLAYING:
                return machine
            if await self._fleet.slaying(machine.id, OPERATOR, machine.state):
                log.info("slaying", label=machine.label, pool=machine.pool, reason=OPERATOR, leased=machine.leases)
            machine = await self.found(machine.id)
        raise HttpProblem(409, "machine-changed", "its state changes all the time: ask again")

    async def slay_stranger(self, request: Request) -> Response:
        """Have a machine slain that a provider lists for another installation of the same name."""
        self._auth.require(request)
        choice = await read_model(request, StrangerChoice)
        row = await self._fleet.slay_stranger(choice.label)
        if row is None:
            raise HttpProblem(404, "unknown-stranger", "no provider lists such a machine of another installation")
        log.warning("stranger to be slain", label=choice.label, provider=row["provider"], reason=OPERATOR)
        return json_response(StrangerStatus.model_validate(dict(row)))

    async def machine_log(self, request: Request) -> Response:
        """Fetch the end of what a machine printed, from its provider."""
        return json_response(MachineLog(log=await self.log_of(await self.found(self._asked(request)))))

    async def log_of(self, machine: MachineStatus) -> str:
        """The end of what a machine printed. Raises HttpProblem 409, or 503 where its provider does not answer."""
        if machine.provider == MANUAL:
            raise HttpProblem(409, "no-provider", "a person started it: its log is where that person runs it")
        try:
            return await self._providers.log(machine.provider, machine.label)
        except ProviderError as error:
            raise HttpProblem(503, "provider-unavailable", f"the log cannot be had: {error}") from None

    def _asked(self, request: Request) -> int:
        """The number that the path names. Raises HttpProblem 401, 403 or 404."""
        self._auth.require(request)
        return path_id(request, _unknown())

    async def found(self, id: int) -> MachineStatus:
        """One machine. Raises HttpProblem 404, LedgerUnavailable."""
        rows: list[Any] = await self._ledger.fetch("machine", id)
        if not rows:
            raise _unknown()
        return MachineStatus.model_validate(dict(rows[0]))


def _unknown() -> HttpProblem:
    return HttpProblem(404, "unknown-machine", "there is no machine of that number, or it was pruned")


def _gone() -> HttpProblem:
    return HttpProblem(409, "machine-gone", "it is gone already: nothing was changed")


def _not_drained(machine: MachineStatus) -> HttpProblem:
    if machine.state is MachineState.GONE:
        return _gone()
    return HttpProblem(
        409, "not-ready", "it has not called home, so it has no lease to finish: slay it, or wait until it is ready"
    )
