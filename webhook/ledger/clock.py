"""Follows the database's clock when it is set back, so that nothing waits until it shows the old time again.

What is due, a lease's deadline and what was seen last are moments of that clock. After it was set back by an hour, they
would lie up to an hour in the future: a file would wait for so long, and a lease whose worker is gone would live on. So
every moment in the future is moved by as much as the clock was. Those that were in the past before stay there, those
that were due in five minutes are due in five minutes.

Moments that come from elsewhere are not moved: Last-Modified, and the end of an invitation that an operator was told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from webhook.ledger.database import Database
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

NOTICED_SECONDS = 10.0
"""By how much a clock has to be set back to be noticed: nothing waits for longer than that."""
_KEPT_SECONDS = 5.0
"""Between two readings that are written down."""
_MOVE_SECONDS = 300.0
"""For one table: it is read whole, since no index knows all moments."""
_MOVED = ("move_objects", "move_workers", "move_sweeps", "move_remaining", "move_senders")


async def follow_clock(database: Database) -> float:
    """Read the clock, and move all moments if it was set back. Returns by how many seconds; 0 if it was not."""
    async with database.connection() as connection:
        behind_seconds = await connection.fetchval(QUERIES["clock_behind"])
        if -_KEPT_SECONDS < behind_seconds <= NOTICED_SECONDS:
            return 0.0
        if behind_seconds < 0:
            await connection.execute(QUERIES["keep_reading"])
            return 0.0
    return await database.transact(_move)


async def _move(connection: Connection) -> float:
    # Locked and read again: another replica may have moved everything meanwhile.
    [reading] = await connection.fetch(QUERIES["lock_reading"])
    latest: datetime = reading["latest"]
    now: datetime = reading["now"]
    back = latest - now
    if back <= timedelta(seconds=NOTICED_SECONDS):
        return 0.0
    for name in _MOVED:
        await connection.execute(QUERIES[name], now, back, timeout=_MOVE_SECONDS)
    await connection.execute(QUERIES["replace_reading"], now)
    return back.total_seconds()
