"""Quarantine, for administrators: unreadable events, and reading them again. Behind the admin token."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Mapping
from typing import Annotated

import asyncpg
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.filters import Choice, Filter, Text
from webhook.api.http import HttpProblem, answer, path_id, read_model, read_query
from webhook.events import UnreadableEvent
from webhook.ledger.cursor import Cursor
from webhook.ledger.ledger import ReceivedEvents
from webhook.ledger.quarantine import MAX_REPLAYED, MAX_SHOWN, QuarantinedTexts, QuarantineQuery
from webhook.pipelines import Pipelines
from webhook.sources import Batch, Source


class QuarantineFilter(Filter):
    """Which quarantined texts."""

    source: Text | None = None
    reason: Text | None = None
    """Part of it."""
    limit: Annotated[int, Field(ge=1, le=MAX_SHOWN)] = 100


class QuarantineChoice(Choice):
    """Which quarantined texts are to be read again."""

    source: Text | None = None
    reason: Text | None = None
    """Part of it."""
    limit: Annotated[int, Field(ge=1, le=MAX_REPLAYED)] = MAX_REPLAYED


class QuarantinedItem(BaseModel):
    """One text that could not be read."""

    id: int
    source: str
    reason: str
    received_at: str
    """When it came last."""
    times: int
    """How often it came."""
    size_bytes: int
    """Of what is kept."""
    truncated: bool
    """Only the beginning is kept: it cannot be replayed."""


class QuarantinePage(BaseModel):
    """Quarantined texts, those that came last first."""

    items: list[QuarantinedItem]
    next: str | None
    """``after`` of the next page. None: this is the last."""


class QuarantineText(QuarantinedItem):
    """One quarantined text, as it came."""

    raw: str | None
    """None where it is not UTF-8."""
    raw_base64: str | None
    """Where it is not UTF-8."""


class StillRefused(BaseModel):
    """A text that still cannot be read."""

    id: int
    reason: str


class Replay(BaseModel):
    """What reading again came to, or with ``dry_run`` would come to."""

    replayed: int
    """Texts that could be read: each was received anew, and left the quarantine."""
    verdicts: dict[str, int]
    """What became of their events. Empty with ``dry_run``."""
    refused: list[StillRefused]
    truncated: list[int]
    """Numbers of texts of which only the beginning was kept: nobody can read them again."""
    next: str | None
    """``after`` of the next call. None: that was all."""


class QuarantineApi:
    """Endpoints for the quarantine."""

    def __init__(
        self,
        texts: QuarantinedTexts,
        sources: Mapping[str, Source],
        pipelines: Pipelines,
        auth: AdminAuth,
    ) -> None:
        self._texts = texts
        self._sources = sources
        self._pipelines = pipelines
        self._auth = auth

    async def quarantine(self, request: Request) -> Response:
        """What could not be read, newest first."""
        self._auth.require(request)
        asked = read_query(request, QuarantineFilter)
        rows = await self._texts.page(QuarantineQuery(**asked.filters()), asked.cursor, asked.limit)
        return answer(
            QuarantinePage(
                items=[QuarantinedItem(**_shown(row)) for row in rows],
                next=str(Cursor(rows[-1]["received_at"], rows[-1]["id"])) if len(rows) == asked.limit else None,
            )
        )

    async def quarantined(self, request: Request) -> Response:
        """One text that could not be read, as it came."""
        self._auth.require(request)
        absent = HttpProblem(
            404, "not-quarantined", "no text of that number is in quarantine: it may have been replayed"
        )
        row = await self._texts.one(path_id(request, absent))
        if row is None:
            raise absent
        text = _decoded(row["raw"], whole=not row["truncated"])
        encoded = base64.b64encode(row["raw"]).decode() if text is None else None
        return answer(QuarantineText(**_shown(row), raw=text, raw_base64=encoded))

    async def replay(self, request: Request) -> Response:
        """Read quarantined texts again, with the sources as they are now."""
        self._auth.require(request)
        chosen = await read_model(request, QuarantineChoice)
        found = await self._texts.replay(
            QuarantineQuery(**chosen.filters()), self._read, chosen.cursor, chosen.limit, dry_run=chosen.dry_run
        )
        return answer(
            Replay(
                replayed=len(found.read),
                verdicts={verdict.value: events for verdict, events in found.verdicts.items()},
                refused=[StillRefused(id=id, reason=reason) for id, reason in found.refused.items()],
                truncated=found.truncated,
                next=str(found.after) if found.after else None,
            )
        )

    def _read(self, source: str, raw: bytes) -> ReceivedEvents:
        try:
            reader = self._sources[source]
        except KeyError:
            known = ", ".join(sorted(self._sources))
            raise UnreadableEvent(f"there is no source {source!r} any more; there are: {known}") from None
        return self._pipelines.route(Batch([reader.event(raw)]))


def _shown(row: asyncpg.Record) -> dict[str, object]:
    shown = {name: row[name] for name in ("id", "source", "reason", "times", "size_bytes", "truncated")}
    return {**shown, "received_at": row["received_at"].isoformat()}


def _decoded(raw: bytes, *, whole: bool) -> str | None:
    """The text, or None where it is no UTF-8. One that was cut may end within a character."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(raw, final=whole)
    except UnicodeDecodeError:
        return None
