"""Wakes a pool: takes the wish that it has machines before there is work. Behind tokens with the scope ``wake:POOL``.

A wish costs money, and a token of an app may be in many hands: what one may wish for has narrower bounds than what an
administrator may, and a rate of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.app_auth import AppAuth, AppCaller
from webhook.api.http import HttpProblem, json_response, read_optional_model
from webhook.api.rate_limit import RateLimit
from webhook.ledger.fleet import LedgerFleet
from webhook.pool_settings import WISH_SECONDS, Pool

APP_MACHINES = 10
"""For which an app may wish."""
APP_WISH_SECONDS = 1_800
"""For which a wish of an app holds at most: the last one ends so long after the app is silent."""
APP_WAKES_PER_SECOND = 1.0
"""Of one token, for one pool."""
APP_WAKES_AT_ONCE = 10


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

    def __init__(self, fleet: LedgerFleet, pools: Mapping[str, Pool], auth: AppAuth) -> None:
        self._fleet = fleet
        self._pools = pools
        self._auth = auth
        self._rates = RateLimit()

    async def wake(self, request: Request) -> Response:
        """Wish that a pool has machines for a while, before there is work; the greatest wish counts."""
        name: str = request.path_params["pool"]
        caller = await self._auth.require(request, f"wake:{name}")
        limit = self._minted(name, caller).limit
        self._within_rate(caller, name)
        wish = await read_optional_model(request, WakeRequest)
        _within_bounds(caller, wish)
        # A pool that may have none takes the wish too: its limit may be raised again.
        woken = await self._fleet.wake(name, max(1, min(wish.machines, limit)), wish.seconds)
        machines = min(woken.machines, limit)
        return json_response(
            WokenPool(pool=name, machines=machines, seconds=woken.seconds, ready=woken.ready, starting=woken.starting)
        )

    def _within_rate(self, caller: AppCaller, pool: str) -> None:
        """Raise HttpProblem 429 where an app wakes a pool too often."""
        if not caller.token_id:
            return
        key = caller.token_id, pool
        if wait_seconds := self._rates.wait_seconds(key, APP_WAKES_PER_SECOND, APP_WAKES_AT_ONCE):
            raise HttpProblem(
                429, "too-many-requests",
                f"this token may wake a pool {APP_WAKES_PER_SECOND:g} time a second, and {APP_WAKES_AT_ONCE} times at "
                "once; a wish that holds need not be repeated",
                retry_after=str(math.ceil(wait_seconds)),
            )  # fmt: skip

    def _minted(self, name: str, caller: AppCaller) -> Pool:
        """The pool of that name. Raises HttpProblem 404, and 409 where no provider mints its machines.

        The message names the pools that the caller may wake, and no others.
        """
        if name not in self._pools:
            known = ", ".join(pool for pool in self._pools if caller.allows(f"wake:{pool}"))
            there = f"; there are: {known}" if known else ""
            raise HttpProblem(404, "unknown-pool", f"there is no pool of that name{there}")
        if not self._pools[name].is_minted:
            raise HttpProblem(409, "no-provider", "people start the machines of this pool: no provider mints any")
        return self._pools[name]


def _within_bounds(caller: AppCaller, wish: WakeRequest) -> None:
    """Raise HttpProblem 422 where an app wishes for more than an app may."""
    if caller.token_id and (wish.machines > APP_MACHINES or wish.seconds > APP_WISH_SECONDS):
        raise HttpProblem(
            422, "wish-too-large",
            f"a token of an app may wish for at most {APP_MACHINES} machines, and {APP_WISH_SECONDS} seconds: wish "
            "again before they are over",
        )  # fmt: skip
