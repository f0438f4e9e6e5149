"""Rows of the simulated ledger's tables, and PostgreSQL's rounding and NULL rules."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


class SimulatedRow(dict[str, Any]):
    """A row as asyncpg returns it, indexed by name or position."""

    def __getitem__(self, at: Any) -> Any:
        return list(self.values())[at] if isinstance(at, int) else super().__getitem__(at)


@dataclass(slots=True)
class Object:
    """One row of ``objects``. Moments are microseconds since the epoch of the simulation."""

    id: int
    pipeline_id: int
    key: str
    state: str
    lane: str
    due_at: int
    event_at: int
    verdict: str
    mark: bytes
    attempts: int = 0
    faults: int = 0
    losses: int = 0
    returns: int = 0
    given_up_by: int | None = None
    seen_at: int | None = None
    event_etag: str | None = None
    event_size: int | None = None
    scheme: str | None = None
    ordinal: bytes | None = None
    ordinal_latest: bytes | None = None
    newest_at: datetime | None = None
    worker_id: int | None = None
    token: int | None = None
    leased_at: int | None = None
    deadline: int | None = None
    rerun_requested: bool = False
    rerun_lane: str | None = None
    publish_started: bool = False
    done_etag: str | None = None
    done_modified: datetime | None = None
    done_at: int | None = None
    done_by: int | None = None
    done_verdict: str | None = None
    published: dict[str, str] | None = None
    error: dict[str, Any] | None = None
    definition: int | None = None


COLUMNS = tuple(item.name for item in fields(Object))
MOMENTS = frozenset({"due_at", "event_at", "seen_at", "leased_at", "deadline", "done_at"})


def moment(micros: int | None) -> datetime | None:
    """Microseconds as PostgreSQL's timestamp."""
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def micros(seconds: float) -> int:
    """Seconds in microseconds, rounded as by PostgreSQL's make_interval."""
    return round(seconds * 1e6)


def coalesce(first: Any, second: Any) -> Any:
    return second if first is None else first


def text_of(document: dict[str, str] | None) -> str | None:
    return None if document is None else json.dumps(document)


def greatest(*values: Any) -> Any:
    """PostgreSQL's greatest(): NULL only if all values are."""
    return max((value for value in values if value is not None), default=None)
