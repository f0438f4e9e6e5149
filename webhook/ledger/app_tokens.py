"""Issues, finds and revokes tokens of apps. The ledger holds only their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger
from webhook.ledger.secret_texts import hash_of, is_well_formed, new_secret

PREFIX = "yurt_app_"
MAX_PAGE = 1_000
ENDED_DAYS = 90
"""For which a token that was revoked or has expired is still listed."""

_HINT_CHARACTERS = len(PREFIX) + 4
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AppToken:
    """One token of an app, as the ledger has it: everything but the token."""

    id: int
    name: str
    hint: str
    """How the token begins."""
    scopes: tuple[str, ...]
    calls_per_second: float
    burst_calls: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    """Accurate to a minute."""
    revoked: bool
    expired: bool


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """What a new token may do."""

    name: str
    scopes: Sequence[str]
    calls_per_second: float
    burst_calls: int
    valid_seconds: float | None
    """None: for ever."""


@dataclass(frozen=True, slots=True)
class NewAppToken:
    """A token that was just made. Shown once: the ledger keeps its hash."""

    secret: str = field(repr=False)
    token: AppToken


class AppTokens:
    """Tokens of apps in a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def issue(self, order: TokenOrder) -> NewAppToken:
        """Make a token."""
        secret = new_secret(PREFIX)
        [row] = await self._ledger.fetch(
            "issue_app_token", storable(order.name), hash_of(secret), secret[:_HINT_CHARACTERS], list(order.scopes),
            order.calls_per_second, order.burst_calls, order.valid_seconds,
        )  # fmt: skip
        return NewAppToken(secret, _token(row))

    async def find(self, secret: str) -> AppToken | None:
        """Find a token, also one that has ended, and note its use. None: there is no such token."""
        if not is_well_formed(secret, PREFIX):
            return None
        rows = await self._ledger.fetch("authenticate_app", hash_of(secret))
        return _token(rows[0]) if rows else None

    async def page(self, *, ended: bool, before: int | None, most: int) -> list[AppToken]:
        """List tokens, newest first, before the number of the last one of the previous page."""
        rows = await self._ledger.fetch("app_tokens", ended, before or _LAST, most)
        return [_token(row) for row in rows]

    async def revoke(self, id: int) -> AppToken | None:
        """Revoke a token. Returns it, or None where there is none of that number."""
        rows = await self._ledger.fetch("revoke_app_token", id)
        return _token(rows[0]) if rows else None


def _token(row: asyncpg.Record) -> AppToken:
    return AppToken(**{**row, "scopes": tuple(row["scopes"])})
