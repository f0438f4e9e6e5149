"""Decodes rows of leased objects, and encodes their next states for the statement ``settle``."""

from __future__ import annotations

import math
from datetime import datetime

import asyncpg

from webhook.events import utc
from webhook.ledger.transitions import LeasedRow, NextState


def leased(row: asyncpg.Record) -> LeasedRow:
    """Decode a row that this transaction has locked."""
    return LeasedRow(
        row["id"], row["pipeline_id"], row["lane"], row["attempts"], row["faults"], row["losses"],
        row["returns"], row["worker_id"], row["given_up_by"],
        row["rerun_requested"], row["rerun_lane"], row["event_etag"], row["done_etag"],
        _or(row["asked_after_seconds"], 0.0), _or(row["unseen_seconds"], math.inf), row["event_age_seconds"],
    )  # fmt: skip


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def settled(row: LeasedRow, following: NextState) -> dict[str, object]:
    """Encode one row's next state as the statement ``settle`` reads it."""
    fields: dict[str, object] = {
        "id": row.id,
        "state": following.state,
        "lane": following.lane,
        "delay_seconds": following.delay_seconds,
        "restart": following.restart,
        "attempts": following.attempts,
        "faults": following.faults,
        "losses": following.losses,
        "finished": following.finished,
        "forget": following.forget,
        "seen": following.seen,
        "changed": "unchanged" not in following.counted,
    }
    # Left out where they are 0 or unknown, as with nearly every settlement.
    if following.returns:
        fields["returns"] = following.returns
    if following.given_up_by is not None:
        fields["given_up_by"] = following.given_up_by
    if following.error is not None:
        error = {"reason": following.error.reason, "message": following.error.message, "log": following.error.log}
        said_by = {} if row.worker_id is None else {"worker": row.worker_id}
        fields["error"] = {**{name: storable(text) for name, text in error.items()}, **said_by}
    if following.result is not None:
        fields["done_etag"] = storable(following.result.etag)
        fields["done_by"] = following.result.by
        fields["done_modified"] = _moment(following.result.modified)
        if following.result.verdict is not None:
            fields["done_verdict"] = following.result.verdict
        fields["published"] = {storable(name): storable(etag) for name, etag in following.result.published.items()}
    return fields


def _moment(moment: datetime | None) -> datetime | None:
    """The moment in UTC, or None where PostgreSQL cannot hold it.

    A worker sent it: an impossible value must not fail the other settlements of its batch.
    """
    try:
        return None if moment is None else utc(moment)
    except OverflowError:
        return None


def storable(text: str) -> str:
    """Replace characters that PostgreSQL's text and jsonb cannot hold: NUL and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
