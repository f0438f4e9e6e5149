"""Keeps the id of the installation that a ledger is of, and what providers list of others of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from webhook.ledger.database import LedgerUnavailable, LedgerUnusable, connect, disconnect, ledger_errors
from webhook.ledger.dsn import DsnError
from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import Stranger
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    import asyncpg


async def installation_id(dsn: str) -> str:
    """The id that labels of machines hold; empty: there is no such ledger yet, or it does not answer."""
    try:
        connection = await connect(dsn, pooled=True)
    except (DsnError, LedgerUnavailable, LedgerUnusable):
        return ""
    try:
        with ledger_errors():
            return str(await connection.fetchval(QUERIES["installation"]))
    except (LedgerUnavailable, LedgerUnusable):
        return ""
    finally:
        await disconnect(connection)


class InstallationLedger:
    """One installation's part of the fleet: its id, and the strangers at its providers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._installation = ""

    async def installation(self) -> str:
        """The id of this ledger's installation, made once with the ledger."""
        if not self._installation:
            [row] = await self._ledger.fetch("installation")
            self._installation = row["id"]
        return self._installation

    async def note_strangers(self, provider: str, strangers: Sequence[Stranger]) -> frozenset[str]:
        """Keep which machines of other installations of the same name a provider lists.

        Returns the labels of those that an operator wants slain.
        """
        refs = {stranger.label: storable(stranger.ref) for stranger in strangers}
        rows = await self._ledger.fetch("note_strangers", provider, [*refs], [*refs.values()])
        return frozenset(row["label"] for row in rows)

    async def slay_stranger(self, label: str) -> asyncpg.Record | None:
        """Have a machine of another installation of the same name slain. None: no provider lists it."""
        rows = await self._ledger.fetch("slay_stranger", storable(label))
        return rows[0] if rows else None
