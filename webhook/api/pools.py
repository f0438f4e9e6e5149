"""Wakes a pool: takes the wish that it has machines before there is work. Behind the admin token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import HttpProblem, json_response, read_optional_model
from webhook.ledger.fleet import LedgerFleet
from webhook.pool_settings import WISH_SECONDS, Pool


class WakeRequest(BaseModel):
    """Wishes that a pool has machines before there is work."""

    model_config = ConfigDict(extra="forbid")

    machines: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many it is to have; no more than its limit count."""
    seconds: Annotated[float, Field(ge=1, le=WISH_SECONDS)] = 600
    """How long the wish holds."""


class WokenPool(BaseModel):
    """What a pool is to have and what it has."""

    pool: str
    machines: int
    """Machines of the greatest wish that holds, up to the pool's limit."""
    seconds: float
    """For which that one still holds."""
    ready: int
    """Machines that have called home and take work."""
    starting: int
    """Machines that are ordered, or boot."""


class PoolApi:
    """Endpoints for pools."""

    def __init__(self, fleet: LedgerFleet, pools: Mapping[str, Pool], auth: AdminAuth) -> None:
        self._fleet = fleet
        self._pools = pools
        self._auth = auth

    async def wake(self, request: Request) -> Response:
        """Wish that a pool has machines for a while, before there is work; the greatest wish counts."""
        self._auth.require(request)
        name: str = request.path_params["pool"]
        limit = self._minted(name).limit
        wish = await read_optional_model(request, WakeRequest)
        # A pool that may have none takes the wish too: its limit may be raised again.
        woken = await self._fleet.wake(name, max(1, min(wish.machines, limit)), wish.seconds)
        machines = min(woken.machines, limit)
        return json_response(
            WokenPool(pool=name, machines=machines, seconds=woken.seconds, ready=woken.ready, starting=woken.starting)
        )

    def _minted(self, name: str) -> Pool:
        """The pool of that name. Raises HttpProblem 404, and 409 where no provider mints its machines."""
        if name not in self._pools:
            known = ", ".join(self._pools)
            raise HttpProblem(404, "unknown-pool", f"there is no pool of that name; there are: {known}")
        if not self._pools[name].is_minted:
            raise HttpProblem(409, "no-provider", "people start the machines of this pool: no provider mints any")
        return self._pools[name]
