"""Reads what the ledger knows of single objects, for apps: state, attempts, result, error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from webhook.ledger.ledger import Ledger
from webhook.ledger.sweeps import END

ObjectStateName = Literal["pending", "leased", "done", "parked", "gone", "forgotten"]
_VERSION_CHARACTERS = 16
_VERSIONED = ("state", "lane", "token", "attempts", "event_at", "rerun_requested", "done_at", "done_etag")
"""What makes one state of an object another one."""


@dataclass(frozen=True, slots=True)
class KnownObject:
    """One object, as the ledger has it."""

    pipeline_id: int
    key: str
    state: ObjectStateName
    lane: str
    attempts: int
    rerun_requested: bool
    """A newer event came while it is worked on."""
    event_at: datetime
    event_size: int | None
    due_in_seconds: float
    """Of a pending one, until it is due."""
    done_etag: str | None
    """Of the content that the result was made from; None: there is no result."""
    done_modified: datetime | None
    done_at: datetime | None
    published: Mapping[str, str]
    """Output name to ETag."""
    reason: str | None
    message: str | None
    version: str
    """Another one whenever something of the object has changed."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing happens to it until there is an event."""
        return self.state not in ("pending", "leased")


class KnownObjects:
    """Objects of a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def one(self, pipeline_id: int, key: str) -> KnownObject | None:
        """One object, or None where the ledger knows none of this key."""
        rows = await self._ledger.fetch("known_object", pipeline_id, key)
        return _known(rows[0]) if rows else None

    async def page(self, pipeline_id: int, prefix: str, after: str, most: int) -> Sequence[KnownObject]:
        """Objects whose keys begin so, in the order of the keys' bytes, after one of them."""
        rows = await self._ledger.fetch("known_objects", pipeline_id, prefix, prefix + END, after, most)
        return [_known(row) for row in rows]


def _known(row: asyncpg.Record) -> KnownObject:
    seen = json.dumps([str(row[name]) for name in _VERSIONED]).encode()
    fields = {name: row[name] for name in KnownObject.__dataclass_fields__ if name not in ("version", "published")}
    version = hashlib.sha256(seen).hexdigest()[:_VERSION_CHARACTERS]
    return KnownObject(**fields, published=json.loads(row["published"] or "{}"), version=version)
