"""Tells workers where the weights of their pool's models are, and hears how far they have come with them."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import WorkerAuth
from webhook.api.http import HttpProblem, json_response, read_model
from webhook.ledger.fleet import LedgerFleet
from webhook.models.catalogue import ModelCatalogue
from webhook.pipelines import Pipelines
from webhook.proxy.orders import OrderBook
from webhook.storage import StoreError
from workers import protocol

_ROOT = re.compile(r"[0-9a-f]{64}")
_BODY_BYTES = 4_096


class ModelApi:
    """Endpoints for models, for workers."""

    def __init__(
        self,
        fleet: LedgerFleet,
        pipelines: Pipelines,
        orders: OrderBook,
        catalogue: ModelCatalogue,
        auth: WorkerAuth,
    ) -> None:
        self._fleet = fleet
        self._pipelines = pipelines
        self._orders = orders
        self._catalogue = catalogue
        self._auth = auth

    async def sources(self, request: Request) -> Response:
        """Presign GETs of one version of a model that a pipeline or service of the worker's pool names."""
        async with self._auth.call(request) as caller:
            root = request.path_params["root"]
            names = [*self._pipelines.models_of_pool(caller.pool), *self._orders.models_of_pool(caller.pool)]
            try:
                found = await self._catalogue.sources(names, root) if _ROOT.fullmatch(root) else None
            except StoreError as error:
                raise HttpProblem(503, "store-unavailable", str(error)) from None
            if found is None:
                raise HttpProblem(404, "unknown-model", "no model of this worker's pool has such a version")
            return json_response(found)

    async def progress(self, request: Request) -> Response:
        """Note what a worker does before it can take work."""
        async with self._auth.call(request) as caller:
            report = await read_model(request, protocol.WorkerProgress, _BODY_BYTES)
            await self._fleet.progress(caller.id, report.model_dump())
            return json_response(protocol.ProgressAnswer(drain=caller.draining))
