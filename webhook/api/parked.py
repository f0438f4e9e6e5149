"""Parked objects, for administrators: which there are and why; redrive and forget. Behind the admin token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import asyncpg
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.filters import Choice, Filter, Text
from webhook.api.http import HttpProblem, answer, path_id, read_model, read_query
from webhook.api.status import ParkedObject
from webhook.ledger.cursor import Cursor
from webhook.ledger.parked import MAX_PAGE, BulkResult, ParkedObjects, ParkedQuery


class ParkedFilter(Filter):
    """Which parked objects."""

    pipeline: Text | None = None
    reason: Text | None = None
    prefix: Text | None = None
    key: Text | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class ParkedChoice(Choice):
    """Which parked objects something is to be done with."""

    pipeline: Text | None = None
    reason: Text | None = None
    prefix: Text | None = None
    key: Text | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE


class ParkedCount(BaseModel):
    """How many objects of one pipeline are parked for one reason."""

    pipeline: str
    reason: str
    objects: int


class ParkedPage(BaseModel):
    """Parked objects, those parked last first."""

    objects: list[ParkedObject]
    counts: list[ParkedCount]
    """Of all that the filter finds, most first. Only with the first page."""
    next: str | None
    """``after`` of the next page. None: this is the last."""


class Heard(BaseModel):
    """What events said of the object."""

    at: str
    etag: str | None
    """None where they disagree or name none."""
    size: int | None
    modified: str | None
    """Last-Modified of the newest content heard of or fetched."""


class LastResult(BaseModel):
    """The result that is in the output bucket."""

    etag: str
    """Of the input that it was made from."""
    modified: str | None
    at: str | None


class ParkedDetails(ParkedObject):
    """All that is known of one parked object."""

    lane: str
    """Where it was given up, and where a redrive puts it: with workers, or with the checks of what is gone."""
    faults: int
    """The store's."""
    log: str
    """The end of what the handler printed, its traceback included."""
    heard: Heard
    result: LastResult | None


class Moving(BaseModel):
    """What was done, or with ``dry_run`` would be done."""

    objects: int
    next: str | None
    """``after`` of the next call. None: that was all."""


class ParkedApi:
    """Endpoints for parked objects."""

    def __init__(self, objects: ParkedObjects, auth: AdminAuth) -> None:
        self._objects = objects
        self._auth = auth

    async def parked(self, request: Request) -> Response:
        """Parked objects, newest first, and how many there are by reason."""
        self._auth.require(request)
        asked = read_query(request, ParkedFilter)
        which = ParkedQuery(**asked.filters())
        rows = await self._objects.page(which, asked.cursor, asked.limit)
        counts = [] if asked.after else await self._objects.counts(which)
        return answer(
            ParkedPage(
                objects=[ParkedObject(**_shown(row)) for row in rows],
                counts=[ParkedCount(**row) for row in counts],
                next=str(Cursor(rows[-1]["parked_at"], rows[-1]["id"])) if len(rows) == asked.limit else None,
            )
        )

    async def parked_object(self, request: Request) -> Response:
        """All that is known of one parked object."""
        self._auth.require(request)
        absent = HttpProblem(
            404, "not-parked", "no object of that number is parked: it is worked again, or was forgotten"
        )
        row = await self._objects.one(path_id(request, absent))
        if row is None:
            raise absent
        return answer(_details(row))

    async def redrive(self, request: Request) -> Response:
        """Work parked objects again, now, with all their attempts before them."""
        return await self._move(request, self._objects.redrive)

    async def forget(self, request: Request) -> Response:
        """Leave parked objects as they are: only a new event works them again."""
        return await self._move(request, self._objects.forget)

    async def _move(self, request: Request, move: Callable[..., Awaitable[BulkResult]]) -> Response:
        self._auth.require(request)
        chosen = await read_model(request, ParkedChoice)
        which = ParkedQuery(**chosen.filters())
        if chosen.dry_run:
            return answer(Moving(objects=sum(row["objects"] for row in await self._objects.counts(which)), next=None))
        moved = await move(which, chosen.cursor, chosen.limit)
        return answer(Moving(objects=moved.objects, next=str(moved.after) if moved.after else None))


def _shown(row: asyncpg.Record) -> dict[str, object]:
    shown = {name: row[name] for name in ("id", "pipeline", "bucket", "key", "attempts", "reason", "message")}
    return {**shown, "parked_at": row["parked_at"].isoformat()}


def _details(row: asyncpg.Record) -> ParkedDetails:
    result = None
    if row["done_etag"] is not None:
        result = LastResult(etag=row["done_etag"], modified=_moment(row["done_modified"]), at=_moment(row["done_at"]))
    return ParkedDetails(
        **_shown(row),
        lane=row["lane"],
        faults=row["faults"],
        log=row["log"],
        heard=Heard(
            at=row["event_at"].isoformat(),
            etag=row["event_etag"],
            size=row["event_size"],
            modified=_moment(row["newest_at"]),
        ),
        result=result,
    )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
