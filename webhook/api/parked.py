"""Lists, redrives and forgets parked objects. Behind the admin token."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import asyncpg
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.filters import Choice, Filter, Text
from webhook.api.http import HttpProblem, json_response, path_id, read_model, read_query
from webhook.api.status import ParkedObject
from webhook.ledger.cursor import Cursor
from webhook.ledger.parked import MAX_PAGE, ParkedObjects, ParkedQuery


class _ParkedFields(BaseModel):
    """What parked objects are selected by, for a list and for a change alike."""

    pipeline: Text | None = None
    reason: Text | None = None
    prefix: Text | None = None
    """Of the key."""
    key: Text | None = None


class ParkedFilter(_ParkedFields, Filter):
    """Selects the parked objects to list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100


class ParkedChoice(_ParkedFields, Choice):
    """Selects the parked objects to redrive or forget."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE


class ParkedCount(BaseModel):
    """Number of objects that one pipeline has parked for one reason."""

    pipeline: str
    reason: str
    objects: int


class ParkedPage(BaseModel):
    """One page of parked objects, those parked last first."""

    objects: list[ParkedObject]
    counts: list[ParkedCount]
    """Of all that the filter matches, most first. Only with the first page."""
    next: str | None
    """``after`` of the next page. None: this is the last."""


class AnnouncedContent(BaseModel):
    """The object's content, as its events describe it."""

    at: str
    etag: str | None
    """None where the events disagree or name none."""
    size: int | None
    modified: str | None
    """Last-Modified of the newest content that was announced or fetched."""


class LastResult(BaseModel):
    """The result that is in the output bucket."""

    etag: str
    """ETag of the input that it was made from."""
    modified: str | None
    at: str | None


class ParkedDetails(ParkedObject):
    """One parked object with its log, its events and its last result."""

    lane: str
    """The lane that a redrive puts it in: ``work`` for workers, ``check`` for the control plane's checks."""
    faults: int
    """Faults of the store."""
    log: str
    """The end of the handler's log, its traceback included."""
    heard: AnnouncedContent
    result: LastResult | None


class Moving(BaseModel):
    """Number of objects that were moved, or with ``dry_run`` would be."""

    objects: int
    next: str | None
    """``after`` of the next call. None: this was the last."""


class ParkedApi:
    """Endpoints for parked objects."""

    def __init__(self, objects: ParkedObjects, auth: AdminAuth) -> None:
        self._objects = objects
        self._auth = auth

    async def parked(self, request: Request) -> Response:
        """List parked objects, newest first, and count them by reason."""
        self._auth.require(request)
        return json_response(await self.page(read_query(request, ParkedFilter)))

    async def page(self, query: ParkedFilter) -> ParkedPage:
        """One page of parked objects. Raises LedgerUnavailable."""
        selection = ParkedQuery(**query.filters())
        rows = await self._objects.page(selection, query.cursor, query.limit)
        counts = [] if query.after else await self._objects.counts(selection)
        return ParkedPage(
            objects=[ParkedObject(**_row_fields(row)) for row in rows],
            counts=[ParkedCount(**row) for row in counts],
            next=str(Cursor(rows[-1]["parked_at"], rows[-1]["id"])) if len(rows) == query.limit else None,
        )

    async def parked_object(self, request: Request) -> Response:
        """Show one parked object with its log, its events and its last result."""
        self._auth.require(request)
        return json_response(await self.details(path_id(request, _absent())))

    async def details(self, id: int) -> ParkedDetails:
        """One parked object. Raises HttpProblem 404, LedgerUnavailable."""
        row = await self._objects.one(id)
        if row is None:
            raise _absent()
        return _details(row)

    async def redrive(self, request: Request) -> Response:
        """Make parked objects due now, with all their attempts."""
        self._auth.require(request)
        return json_response(await self.move("redrive", await read_model(request, ParkedChoice)))

    async def forget(self, request: Request) -> Response:
        """End parked objects' changes without processing them: only a later event starts them again."""
        self._auth.require(request)
        return json_response(await self.move("forget", await read_model(request, ParkedChoice)))

    async def move(self, verb: Literal["redrive", "forget"], choice: ParkedChoice) -> Moving:
        """Redrive or forget the parked objects of a choice. Raises LedgerUnavailable."""
        selection = ParkedQuery(**choice.filters())
        if choice.dry_run:
            return Moving(objects=sum(row["objects"] for row in await self._objects.counts(selection)), next=None)
        change = self._objects.redrive if verb == "redrive" else self._objects.forget
        moved = await change(selection, choice.cursor, choice.limit)
        return Moving(objects=moved.objects, next=str(moved.after) if moved.after else None)


def _absent() -> HttpProblem:
    return HttpProblem(404, "not-parked", "no object of that number is parked: it is worked again, or was forgotten")


def _row_fields(row: asyncpg.Record) -> dict[str, object]:
    fields = {name: row[name] for name in ("id", "pipeline", "bucket", "key", "attempts", "reason", "message")}
    return {**fields, "parked_at": row["parked_at"].isoformat()}


def _details(row: asyncpg.Record) -> ParkedDetails:
    result = None
    if row["done_etag"] is not None:
        result = LastResult(etag=row["done_etag"], modified=_moment(row["done_modified"]), at=_moment(row["done_at"]))
    return ParkedDetails(
        **_row_fields(row),
        lane=row["lane"],
        faults=row["faults"],
        log=row["log"],
        heard=AnnouncedContent(
            at=row["event_at"].isoformat(),
            etag=row["event_etag"],
            size=row["event_size"],
            modified=_moment(row["newest_at"]),
        ),
        result=result,
    )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
