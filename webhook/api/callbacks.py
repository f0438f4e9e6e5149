"""Lists, shows and replays callbacks. Behind the admin token."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import asyncpg
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.filters import Number, Text
from webhook.api.http import HttpProblem, json_response, path_id, read_model, read_query
from webhook.ledger.callbacks import MAX_PAGE, CallbackOutbox, CallbackState
from webhook.pipelines import Pipelines


class CallbackFilter(BaseModel):
    """Selects the callbacks to list. A missing field matches all."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Text | None = None
    state: CallbackState | None = None
    key: Text | None = None
    before: Number | None = None
    """``next`` of the previous page."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class CallbackStatus(BaseModel):
    """One callback."""

    id: int
    message: str
    """``webhook-id`` of each of its attempts."""
    pipeline: str
    bucket: str
    key: str
    sequence: int
    settled_as: Literal["done", "parked", "gone"]
    etag: str | None
    reason: str | None
    explanation: str | None
    settled_at: str
    state: CallbackState
    attempts: int
    first_at: str | None
    """When it was sent first."""
    due_at: str | None
    """When it is sent next; null: not any more."""
    ended_at: str | None
    """When it was told or given up."""
    status: int | None
    """HTTP status of the last answer."""
    error: str | None
    """Why the last attempt failed."""


class CallbackCount(BaseModel):
    """What became of a pipeline's callbacks."""

    pipeline: str
    told: int
    waiting: int
    given_up: int
    unaccounted: int
    """Settled objects that are none of these: must be 0."""
    oldest_seconds: float
    """Since the object of the oldest one that waits was settled."""
    off: bool
    """Whether the receiver has turned them off (410)."""


class CallbackPage(BaseModel):
    """One page of callbacks, the newest first."""

    callbacks: list[CallbackStatus]
    counts: list[CallbackCount]
    """Of all pipelines. Only with the first page."""
    next: int | None
    """``before`` of the next page. None: this is the last."""


class CallbackReplay(BaseModel):
    """Selects the callbacks of one pipeline to be told again."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Text
    state: Literal["told", "given-up"] | None = None
    ids: Annotated[list[Number], Field(min_length=1, max_length=1_000)] | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _chosen(self) -> CallbackReplay:
        if self.state is None and self.ids is None:
            raise ValueError("name ids or a state")
        return self


class CallbacksReplayed(BaseModel):
    """Number of callbacks that are told again, or with ``dry_run`` would be."""

    replayed: int
    outdated: int
    """Left alone: a later callback of the same object is there."""


class CallbackApi:
    """Endpoints for callbacks."""

    def __init__(self, outbox: CallbackOutbox, pipelines: Pipelines, auth: AdminAuth) -> None:
        self._outbox = outbox
        self._pipelines = pipelines
        self._auth = auth

    async def callbacks(self, request: Request) -> Response:
        """List callbacks, newest first, and count them by pipeline."""
        self._auth.require(request)
        return json_response(await self.page(read_query(request, CallbackFilter)))

    async def page(self, query: CallbackFilter) -> CallbackPage:
        """One page of callbacks, newest first. Raises LedgerUnavailable."""
        rows = await self._outbox.page(query.pipeline, query.state, query.key, query.before, query.limit)
        counts = [] if query.before else await self._outbox.counts()
        return CallbackPage(
            callbacks=[_shown(row) for row in rows],
            counts=[CallbackCount(**{name: row[name] for name in CallbackCount.model_fields}) for row in counts],
            next=rows[-1]["id"] if len(rows) == query.limit else None,
        )

    async def callback(self, request: Request) -> Response:
        """Show one callback."""
        self._auth.require(request)
        return json_response(await self.found(request))

    async def found(self, request: Request) -> CallbackStatus:
        """The callback that the path names. Raises HttpProblem 404, LedgerUnavailable."""
        absent = HttpProblem(404, "unknown-callback", "there is no callback of that number, or it was pruned")
        row = await self._outbox.one(path_id(request, absent))
        if row is None:
            raise absent
        return _shown(row)

    async def replay_callbacks(self, request: Request) -> Response:
        """Tell an app again what it was told, or what was given up; of each object the latest alone."""
        self._auth.require(request)
        return json_response(await self.replay(await read_model(request, CallbackReplay)))

    async def replay(self, choice: CallbackReplay) -> CallbacksReplayed:
        """Have callbacks told again. Raises HttpProblem 404, LedgerUnavailable."""
        numbers = [number for number, (name, _) in self._pipelines.by_id.items() if name == choice.pipeline]
        if not numbers:
            raise HttpProblem(404, "unknown-pipeline", f"there is no pipeline {choice.pipeline}")
        done = await self._outbox.replay(numbers[0], choice.state, choice.ids, dry_run=choice.dry_run)
        return CallbacksReplayed(replayed=done.replayed, outdated=done.outdated)


def _shown(row: asyncpg.Record) -> CallbackStatus:
    moments = {name: _moment(row[name]) for name in ("settled_at", "first_at", "due_at", "ended_at")}
    if row["state"] != "waiting":
        moments["due_at"] = None
    same = {name: row[name] for name in CallbackStatus.model_fields if name not in moments and name != "sequence"}
    return CallbackStatus.model_validate({**same, **moments, "sequence": row["position"]})


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
