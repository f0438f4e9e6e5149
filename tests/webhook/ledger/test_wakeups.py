"""Long polls are woken at once, and still are when the connection that listens was lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.polling import until
from tests.webhook.long_polls import listening, polling
from tests.webhook.plane import RunningPlane, control_plane, event
from webhook.ledger.wakeups import Wakeups


@pytest.fixture
def no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only notifications wake long polls."""
    monkeypatch.setattr("webhook.ledger.wakeups.TICK_SECONDS", 3600)


def test_only_those_who_listen_to_a_pipeline_are_rung() -> None:
    wakeups = Wakeups()
    with wakeups.listening([1, 2]) as both, wakeups.listening([2]) as one:
        wakeups.wake([1, 3])
        assert (both.is_set(), one.is_set()) == (True, False)
        wakeups.wake()
        assert one.is_set()
    both.clear()
    wakeups.wake([1, 2])
    assert not both.is_set()


async def backends(plane: RunningPlane) -> list[int]:
    """The server's processes that listen for the plane."""
    rows = await plane.sql(
        "select pid from pg_stat_activity where datname = current_database() and query ilike 'listen %'"
    )
    return [int(row["pid"]) for row in rows]


@pytest.mark.usefixtures("no_tick")
async def test_a_lost_connection_is_made_again_and_still_wakes(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await listening(plane, 1)
        worker = await plane.worker()
        [lost] = await backends(plane)
        await plane.sql("select pg_terminate_backend($1)", lost)

        async def made_again() -> bool:  # the lost one is still there for a moment
            return await backends(plane) not in ([lost], [])

        await until(made_again)
        poll = asyncio.create_task(worker.ask(wait=30))
        await until(lambda: polling(plane))
        await plane.notify(event("a.jpg"))
        assert [lease.key for lease in (await poll).leases] == ["a.jpg"]


@pytest.mark.usefixtures("no_tick")
async def test_what_was_notified_while_nobody_listened_is_looked_for(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await listening(plane, 1)
        worker = await plane.worker()
        poll = asyncio.create_task(worker.ask(wait=30))
        await until(lambda: polling(plane))
        # Unheard: as if the notification had gone with the connection.
        await plane.sql(
            "insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark) "
            "values (1, 'quiet.jpg', 'pending', 'work', now(), now(), 'accepted', '')"
        )
        await plane.sql("select pg_terminate_backend($1)", (await backends(plane))[0])
        assert [lease.key for lease in (await poll).leases] == ["quiet.jpg"]


async def test_the_slow_tick_wakes_for_what_becomes_due_by_itself(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        poll = asyncio.create_task(worker.ask(wait=30))
        await until(lambda: polling(plane))
        await plane.sql(
            "insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark) "
            "values (1, 'later.jpg', 'pending', 'work', now() + interval '100 ms', now(), 'accepted', '')"
        )
        assert [lease.key for lease in (await poll).leases] == ["later.jpg"]
