"""Stores answers of services that clients fetch later: how far each is, status, headers, and where its body is."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger
from webhook.ledger.services import REPLICA_SECONDS, Replica

AnswerState = Literal["pending", "done", "failed", "lost"]
"""``lost``: the replica of the control plane that had the request is gone, and the request with it."""


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """Where the body of an answer is."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class FinishedAnswer:
    """How a request has ended: with an answer of the server's, or with a problem."""

    status: int = 0
    headers: Sequence[tuple[str, str]] = ()
    bytes: int = 0
    error: str = ""
    """Of one that has failed: a code."""
    message: str = ""

    @property
    def state(self) -> AnswerState:
        """What it is called."""
        return "failed" if self.error else "done"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One answer, as the ledger has it."""

    service: str
    state: AnswerState
    place: AnswerPlace
    finished: FinishedAnswer
    expires_at: datetime


class AnswerLedger:
    """Answers in the ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def begin(self, id: str, service: str, replica: Replica, place: AnswerPlace, keep_seconds: float) -> None:
        """Note that a replica has a request whose answer will be fetched later."""
        await self._ledger.fetch(
            "begin_answer", id, service, replica.id, place.bucket, place.key, keep_seconds,
            replica.token_hash, replica.url, REPLICA_SECONDS,
        )  # fmt: skip

    async def find(self, id: str) -> StoredAnswer | None:
        """Find an answer; None: there is none of that id, or no more."""
        rows = await self._ledger.fetch("find_answer", storable(id))
        if not rows:
            return None
        [row] = rows
        headers = [(name, value) for name, value in json.loads(row["headers"])]
        finished = FinishedAnswer(row["status"], headers, row["bytes"], row["error"], row["message"])
        place = AnswerPlace(row["bucket"], row["key"])
        return StoredAnswer(row["service"], row["state"], place, finished, row["expires_at"])

    async def finish(self, id: str, finished: FinishedAnswer) -> bool:
        """Note how a request has ended. False: its answer is not wanted any more."""
        headers = json.dumps([(storable(name), storable(value)) for name, value in finished.headers])
        rows = await self._ledger.fetch(
            "finish_answer", id, finished.state, finished.status, headers, finished.bytes, finished.error,
            storable(finished.message),
        )  # fmt: skip
        return bool(rows)

    async def wanted(self, ids: Collection[str]) -> set[str]:
        """Which of these answers are still wanted."""
        return {row["id"] for row in await self._ledger.fetch("wanted_answers", [*ids])}

    async def forget(self, id: str) -> AnswerPlace | None:
        """Forget an answer. Returns where its body is, if it is there; None: the answer is not known."""
        rows = await self._ledger.fetch("forget_answer", storable(id))
        return AnswerPlace(**rows[0]) if rows else None

    async def expired(self, most: int) -> list[str]:
        """Some answers that have expired."""
        return [row["id"] for row in await self._ledger.fetch("expired_answers", most)]
