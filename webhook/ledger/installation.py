"""Reads the id of the installation that a ledger is of, beside a control plane or before one was started."""

from __future__ import annotations

from webhook.ledger.database import LedgerUnavailable, LedgerUnusable, connect, disconnect, ledger_errors
from webhook.ledger.dsn import DsnError
from webhook.ledger.queries import QUERIES


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
