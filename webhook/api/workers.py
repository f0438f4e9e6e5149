"""Revokes a worker that is not to be trusted. Behind the admin token."""

from __future__ import annotations

from typing import Annotated

import structlog
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import HttpProblem, json_response, path_id, read_model
from webhook.ledger.distrust import MAX_PAGE, Distrust

log = structlog.get_logger()


class DistrustRequest(BaseModel):
    """Why a worker is not trusted any more."""

    why: Annotated[str, Field(min_length=1, max_length=500)] = "An operator does not trust it."
    """For people: ``yurt status`` shows it."""
    after: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """``next`` of the previous call."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE
    """Most objects that this call changes."""


class DistrustedWorker(BaseModel):
    """Number of objects that are processed again because a worker reported them."""

    objects: int
    next: int | None
    """``after`` of the next call. None: this was the last."""


class WorkersApi:
    """Endpoints for workers that were found out."""

    def __init__(self, distrust: Distrust, auth: AdminAuth) -> None:
        self._distrust = distrust
        self._auth = auth

    async def distrust(self, request: Request) -> Response:
        """Revoke a worker, and have everything that it reported processed again."""
        self._auth.require(request)
        unknown = HttpProblem(404, "unknown-worker", "no worker of that number is known, and no object was its work")
        worker_id = path_id(request, unknown)
        message = await read_model(request, DistrustRequest)
        done = await self._distrust.distrust(worker_id, message.why, message.after, message.limit)
        if not done.known and not done.objects and not message.after:
            raise unknown
        log.warning("worker distrusted", worker=worker_id, why=message.why, objects=done.objects)
        return json_response(DistrustedWorker(objects=done.objects, next=done.after))
