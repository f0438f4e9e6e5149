"""PostgreSQL crashes and recovers while callbacks are delivered: nothing is lost, nothing is out of order."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import until
from tests.postgres import OpenPostgres
from tests.webhook.callbacks.delivery_bench import DeliveryBench
from tests.webhook.callbacks.receiving_process import running_app
from tests.webhook.ledger.ledger_bench import LedgerBench
from webhook.app import prepare
from webhook.ledger.database import Database, LedgerUnavailable
from webhook.ledger.ledger import pipeline_id

_CHECKPOINTER = "select pid from pg_stat_activity where backend_type = 'checkpointer'"
"""A process that is another one after a crash."""


@pytest.fixture
def postgres() -> Iterator[OpenPostgres]:
    """A server of this test's own, to be killed. Not below pytest's folder, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="yurt-test-") as name:
        running = OpenPostgres(Path(name))
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.mark.slow
async def test_callbacks_outlive_a_crash_of_the_database(postgres: OpenPostgres, tmp_path: Path) -> None:
    await prepare(postgres.dsn)
    connected = await Database.connect(postgres.dsn, connections=6)
    try:
        numbers = [await pipeline_id(connected, name, "photos-in") for name in ("photos", "videos")]
        d = DeliveryBench(LedgerBench(connected, postgres.dsn, *numbers))
        with running_app(tmp_path / "app") as app:
            await app.start()
            async with d.delivering(app.settings):
                for number in range(3):
                    await d.settle("a.jpg", f"v{number}")
                    await d.settle(f"{number}.jpg")
                await crash(d)
                await d.settle("last.jpg")

                async def all_told() -> bool:
                    try:
                        return list(await d.counts()) == [7, 0, 0, 0]
                    except LedgerUnavailable:
                        return False

                await until(all_told, seconds=90)
            received = app.received()
    finally:
        await connected.aclose()
    assert {told["data"]["key"] for told in received} == {"a.jpg", "0.jpg", "1.jpg", "2.jpg", "last.jpg"}
    assert len({told["id"] for told in received}) == len({told["data"]["sequence"] for told in received}) == 7
    sequences = [told["data"]["sequence"] for told in received if told["data"]["key"] == "a.jpg"]
    assert sequences == sorted(sequences)


async def crash(d: DeliveryBench) -> None:
    """Kill one of PostgreSQL's processes: it ends all others at once, and recovers from its log as after a crash."""
    before = await d.b.sql(_CHECKPOINTER)
    os.kill(await d.b.sql("select pg_backend_pid()"), signal.SIGKILL)

    async def recovered() -> bool:
        try:
            return await d.b.sql(_CHECKPOINTER) not in (None, before)
        except LedgerUnavailable:
            return False

    await until(recovered, seconds=60)
