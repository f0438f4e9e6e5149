"""Health checks, Prometheus metrics and the OpenAPI document over HTTP. Open to all."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.ledger import Ledger
from webhook.metrics import Metrics


class HealthApi:
    """Endpoints for load balancers, Prometheus and programs that read the OpenAPI document."""

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self.leaving = False
        """Set when the server is about to leave: load balancers send nothing more."""
        self.document: dict[str, Any] = {}
        """The OpenAPI document."""

    async def alive(self, _: Request) -> Response:
        """Liveness: the process answers."""
        return Response('{"status":"ok"}', media_type="application/json")

    async def ready(self, _: Request) -> Response:
        """Readiness: the ledger answers too, and the server is not about to leave."""
        if self.leaving:
            raise HttpProblem(503, "leaving", "this replica is shutting down")
        await self._ledger.fetch("ready")
        return Response('{"status":"ok"}', media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Prometheus metrics. While the ledger is away, its counters stand as they were read last."""
        with contextlib.suppress(LedgerUnavailable):
            await self._metrics.refresh(self._ledger)
        return Response(self._metrics.render(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _: Request) -> Response:
        """This API as OpenAPI 3.1."""
        return Response(json.dumps(self.document), media_type="application/json")
