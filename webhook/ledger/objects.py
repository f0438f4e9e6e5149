"""Finds objects by key, state and verdict, and reads all that is known of one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.ledger import Ledger
from webhook.ledger.transitions import ResultVerdict

MAX_PAGE = 200
"""Objects that one page shows."""
LOOKED_AT = 20_000
"""Objects that one search looks at. A search for what is rare goes on in the next one."""
_BEHIND = "\U0010ffff"
"""Sorts behind every character that a key has in practice."""


@dataclass(frozen=True, slots=True)
class ObjectSelection:
    """Filter of one pipeline's objects."""

    pipeline_id: int
    prefix: str = ""
    """Of the key."""
    part: str | None = None
    """That the key contains. None: any."""
    state: str | None = None
    """None: any."""
    verdict: ResultVerdict | None = None
    """Of the result's checks. None: any, or none."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One row of a search."""

    key: str
    state: str
    attempts: int
    event_at: datetime
    event_size: int | None
    done_at: datetime | None
    verdict: ResultVerdict | None
    """Of the result's checks."""
    reason: str
    """Of the last failure; empty: there is none."""


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """One page of a search."""

    objects: list[FoundObject]
    looked: int
    """Objects that this search looked at."""
    next: str | None
    """Key after which the next page begins. None: there is nothing more."""


@dataclass(frozen=True, slots=True)
class ObjectStory:
    """All that the ledger knows of one object."""

    id: int
    pipeline_id: int
    key: str
    state: str
    lane: str
    due_at: datetime
    attempts: int
    faults: int
    event_at: datetime
    verdict: str
    event_etag: str | None
    event_size: int | None
    newest_at: datetime | None
    token: int | None
    deadline: datetime | None
    rerun_requested: bool
    done_etag: str | None
    done_modified: datetime | None
    done_at: datetime | None
    done_verdict: ResultVerdict | None
    published: Mapping[str, str]
    """Names of the outputs to their ETags."""
    reason: str
    message: str
    log: str
    worker_id: int | None
    worker: str | None
    """Label of the machine that holds it now."""
    moment: datetime
    """The ledger's time."""


@dataclass(frozen=True, slots=True)
class ObjectStanding:
    """What has become of one object."""

    state: str
    event_at: datetime
    done_at: datetime | None
    published: Mapping[str, str]
    attempts: int
    reason: str
    message: str


class ObjectRows:
    """Objects of a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(self, which: ObjectSelection, after: str = "", most: int = 50) -> FoundObjects:
        """Find up to ``most`` objects in the order of their keys, after one."""
        rows = await self._ledger.fetch(
            "object_page" if which.verdict in (None, "ok") else "object_page_unwanted",
            which.pipeline_id, after, which.prefix, which.prefix + _BEHIND if which.prefix else None,
            which.state, which.part, LOOKED_AT, most, which.verdict,
        )  # fmt: skip
        found = [_found(row) for row in rows if row["key"] is not None]
        looked, last = rows[0]["looked"], rows[0]["last"]
        following = found[-1].key if len(found) == most else (last if looked == LOOKED_AT else None)
        return FoundObjects(found, looked, following)

    async def story(self, pipeline_id: int, key: str) -> ObjectStory | None:
        """All that is known of one object. None: the ledger does not know it."""
        rows = await self._ledger.fetch("object_story", pipeline_id, key)
        if not rows:
            return None
        fields: dict[str, Any] = dict(rows[0])
        return ObjectStory(**{**fields, "published": _published(fields["published"])})

    async def progress(self, places: Sequence[ObjectPlace]) -> list[ObjectStanding | None]:
        """What has become of some objects, by position. None: the ledger does not know it."""
        rows = await self._ledger.fetch("objects_at", [place[0] for place in places], [place[1] for place in places])
        found: list[ObjectStanding | None] = [None] * len(places)
        for row in rows:
            found[row["position"] - 1] = ObjectStanding(
                row["state"], row["event_at"], row["done_at"], _published(row["published"]), row["attempts"],
                row["reason"], row["message"],
            )  # fmt: skip
        return found


def _found(row: asyncpg.Record) -> FoundObject:
    return FoundObject(
        row["key"], row["state"], row["attempts"], row["event_at"], row["event_size"], row["done_at"],
        row["verdict"], row["reason"] or "",
    )  # fmt: skip


def _published(text: str | None) -> Mapping[str, str]:
    return json.loads(text) if text else {}
