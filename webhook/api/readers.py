"""Finds out which objects a request may read: by a token with the scope ``read``, or a ticket's own uploads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from webhook.api.app_auth import AppAuth
from webhook.api.auth import bearer
from webhook.api.http import HttpProblem
from webhook.api.tickets import TicketAuth
from webhook.ledger.uploads import TICKET_PREFIX
from webhook.pipelines import Pipelines


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """What a request may read."""

    pipelines: Sequence[int]
    """Numbers of pipelines."""
    prefix: str = ""
    """Of keys: nothing outside may be read."""

    def check(self, key: str) -> None:
        """Raise HttpProblem 403 for a key that may not be read."""
        if not key.startswith(self.prefix):
            raise HttpProblem(403, "outside-ticket", "a ticket reads only what was uploaded with it")

    def narrowed(self, prefix: str) -> str:
        """The prefix that is asked for, within what may be read. Raises HttpProblem 403."""
        if self.prefix.startswith(prefix):
            return self.prefix
        if not prefix.startswith(self.prefix):
            raise HttpProblem(403, "outside-ticket", "a ticket reads only what was uploaded with it")
        return prefix


class Readers:
    """Authenticates requests that read objects, by token or ticket."""

    def __init__(self, apps: AppAuth, tickets: TicketAuth, pipelines: Pipelines) -> None:
        self._apps = apps
        self._tickets = tickets
        self._pipelines = pipelines

    async def of(self, request: Request, pipeline: str | None, ticket: str | None = None) -> ObjectReader:
        """What a request may read of one pipeline, or of all (None).

        ``ticket`` takes the place of a credential in the header. Raises HttpProblem 401, 403, 404 or 429,
        LedgerUnavailable.
        """
        secret = ticket or bearer(request)
        if ticket or secret.startswith(TICKET_PREFIX):
            known = await self._tickets.reading(request, secret)
            if pipeline not in (None, known.pipeline):
                raise HttpProblem(403, "outside-ticket", "a ticket reads only what was uploaded with it")
            return ObjectReader(self._numbers(known.pipeline), known.folder)
        if pipeline is not None:
            await self._apps.require(request, f"read:{pipeline}")
            return ObjectReader(self._numbers(pipeline))
        caller = await self._apps.caller(request)
        readable = [n for n, (name, _) in self._pipelines.by_id.items() if caller.allows(f"read:{name}")]
        if not readable:
            raise HttpProblem(
                403, "scope-missing",
                "this token may read no pipeline: make one with yurt tokens create NAME --scope read:…",
            )  # fmt: skip
        return ObjectReader(readable)

    def _numbers(self, pipeline: str) -> Sequence[int]:
        numbers = [number for number, (name, _) in self._pipelines.by_id.items() if name == pipeline]
        if not numbers:
            raise HttpProblem(404, "unknown-pipeline", "there is no pipeline of that name")
        return numbers
