"""Answers requests for the answers that services gave, or will give, to requests with ``Prefer: respond-async``."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.answers.later_answers import LaterAnswers
from webhook.api.app_auth import AppAuth
from webhook.api.http import HttpProblem, json_response, read_query
from webhook.ledger.answers import StoredAnswer
from webhook.storage import StoreError
from workers.protocol import Download

PATH = "/v1/answers/"
"""Begins the path of an answer; its id follows."""
MAX_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.25
_GET_SECONDS = 900
_LOST = "the replica of the control plane that had the request is gone; whether it was carried out is not known"
_UNKNOWN = HttpProblem(404, "unknown-answer", "there is no answer of that id: it was deleted, or has expired")


class AnswerQuery(BaseModel):
    """How long to wait for an answer."""

    model_config = ConfigDict(extra="forbid")

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0
    """Seconds."""


class AnswerError(BaseModel):
    """Why there is no answer: the code and the sentence that a client who waits would have got."""

    error: str
    message: str


class ServiceAnswer(BaseModel):
    """One answer of a service."""

    service: str
    state: Literal["pending", "done", "failed"]
    status: int | None = None
    """Of the server's answer, once it is done."""
    headers: list[tuple[str, str]] = []
    body: Download | None = None
    """A presigned GET of the answer's body."""
    bytes: int | None = None
    """Of the body."""
    error: AnswerError | None = None
    expires_at: datetime
    """When it is deleted."""


class AnswerApi:
    """Endpoints for answers that are fetched later."""

    def __init__(self, answers: LaterAnswers, auth: AppAuth) -> None:
        self._answers = answers
        self._auth = auth

    async def show_answer(self, request: Request) -> Response:
        """Tell how far an answer is; wait for it where the query says so."""
        stored = await self._allowed(request)
        loop = asyncio.get_running_loop()
        until = loop.time() + read_query(request, AnswerQuery).wait
        while stored.state == "pending" and loop.time() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            found = await self._answers.ledger.find(request.path_params["id"])
            if found is None:
                raise _UNKNOWN
            stored = found
        return json_response(self._status(stored))

    async def delete_answer(self, request: Request) -> Response:
        """Delete an answer, and cancel its request where it has not ended."""
        await self._allowed(request)
        try:
            await self._answers.forget(request.path_params["id"])
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", str(error)) from None
        return Response(status_code=204)

    async def _allowed(self, request: Request) -> StoredAnswer:
        """The answer that is asked for. Raises HttpProblem 401, 403, 404, 429."""
        caller = await self._auth.caller(request)
        stored = await self._answers.ledger.find(request.path_params["id"])
        if stored is None:
            raise _UNKNOWN
        caller.require(f"service:{stored.service}")
        return stored

    def _status(self, stored: StoredAnswer) -> ServiceAnswer:
        finished, state = stored.finished, stored.state
        known = ServiceAnswer(
            service=stored.service, state="failed" if state == "lost" else state, expires_at=stored.expires_at
        )
        if state == "lost":
            known.error = AnswerError(error="replica-lost", message=_LOST)
        elif state == "failed":
            known.error = AnswerError(error=finished.error, message=finished.message)
        elif state == "done":
            url = self._answers.store.presigner.url(
                "GET", stored.place.bucket, stored.place.key, expires_seconds=_GET_SECONDS
            )
            known.status, known.headers = finished.status, [*finished.headers]
            known.body, known.bytes = Download(url=url), finished.bytes
        return known
