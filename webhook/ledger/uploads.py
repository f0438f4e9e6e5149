"""Keeps tickets by which browsers upload, and multipart uploads that are under way."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger
from webhook.ledger.secret_texts import hash_of, is_well_formed, new_secret

TICKET_PREFIX = "yurt_ticket_"
READ_SECONDS = 7 * 86_400.0
"""For which a ticket's uploads may be finished and read after it has expired."""
UPLOAD_DAYS = 8
"""After which tickets and multipart uploads that ended are deleted. Longer than `READ_SECONDS`."""
_FOLDER_BYTES = 12


@dataclass(frozen=True, slots=True)
class TicketOrder:
    """What a new ticket allows."""

    token_id: int | None
    """The app token that it is made with; None: the admin token."""
    pipeline: str
    prefix: str
    """Of its keys, the pipeline's own included."""
    content_types: Sequence[str]
    max_bytes: int
    uploads: int
    valid_seconds: float


@dataclass(frozen=True, slots=True)
class NewTicket:
    """A ticket that was just made. Shown once: the ledger keeps its hash."""

    secret: str = field(repr=False)
    folder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket, as the ledger has it."""

    id: int
    pipeline: str
    folder: str
    """All keys of its uploads begin so, and no others."""
    content_types: Sequence[str]
    max_bytes: int
    uploads: int
    used: int
    expires_at: datetime
    expired: bool
    forgotten: bool
    """It has expired so long ago that its uploads cannot be read with it any more."""
    orphaned: bool
    """The token that it was made with was revoked or has expired."""


@dataclass(frozen=True, slots=True)
class PartedUpload:
    """A file that is uploaded in parts."""

    id: int
    store_id: str
    """The store's own name of it."""
    pipeline: str
    bucket: str
    key: str
    bytes: int
    part_bytes: int
    ticket_id: int | None
    """None: it was begun with a token."""
    create_only: bool
    expires_at: datetime | None = None

    @property
    def parts(self) -> int:
        """Number of its parts."""
        return -(-self.bytes // self.part_bytes)

    def size_of(self, number: int) -> int:
        """Bytes of one part, counted from 1."""
        return min(self.part_bytes, self.bytes - (number - 1) * self.part_bytes)


class UploadLedger:
    """Tickets and multipart uploads of a ledger.

    Every method raises LedgerUnavailable while the database does not answer.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def issue(self, order: TicketOrder) -> NewTicket:
        """Make a ticket."""
        secret, folder = new_secret(TICKET_PREFIX), f"{order.prefix}{secrets.token_hex(_FOLDER_BYTES)}/"
        [row] = await self._ledger.fetch(
            "issue_ticket", hash_of(secret), order.token_id, order.pipeline, folder, list(order.content_types),
            order.max_bytes, order.uploads, order.valid_seconds,
        )  # fmt: skip
        return NewTicket(secret, folder, row["expires_at"])

    async def ticket(self, secret: str) -> Ticket | None:
        """Find a ticket, also one that has ended. None: there is no such ticket."""
        if not is_well_formed(secret, TICKET_PREFIX):
            return None
        rows = await self._ledger.fetch("find_ticket", hash_of(secret), READ_SECONDS)
        return Ticket(**dict(rows[0])) if rows else None

    async def take(self, ticket: Ticket) -> int | None:
        """Take one of the uploads that a ticket allows. Returns a number for its key alone; None: none is left."""
        rows = await self._ledger.fetch("take_upload", ticket.id)
        return rows[0]["drawn"] if rows else None

    async def give_back(self, ticket: Ticket) -> None:
        """Give back an upload that could not begin."""
        await self._ledger.fetch("return_upload", ticket.id)

    async def begin(self, upload: PartedUpload, valid_seconds: float) -> PartedUpload:
        """Keep a multipart upload that the store has begun. Returns it with its number."""
        [row] = await self._ledger.fetch(
            "begin_multipart", storable(upload.store_id), upload.pipeline, upload.bucket, upload.key, upload.bytes,
            upload.part_bytes, upload.ticket_id, upload.create_only, valid_seconds,
        )  # fmt: skip
        return _upload({**_fields(upload), **row})

    async def multipart(self, id: int) -> PartedUpload | None:
        """Find a multipart upload that is under way."""
        rows = await self._ledger.fetch("multipart", id)
        return _upload(dict(rows[0])) if rows else None

    async def end(self, upload: PartedUpload) -> None:
        """Forget a multipart upload that was completed or aborted."""
        await self._ledger.fetch("end_multipart", upload.id)


def _fields(upload: PartedUpload) -> dict[str, object]:
    return {name: getattr(upload, name) for name in PartedUpload.__dataclass_fields__}


def _upload(row: dict[str, object] | asyncpg.Record) -> PartedUpload:
    return PartedUpload(**dict(row))
