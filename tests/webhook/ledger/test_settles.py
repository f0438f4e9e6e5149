"""The log of settled objects: nothing is skipped and no object's settles change their order, whatever commits when.

The negative model goes by the rows' ids, as most event tables are read: it skips what commits late.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from tests import postgres
from tests.polling import until
from tests.webhook.ledger.ledger_bench import LedgerBench, bench, done, event
from webhook.ledger.ledger import Ledger
from webhook.ledger.retention import Pruner
from webhook.ledger.settles import Settle, SettleLog
from webhook.ledger.transitions import Failure, SameContent

BROKEN = Failure("broken", "It did not work.", retry=False)
INSERT = """
insert into settles (object_id, pipeline_id, key, state, changed, token, settled_at)
values ($1, 1, $2, 'done', true, $3, now())
"""


async def numbered(log: SettleLog) -> list[Settle]:
    await log.number()
    return await log.after(0)


async def test_the_latest_results_are_of_objects_that_got_one(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        log = SettleLog(b.ledger)
        assert await log.latest_results(10) == []
        outcomes = (("a", done()), ("b", done()), ("c", BROKEN), ("a", done("v2")), ("b", SameContent()))
        for key, outcome in outcomes:
            await b.record(event(f"{key}.jpg"))
            await b.settle(await b.take(), outcome)
        await log.number()
        assert await log.latest_results(10) == [(b.photos, "a.jpg"), (b.photos, "b.jpg")]
        assert await log.latest_results(1) == [(b.photos, "a.jpg")]


# ── what is logged ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_end_of_an_object_is_logged_once(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        log = SettleLog(b.ledger)
        await b.record(event("done.jpg"), event("parked.jpg"), event("again.jpg"))
        leases = {lease.key: lease for lease in await b.claim(3)}
        await b.settle(leases["done.jpg"], done(leases["done.jpg"].event_etag or ""))
        await b.settle(leases["parked.jpg"], BROKEN)
        await b.settle(leases["again.jpg"], Failure("broken", "Once more.", retry=True))
        first, second = await numbered(log)
        assert (first.key, first.state, first.changed, first.etag) == (
            "done.jpg", "done", True, leases["done.jpg"].event_etag,
        )  # fmt: skip
        assert (first.position, first.object_id, first.token) == (1, leases["done.jpg"].id, leases["done.jpg"].token)
        assert (second.key, second.state, second.reason, second.message) == (
            "parked.jpg", "parked", "broken", "It did not work.",
        )  # fmt: skip
        assert second.position == 2
        await b.record(event("done.jpg"))
        await b.settle(await b.take(), SameContent())
        assert [(s.position, s.key, s.state, s.changed) for s in (await numbered(log))[2:]] == [
            (3, "done.jpg", "done", False)
        ]


async def test_a_second_settlement_of_a_lease_is_not_logged(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        log = SettleLog(b.ledger)
        await b.record(event("a.jpg"))
        lease = await b.take()
        await b.settle(lease, done("x"))
        with contextlib.suppress(AssertionError):
            await b.settle(lease, done("y"))
        assert [s.etag for s in await numbered(log)] == ["x"]


# ── order and completeness ───────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def writers(dsn: str, number: int) -> AsyncIterator[tuple[SettleLog, SettleLog, list[asyncpg.Connection]]]:
    """The log of an empty ledger, as two replicas have it, and connections that write to it."""
    async with postgres.database(dsn) as (database, own):
        connections = [await asyncpg.connect(own) for _ in range(number)]
        try:
            yield SettleLog(Ledger(database, {})), SettleLog(Ledger(database, {})), connections
        finally:
            for connection in connections:
                await connection.close(timeout=5)


async def by_id(connection: asyncpg.Connection, after: int) -> list[int]:
    """The negative model: rows after the last id that was read."""
    return [row["id"] for row in await connection.fetch("select id from settles where id > $1 order by id", after)]


async def test_a_settle_that_commits_late_is_not_skipped(postgres_dsn: str) -> None:
    async with writers(postgres_dsn, 3) as (log, _, [late, early, reader]):
        open_transaction = late.transaction()
        await open_transaction.start()
        await late.execute(INSERT, 1, "late.jpg", 1)
        await early.execute(INSERT, 2, "early.jpg", 1)
        seen, ids = await numbered(log), await by_id(reader, 0)
        assert [s.key for s in seen] == ["early.jpg"]
        await open_transaction.commit()
        await log.number()
        assert [s.key for s in await log.after(seen[-1].position)] == ["late.jpg"]
        assert await by_id(reader, ids[-1]) == [], "by ids, the late one is skipped"


class SettleWriters:
    """Transactions that settle some of five objects each, one after the other on each connection."""

    def __init__(self, draws: random.Random) -> None:
        self._draws = draws
        self._rows = [asyncio.Lock() for _ in range(5)]
        self.tokens: defaultdict[int, int] = defaultdict(int)
        """The last one of each object."""
        self.writing = True

    async def write(self, connection: asyncpg.Connection) -> None:
        """Write forty transactions."""
        for _ in range(40):
            chosen = sorted(self._draws.sample(range(5), self._draws.randint(1, 3)))
            async with contextlib.AsyncExitStack() as held:
                for number in chosen:  # as rows are locked in the order of their keys
                    await held.enter_async_context(self._rows[number])
                async with connection.transaction():
                    for number in chosen:
                        self.tokens[number] += 1
                        await connection.execute(INSERT, number, f"{number}.jpg", self.tokens[number])
                    await connection.execute("select pg_sleep($1)", self._draws.random() / 200)

    async def number(self, log: SettleLog) -> None:
        """Number as long as there are writers."""
        while self.writing:
            await log.number()

    async def read(self, log: SettleLog) -> list[Settle]:
        """Read to the end, page by page."""
        found: list[Settle] = []
        while self.writing or len(found) < sum(self.tokens.values()):
            found += await log.after(found[-1].position if found else 0, most=self._draws.randint(1, 7))
        return found


@pytest.mark.parametrize("seed", range(4))
async def test_readers_that_go_on_after_their_position_see_all_in_order(postgres_dsn: str, seed: int) -> None:
    work = SettleWriters(random.Random(seed))
    async with writers(postgres_dsn, 4) as (log, other, connections):
        reading = asyncio.create_task(work.read(other))
        numbering = [asyncio.create_task(work.number(each)) for each in (log, other)]
        await asyncio.gather(*map(work.write, connections))
        work.writing = False
        await asyncio.gather(*numbering)
        await log.number()
        found = await asyncio.wait_for(reading, 20)
    assert [s.position for s in found] == list(range(1, len(found) + 1))
    of_object: defaultdict[int, list[int]] = defaultdict(list)
    for settle in found:
        of_object[settle.object_id].append(settle.token or 0)
    assert of_object == {number: list(range(1, last + 1)) for number, last in work.tokens.items()}


# ── following ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def running(log: SettleLog) -> AsyncIterator[None]:
    task = asyncio.create_task(log.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def settle_one(b: LedgerBench, key: str) -> None:
    await b.record(event(key))
    lease = await b.take()
    await b.settle(lease, done(lease.event_etag or ""))


async def test_a_follower_gets_everything_from_its_position_on(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        log = SettleLog(b.ledger)
        async with running(log):
            await settle_one(b, "before.jpg")
            await until_numbered(log, 1)
            got: list[str] = []

            def take(settles: Sequence[Settle]) -> None:
                got.extend(settle.key for settle in settles)

            with log.following(take):
                assert await log.followed() == 1
                for number in range(3):
                    await settle_one(b, f"{number}.jpg")

                async def complete() -> bool:
                    return got == ["0.jpg", "1.jpg", "2.jpg"]

                await until(complete)
            await settle_one(b, "after.jpg")
            await until_numbered(log, 5)
            with log.following(take):
                assert await log.followed() == 5
            assert got == ["0.jpg", "1.jpg", "2.jpg"]


async def until_numbered(log: SettleLog, last: int) -> None:
    async def numbered() -> bool:
        return (await log.end()).last == last

    await until(numbered)


async def test_old_settles_are_pruned_and_the_end_stays(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        log = SettleLog(b.ledger)
        for number in range(4):
            await settle_one(b, f"{number}.jpg")
        await log.number()
        await b.sql("update settles set settled_at = settled_at - interval '4 days' where position < 3")
        assert (await Pruner(b.ledger, OfEvents()).prune())["settles"] == 2
        end = await log.end()
        assert (end.last, end.pruned) == (4, 2)
        assert [s.position for s in await log.after(0)] == [3, 4]
        assert [s.key for s in await log.between(0, 4, [b.photos], "3")] == ["3.jpg"]


class OfEvents:
    """Only the log is pruned."""

    done_days = quarantine_days = workers_days = sweeps_days = callbacks_days = 0
    events_days = 3
