"""Health checks, Prometheus metrics and the OpenAPI document over HTTP. Open to all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.ledger import Ledger
from webhook.loops import LoopHealth
from webhook.metrics import Metrics

_OUTAGE_SECONDS = 3.0
"""Where calls have failed for so long, the database takes no writes though it answers this one."""


class HealthApi:
    """Endpoints for load balancers, Prometheus and programs that read the OpenAPI document."""

    def __init__(self, ledger: Ledger, metrics: Metrics, health: LoopHealth) -> None:
        self._health = health
        self._ledger = ledger
        self._metrics = metrics
        self.leaving = False
        """Set when the server is about to leave: load balancers send nothing more."""
        self.document: Callable[[], dict[str, Any]] = dict
        """Makes the OpenAPI document. Takes a quarter of a second the first time, so only who asks for it waits."""

    async def alive(self, _: Request) -> Response:
        """Liveness: the process answers."""
        return Response('{"status":"ok"}', media_type="application/json")

    async def ready(self, _: Request) -> Response:
        """Readiness: the ledger takes writes, no loop stands still, and the server is not about to leave."""
        if self.leaving:
            raise HttpProblem(503, "leaving", "this replica is shutting down")
        [row] = await self._ledger.fetch("ready")
        outage = self._ledger.database.outage
        if row["read_only"] or outage.seconds > _OUTAGE_SECONDS:
            raise LedgerUnavailable(outage.error or "the database takes no writes")
        if stalled := self._health.stalled():
            said = "; ".join(f"{loop.loop} for {loop.seconds:.0f} s: {loop.error}" for loop in stalled)
            raise HttpProblem(503, "stalled", f"this replica takes requests, but work stands still ({said})")
        return Response('{"status":"ok"}', media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Prometheus metrics. While the ledger is away, its counters stand as they were read last."""
        with contextlib.suppress(LedgerUnavailable):
            await self._metrics.refresh(self._ledger)
        return Response(self._metrics.render(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _: Request) -> Response:
        """This API as OpenAPI 3.1."""
        return Response(json.dumps(await asyncio.to_thread(self.document)), media_type="application/json")
