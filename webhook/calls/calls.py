"""Records calls of functions as events, and tells how they have ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from webhook.config import Pipeline
from webhook.events import ContentVersion, EventKind, ObjectEvent, mark_of
from webhook.ledger.ledger import Ledger, ReceivedEvents
from webhook.ledger.parked import ParkedObjects, ParkedQuery
from webhook.outputs.keys import output_key
from webhook.pipelines import Pipelines
from webhook.storage import ObjectHead, ObjectStore
from workers.protocol import Download

PIPELINE = "{}-calls"
"""Name of the pipeline that runs a function's calls."""
SOURCE = "call"
VALUE = "value.json"
_PUT_SECONDS, _GET_SECONDS = 900, 900
_SHORTEST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 0.25
_POLL_SHARE = 0.1
"""Of the time waited so far: short calls are seen to end at once, and long ones cost few statements."""

CallState = Literal["unknown", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class CallProgress:
    """How far one call is."""

    id: str
    state: CallState
    reason: str = ""
    message: str = ""
    log: str = ""
    """Of a failed one."""

    @property
    def is_made(self) -> bool:
        """Whether it runs or has returned: then it is not to be made again."""
        return self.state in ("running", "done")


@dataclass(frozen=True, slots=True)
class CalledFunction:
    """The pipeline that runs the calls of one function."""

    number: int
    """In the ledger."""
    pipeline: Pipeline

    def key(self, id: str) -> str:
        """Key of a call's arguments."""
        return self.pipeline.input.prefix + id


class Calls:
    """The calls of all functions. Methods raise LedgerUnavailable, StoreError while these fail."""

    def __init__(self, ledger: Ledger, pipelines: Pipelines, store: ObjectStore) -> None:
        self._ledger = ledger
        self._parked = ParkedObjects(ledger)
        self._pipelines = pipelines
        self._store = store

    def function(self, name: str) -> CalledFunction | None:
        """Find a deployed function by its name."""
        wanted = PIPELINE.format(name)
        for number, (own, pipeline) in self._pipelines.by_id.items():
            if own == wanted and pipeline.handler == "function" and pipeline.options.get("calls"):
                return CalledFunction(number, pipeline)
        return None

    def upload(self, function: CalledFunction, id: str, size: int) -> Download:
        """Sign the upload of a call's arguments, with their length."""
        headers = {"content-type": "application/zip"}
        url = self._store.presigner.url(
            "PUT", function.pipeline.input.bucket, function.key(id), expires_seconds=_PUT_SECONDS,
            headers={**headers, "content-length": str(size)},
        )  # fmt: skip
        return Download(url=url, headers=headers)

    def value(self, function: CalledFunction, id: str) -> Download:
        """Sign a GET of what a call has returned."""
        key = output_key(function.pipeline, function.key(id), VALUE)
        url = self._store.presigner.url("GET", function.pipeline.output.bucket, key, expires_seconds=_GET_SECONDS)
        return Download(url=url)

    async def begin(self, function: CalledFunction, ids: Sequence[str]) -> list[str]:
        """Record calls whose arguments are in the bucket as events. Returns the ids of those whose are not.

        It may be repeated: a call is begun by it alone, never by what the store tells of its arguments.
        """
        bucket = function.pipeline.input.bucket
        heads = await self._heads(function, ids)
        events = [
            ObjectEvent(
                SOURCE, bucket, function.key(id), EventKind.CREATED,
                ContentVersion(head.etag or None, head.modified), head.size,
                mark_of(SOURCE, bucket, function.key(id), head.etag, head.modified),
            )
            for id, head in zip(ids, heads, strict=True)
            if head is not None
        ]  # fmt: skip
        await self._ledger.record([ReceivedEvents([(function.number, event) for event in events], (), ())])
        return [id for id, head in zip(ids, heads, strict=True) if head is None]

    async def again(self, function: CalledFunction, ids: Sequence[str]) -> frozenset[str]:
        """Have those of these calls run once more that have failed and whose arguments are still in the bucket.

        Returns their ids.
        """
        failed = [row for row in await self._rows(function, ids) if row["state"] == "parked"]
        own = {function.key(id): id for id in ids}
        numbers = {own[row["key"]]: row["id"] for row in failed}
        heads = await self._heads(function, [*numbers])
        redriven = [id for id, head in zip(numbers, heads, strict=True) if head is not None]
        if redriven:
            await self._parked.redrive(ParkedQuery(ids=[numbers[id] for id in redriven]))
        return frozenset(redriven)

    async def _heads(self, function: CalledFunction, ids: Sequence[str]) -> list[ObjectHead | None]:
        bucket = function.pipeline.input.bucket
        return await asyncio.gather(*(self._store.head(bucket, function.key(id), consistent=True) for id in ids))

    async def progress(self, function: CalledFunction, ids: Sequence[str]) -> list[CallProgress]:
        """Tell how far calls are, in the order of ``ids``."""
        found = {row["key"]: row for row in await self._rows(function, ids)}
        return [_progress(id, found.get(function.key(id))) for id in ids]

    async def wait(self, function: CalledFunction, ids: Sequence[str], wait_seconds: float) -> list[CallProgress]:
        """Tell how far calls are once one of them has ended, or the time is over."""
        begun = time.monotonic()
        while True:
            progress = await self.progress(function, ids)
            waited = time.monotonic() - begun
            if waited >= wait_seconds or not _all_running(progress):
                return progress
            pause = min(max(waited * _POLL_SHARE, _SHORTEST_POLL_SECONDS), _LONGEST_POLL_SECONDS)
            await asyncio.sleep(min(pause, wait_seconds - waited))

    async def _rows(self, function: CalledFunction, ids: Sequence[str]) -> list[asyncpg.Record]:
        return await self._ledger.fetch("calls", function.number, [function.key(id) for id in ids])


def _all_running(progress: Collection[CallProgress]) -> bool:
    return all(call.state == "running" for call in progress)


def _progress(id: str, row: asyncpg.Record | None) -> CallProgress:
    if row is None:
        return CallProgress(id, "unknown")
    state, reason, message, log = (row[name] for name in ("state", "reason", "message", "log"))
    match state:
        case "done":
            return CallProgress(id, "done")
        case "parked":
            return CallProgress(id, "failed", reason, message, log)
        case "gone":
            return CallProgress(id, "failed", "expired", "The call's arguments are not in the bucket any more.")
        case _:
            return CallProgress(id, "running")
