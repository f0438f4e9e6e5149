"""A database that dies while a control plane starts is one to be waited for, whenever it dies."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests import postgres
from tests.chaos.proxy import Cut, Proxy
from webhook.app import prepare
from webhook.ledger.database import LedgerUnavailable

SOCKET = ".s.PGSQL.5432"
MANY = 200
"""More answers than a start takes."""


async def test_a_connection_lost_at_any_answer_is_a_ledger_that_is_away(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (_, own):
        there = Path(parse_qs(urlsplit(own).query)["host"][0]) / SOCKET
        with TemporaryDirectory(prefix="yurt-") as folder:
            proxy = Proxy("database", lambda: [there])
            await proxy.listen(Path(folder, SOCKET))
            name = urlsplit(own).path.removeprefix("/")
            cut_off = 0
            try:
                for answers in range(MANY):
                    cut = Cut("answer", 0.5, after=answers)
                    proxy.arm(cut)
                    try:
                        await prepare(f"postgresql:///{name}?host={quote(folder)}&user=postgres")
                    except LedgerUnavailable:
                        cut_off += 1
                    if not cut.happened.is_set():
                        break
            finally:
                await proxy.aclose()
            assert cut_off > 3
            assert not cut.happened.is_set(), "it never came through"


async def test_a_database_that_is_not_there_is_away(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await prepare(f"postgresql:///none?host={quote(str(tmp_path))}&user=postgres")
