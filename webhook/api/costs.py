"""Reports what machines have cost, day by day. Behind the admin token."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import HttpProblem, json_response, read_query
from webhook.cost_phases import Phase, beneficiary
from webhook.ledger.ledger import Ledger
from webhook.usd import ExactUsd

MOST_DAYS = 366
_MOST_ROWS = 50_000

Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(9000, 1, 1))]
"""PostgreSQL and Python reckon with days beyond these differently."""


class CostFilter(BaseModel):
    """Selects days in UTC, both ends included: by default the thirty up to today."""

    model_config = ConfigDict(extra="forbid")

    since: Day | None = None
    until: Day | None = None

    @model_validator(mode="after")
    def _ordered(self) -> CostFilter:
        if self.since and self.until and not 0 <= (self.until - self.since).days < MOST_DAYS:
            raise ValueError(f"until has to be since or a later day, {MOST_DAYS} days at most")
        return self


class Cost(BaseModel):
    """What one pool spent at one provider on one day, for one thing."""

    day: date
    """UTC."""
    pool: str
    provider: str
    phase: Phase
    pipeline: str
    """What the work was for; with ``service`` the service. Empty in other phases."""
    usd: ExactUsd

    @property
    def what_for(self) -> str:
        """A pipeline, a service as ``service:NAME``, or the phase in parentheses."""
        return beneficiary(self.phase, self.pipeline) or f"({self.phase})"


class Costs(BaseModel):
    """Everything that was spent on some days. The costs add up to the total."""

    since: date
    until: date
    costs: list[Cost]
    total_usd: ExactUsd


class CostApi:
    """The endpoint for costs."""

    def __init__(self, ledger: Ledger, auth: AdminAuth) -> None:
        self._ledger = ledger
        self._auth = auth

    async def costs(self, request: Request) -> Response:
        """Report what was spent, by day, pool, provider, phase and pipeline."""
        self._auth.require(request)
        return json_response(await self.report(read_query(request, CostFilter)))

    async def report(self, query: CostFilter) -> Costs:
        """What was spent on some days. Raises HttpProblem 422, LedgerUnavailable."""
        [days] = await self._ledger.fetch("cost_days", query.since, query.until)
        since, until = days["since"], days["until"]
        if (until - since).days >= MOST_DAYS:
            raise _too_many(f"{since} to {until} is more than {MOST_DAYS} days")
        rows = await self._ledger.fetch("spending", since, until, _MOST_ROWS + 1)
        if len(rows) > _MOST_ROWS:
            raise _too_many(f"there are more than {_MOST_ROWS} costs in these days")
        costs = [Cost.model_validate(dict(row)) for row in rows]
        total = sum((row["usd"] for row in rows), start=Decimal(0))
        return Costs(since=since, until=until, costs=costs, total_usd=total)


def _too_many(what: str) -> HttpProblem:
    return HttpProblem(422, "too-many", f"{what}: ask for fewer, with since and until")
