"""Issues tickets by which browsers upload, and authenticates requests that carry one."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.app_auth import AppAuth
from webhook.api.auth import unauthorized
from webhook.api.connections import proven
from webhook.api.http import HttpProblem, json_response, read_model
from webhook.api.rate_limit import RateLimit
from webhook.ledger.uploads import Ticket, TicketOrder, UploadLedger
from webhook.pipelines import Pipelines
from webhook.setting_types import ContentType
from webhook.uploads import keys
from webhook.uploads.keys import KeyRefused
from webhook.uploads.signing import MAX_BYTES

_CALLS_PER_SECOND = 20.0
_BURST_CALLS = 100
_MOST_SECONDS = 7 * 86_400.0


class TicketRequest(BaseModel):
    """Orders a ticket."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Annotated[str, Field(min_length=1, max_length=100)]
    prefix: Annotated[str, Field(max_length=300)] = ""
    """Below the pipeline's own prefix, such as ``users/42/``."""
    content_types: Annotated[list[ContentType], Field(min_length=1, max_length=50)] = ["*/*"]
    """``image/*`` for all of a kind."""
    max_bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)] | None = None
    """Of one file; by default what the pipeline's handler takes."""
    uploads: Annotated[int, Field(ge=1, le=10_000)] = 1
    valid_seconds: Annotated[float, Field(ge=1, le=_MOST_SECONDS, allow_inf_nan=False)] = 3_600.0


class IssuedTicket(BaseModel):
    """A ticket for a browser."""

    ticket: str
    """Shown this once: the ledger keeps only its hash."""
    pipeline: str
    folder: str
    """All keys of its uploads begin so, and no others."""
    content_types: list[str]
    max_bytes: int
    uploads: int
    expires_at: datetime


class TicketAuth:
    """Authenticates requests by ticket."""

    def __init__(self, uploads: UploadLedger) -> None:
        self._uploads = uploads
        self._rates = RateLimit()

    async def reading(self, request: Request, secret: str) -> Ticket:
        """The ticket with which a request reads or finishes its own uploads.

        Raises HttpProblem 401 or 429, LedgerUnavailable.
        """
        ticket = await self._uploads.ticket(secret)
        if ticket is None:
            raise unauthorized("this ticket is unknown: the app's server makes one with POST /v1/tickets")
        if ticket.orphaned:
            raise unauthorized("the token that this ticket was made with has ended")
        if ticket.forgotten:
            raise unauthorized("this ticket expired more than a week ago")
        wait_seconds = self._rates.wait_seconds(ticket.id, _CALLS_PER_SECOND, _BURST_CALLS)
        if wait_seconds:
            raise HttpProblem(
                429, "too-many-requests", "this ticket makes too many calls", retry_after=str(math.ceil(wait_seconds))
            )
        proven(request.scope)
        return ticket

    async def uploading(self, request: Request, secret: str) -> Ticket:
        """The ticket with which a request begins an upload. Raises HttpProblem 401 or 429, LedgerUnavailable."""
        ticket = await self.reading(request, secret)
        if ticket.expired:
            raise unauthorized("this ticket has expired: the app's server makes another one with POST /v1/tickets")
        return ticket


class TicketApi:
    """The endpoint for tickets."""

    def __init__(self, uploads: UploadLedger, pipelines: Pipelines, auth: AppAuth) -> None:
        self._uploads = uploads
        self._pipelines = pipelines
        self._auth = auth

    async def create_ticket(self, request: Request) -> Response:
        """Make a ticket with which a browser uploads: so many files of some types and sizes, until it expires."""
        caller = await self._auth.caller(request)
        wanted = await read_model(request, TicketRequest)
        caller.require(f"upload:{wanted.pipeline}")
        pipeline = self._pipelines.named(wanted.pipeline)
        if pipeline is None:
            raise HttpProblem(404, "unknown-pipeline", "there is no pipeline of that name")
        try:
            prefix = keys.folder_prefix(pipeline, wanted.prefix)
            longest = pipeline.suffixes[0] if pipeline.suffixes else ""
            keys.ticket_key(pipeline, f"{prefix}{'0' * 24}/", wanted.uploads, f"{'x' * 100}{longest}")
        except KeyRefused as error:
            raise HttpProblem(422, "key-refused", str(error)) from None
        order = TicketOrder(
            caller.token_id or None, wanted.pipeline, prefix, wanted.content_types,
            wanted.max_bytes or pipeline.limits.input_bytes, wanted.uploads, wanted.valid_seconds,
        )  # fmt: skip
        made = await self._uploads.issue(order)
        return json_response(
            IssuedTicket(
                ticket=made.secret, pipeline=order.pipeline, folder=made.folder, content_types=wanted.content_types,
                max_bytes=order.max_bytes, uploads=order.uploads, expires_at=made.expires_at,
            ),
            201,
        )  # fmt: skip
