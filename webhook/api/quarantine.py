"""Lists and replays quarantined texts: events that could not be read. Behind the admin token."""

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
from webhook.api.http import HttpProblem, json_response, path_id, read_model, read_query
from webhook.events import UnreadableEvent
from webhook.ledger.cursor import Cursor
from webhook.ledger.ledger import ReceivedEvents
from webhook.ledger.quarantine import MAX_REPLAYED, MAX_SHOWN, QuarantinedTexts, QuarantineQuery
from webhook.pipelines import Pipelines
from webhook.sources import Source


class _QuarantineFields(BaseModel):
    """What quarantined texts are selected by, for a list and for a replay alike."""

    source: Text | None = None
    reason: Text | None = None
    """Part of it."""


class QuarantineFilter(_QuarantineFields, Filter):
    """Selects the quarantined texts to list."""

    limit: Annotated[int, Field(ge=1, le=MAX_SHOWN)] = 100


class QuarantineChoice(_QuarantineFields, Choice):
    """Selects the quarantined texts to replay."""

    limit: Annotated[int, Field(ge=1, le=MAX_REPLAYED)] = MAX_REPLAYED


class QuarantinedItem(BaseModel):
    """One text that could not be read, without the text itself."""

    id: int
    source: str
    reason: str
    received_at: str
    """When it was last received."""
    times: int
    """How often it was received."""
    size_bytes: int
    """Size of the part that is kept."""
    truncated: bool
    """Only the beginning is kept: it cannot be replayed."""


class QuarantinePage(BaseModel):
    """One page of quarantined texts, those received last first."""

    items: list[QuarantinedItem]
    next: str | None
    """``after`` of the next page. None: this is the last."""


class QuarantineText(QuarantinedItem):
    """One quarantined text, as it was received."""

    raw: str | None
    """None where it is not UTF-8."""
    raw_base64: str | None
    """Only where it is not UTF-8."""


class StillRefused(BaseModel):
    """A text that still cannot be read."""

    id: int
    reason: str


class Replay(BaseModel):
    """Result of a replay, or with ``dry_run`` what it would be."""

    replayed: int
    """Texts that could be read: each was received anew, and left the quarantine."""
    verdicts: dict[str, int]
    """Their events by verdict. Empty with ``dry_run``."""
    refused: list[StillRefused]
    truncated: list[int]
    """Numbers of texts of which only the beginning was kept, so that they cannot be read again."""
    next: str | None
    """``after`` of the next call. None: this was the last."""


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
        """List quarantined texts, newest first."""
        self._auth.require(request)
        return json_response(await self.page(read_query(request, QuarantineFilter)))

    async def page(self, query: QuarantineFilter) -> QuarantinePage:
        """One page of quarantined texts. Raises LedgerUnavailable."""
        rows = await self._texts.page(QuarantineQuery(**query.filters()), query.cursor, query.limit)
        return QuarantinePage(
            items=[QuarantinedItem(**_row_fields(row)) for row in rows],
            next=str(Cursor(rows[-1]["received_at"], rows[-1]["id"])) if len(rows) == query.limit else None,
        )

    async def quarantined(self, request: Request) -> Response:
        """Show one quarantined text, as it was received."""
        self._auth.require(request)
        return json_response(await self.text(path_id(request, _absent())))

    async def text(self, id: int) -> QuarantineText:
        """One quarantined text. Raises HttpProblem 404, LedgerUnavailable."""
        row = await self._texts.one(id)
        if row is None:
            raise _absent()
        text = _decoded(row["raw"], whole=not row["truncated"])
        encoded = base64.b64encode(row["raw"]).decode() if text is None else None
        return QuarantineText(**_row_fields(row), raw=text, raw_base64=encoded)

    async def replay(self, request: Request) -> Response:
        """Read quarantined texts again, with the sources as they are now."""
        self._auth.require(request)
        return json_response(await self.replay_chosen(await read_model(request, QuarantineChoice)))

    async def replay_chosen(self, choice: QuarantineChoice) -> Replay:
        """Read the quarantined texts of a choice again. Raises LedgerUnavailable."""
        replayed = await self._texts.replay(
            QuarantineQuery(**choice.filters()), self._read, choice.cursor, choice.limit, dry_run=choice.dry_run
        )
        return Replay(
            replayed=len(replayed.read),
            verdicts={verdict.value: events for verdict, events in replayed.verdicts.items()},
            refused=[StillRefused(id=id, reason=reason) for id, reason in replayed.refused.items()],
            truncated=replayed.truncated,
            next=str(replayed.after) if replayed.after else None,
        )

    def _read(self, source: str, raw: bytes) -> ReceivedEvents:
        try:
            reader = self._sources[source]
        except KeyError:
            known = ", ".join(sorted(self._sources))
            raise UnreadableEvent(f"there is no source {source!r} any more; there are: {known}") from None
        batch = reader.parse(raw)
        if any(text.raw == raw for text in batch.quarantined):  # all of it; what remains of a body is put back in parts
            raise UnreadableEvent(batch.quarantined[0].reason)
        return self._pipelines.route(batch)


def _absent() -> HttpProblem:
    return HttpProblem(404, "not-quarantined", "no text of that number is in quarantine: it may have been replayed")


def _row_fields(row: asyncpg.Record) -> dict[str, object]:
    fields = {name: row[name] for name in ("id", "source", "reason", "times", "size_bytes", "truncated")}
    return {**fields, "received_at": row["received_at"].isoformat()}


def _decoded(raw: bytes, *, whole: bool) -> str | None:
    """Decode a text; None where it is no UTF-8. One that was cut may end within a character."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(raw, final=whole)
    except UnicodeDecodeError:
        return None
