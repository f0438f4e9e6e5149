"""Finished rows are pruned after their time, and the counters add up all the while."""

from __future__ import annotations

import itertools

from tests.webhook.ledger.ledger_bench import HOPELESS, LedgerBench, bench, done, event
from webhook.config import RetentionSettings
from webhook.events import EventKind, Quarantined
from webhook.ledger.ledger import ReceivedEvents
from webhook.ledger.retention import Pruner
from webhook.ledger.run_logs import EndedRun, RunLogs
from webhook.ledger.sweeps import PageResult, SweepCounts, SweepOrder, Sweeps
from webhook.ledger.transitions import NotFound

DAY = 86_400.0


def retention(it: LedgerBench, **days: int) -> Pruner:
    """That looks at few rows at once."""
    return Pruner(it.ledger, RetentionSettings(**days), batch=7)


async def test_what_is_over_is_forgotten_after_its_time_and_nothing_else(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as it:
        await it.record(event("parked.jpg"))
        await it.settle(await it.take(), HOPELESS)
        await it.record(event("done.jpg"))
        await it.settle(await it.take(), done())
        await it.record(event("gone.jpg", kind=EventKind.REMOVED))
        for _ in range(2):
            await it.settle(await it.take("check"), NotFound())
            await it.advance(60)
        await it.record(event("dismissed.jpg"))
        await it.settle(await it.take(), HOPELESS)
        await it.sql("update objects set state = 'forgotten', due_at = yurt_now() where key = 'dismissed.jpg'")
        await it.sql("insert into tally values (0, $1, 'forgotten', 1)", it.photos)
        await it.record(event("leased.jpg"))
        await it.take()
        await it.record(event("pending.jpg"))
        everything = {"done.jpg", "gone.jpg", "parked.jpg", "dismissed.jpg", "leased.jpg", "pending.jpg"}
        await it.advance(9 * DAY)
        assert (await retention(it, done_days=10).prune())["objects"] == 0
        assert {row["key"] for row in await it.rows()} == everything
        await it.advance(2 * DAY)
        assert (await retention(it, done_days=0).prune())["objects"] == 0, "0 is for ever"
        assert (await retention(it, done_days=10).prune())["objects"] == 3
        assert {row["key"] for row in await it.rows()} == {"parked.jpg", "leased.jpg", "pending.jpg"}
        assert await it.balance() == (0, 0)


async def test_the_ledger_stays_bounded_over_many_horizons(postgres_dsn: str) -> None:
    """Forty days of thirty objects a day, of which ten are remembered."""
    async with bench(postgres_dsn) as it:
        numbers = itertools.count()
        sizes = []
        for _ in range(40):
            await it.record(*(event(f"{next(numbers)}.jpg") for _ in range(30)))
            for lease in await it.claim(30):
                await it.settle(lease, done())
            await it.advance(DAY)
            await retention(it, done_days=10).prune()
            sizes.append(len(await it.rows()))
            assert await it.balance() == (0, 0)
        assert sizes[20:] == [300] * 20
        assert await it.counted("done") == {"done": 1200}


async def test_an_object_that_comes_back_after_it_was_forgotten_is_new(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as it:
        same = event("a.jpg", mark="the same")
        await it.record(same)
        await it.settle(await it.take(), done())
        await it.advance(11 * DAY)
        await retention(it, done_days=10).prune()
        await it.record(same)
        lease = await it.take()
        assert lease.done_etag is None, "so the worker reads the manifest"


async def test_machines_that_are_forgotten_still_count(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as it:
        for state in ("gone", "gone", "ready"):
            id = await it.worker(state)
            await it.sql("update workers set ref = 'pid' where id = $1", id)
        await it.worker("gone")  # the provider never accepted this one
        before = [dict(row) for row in await it.ledger.fetch("minted_ever")]
        assert before == [{"pool": "local", "minted": 3, "slain": 2}]
        await it.advance(8 * DAY)
        assert (await retention(it).prune())["workers"] == 3
        assert [dict(row) for row in await it.ledger.fetch("minted_ever")] == before
        await it.sql("update workers set state = 'gone', state_at = yurt_now() - interval '8 days'")
        assert (await retention(it).prune())["workers"] == 1
        assert [dict(row) for row in await it.ledger.fetch("minted_ever")] == [
            {"pool": "local", "minted": 3, "slain": 3}
        ]


async def test_old_quarantined_texts_go(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as it:
        for number in range(20):
            await it.ledger.record([ReceivedEvents(quarantined=[Quarantined("tigris", "no", str(number).encode())])])
        await it.advance(31 * DAY)
        await it.ledger.record([ReceivedEvents(quarantined=[Quarantined("tigris", "no", b"new")])])
        assert (await retention(it).prune())["quarantine"] == 20
        assert await it.sql("select count(*) from quarantine") == 1
        assert await it.balance() == (0, 0)


async def test_old_logs_of_runs_go(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as it:
        logs = RunLogs(it.ledger)
        await logs.add(EndedRun(it.photos, "a.jpg", 1, "printed"))
        await it.advance(9 * DAY)
        await logs.add(EndedRun(it.photos, "b.jpg", 1, "printed"))
        assert (await retention(it).prune())["run_logs"] == 1
        assert [row["key"] for row in await logs.page(["photos"], None, 10)] == ["b.jpg"]


async def test_the_last_sweep_that_came_through_is_remembered(postgres_dsn: str) -> None:
    """The schedule builds on it: without it, everything would be swept anew."""
    async with bench(postgres_dsn) as it:
        sweeps, ended = Sweeps(it.ledger), []
        for _ in range(10):
            begun = await sweeps.begin((await sweeps.order(SweepOrder(it.photos, "full", "", scheduled=True))).id)
            assert begun
            assert await sweeps.commit_page(begun, PageResult("inputs", "", True, SweepCounts()))
            ended.append(begun.id)
        running = await sweeps.order(SweepOrder(it.photos, "full", "", scheduled=True))
        await it.advance(31 * DAY)
        assert (await retention(it).prune())["sweeps"] == 9
        assert {sweep.id for sweep in await sweeps.newest(2**62, 10)} == {ended[-1], running.id}


async def test_wishes_that_have_ended_are_forgotten(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as it:
        await it.ledger.fetch("wake", "a", 2, 60.0)
        await it.ledger.fetch("wake", "a", 1, 600.0)
        await it.advance(60)
        await retention(it).prune()
        assert await it.sql("select array_agg(machines) from wishes") == [1]
