"""The outbox of callbacks: nothing is left out, nothing is twice, and of each object the first comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.webhook.ledger.ledger_bench import BROKEN, HOPELESS, LedgerBench, bench, done, event
from webhook.ledger.callbacks import GIVE_UP_SECONDS, CallbackOutbox, ClaimedCallback, ReplayedCallbacks
from webhook.ledger.settles import SettleLog

URL, OTHER_URL = b"url", b"other"
CLAIM_SECONDS = 60.0


class OutboxBench:
    """An outbox for photos."""

    def __init__(self, b: LedgerBench) -> None:
        self.b = b
        self.outbox = CallbackOutbox(b.ledger)
        self.log = SettleLog(b.ledger)

    async def settled(self, *keys: str, etag: str = "v1") -> None:
        """Let these objects have a result."""
        for key in keys:
            await self.b.record(event(key, etag))
            await self.b.settle(await self.b.take(), done(etag))
        await self.fed()

    async def fed(self) -> int:
        await self.log.number()
        return await self.outbox.feed(self.b.photos)

    async def claim(self, most: int = 100, url: bytes = URL) -> list[ClaimedCallback]:
        return await self.outbox.claim(self.b.photos, most, seconds=CLAIM_SECONDS, url_hash=url)

    async def counts(self) -> Sequence[int]:
        """Told, waiting, given up, unaccounted."""
        [row] = await self.outbox.counts()
        return row["told"], row["waiting"], row["given_up"], row["unaccounted"]


async def begun(b: LedgerBench) -> OutboxBench:
    o = OutboxBench(b)
    await o.outbox.begin(b.photos)
    return o


async def test_a_told_callback_says_whether_another_of_its_object_waits(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg", "b.jpg")
        await o.settled("a.jpg", etag="v2")
        waits = {}
        while claimed := await o.claim():
            for each in claimed:
                waits[each.key, each.etag] = await o.outbox.taken(each, 200)
        assert waits == {("a.jpg", "v1"): True, ("b.jpg", "v1"): False, ("a.jpg", "v2"): False}


async def test_what_is_settled_is_told_once_with_what_it_is(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg")
        [claimed] = await o.claim()
        assert (claimed.key, claimed.settled_as, claimed.etag, claimed.attempt) == ("a.jpg", "done", "v1", 1)
        await o.outbox.taken(claimed, 204)
        await o.outbox.taken(claimed, 204)
        assert await o.counts() == (1, 0, 0, 0)
        assert await o.fed() == 0
        assert await o.claim() == []


async def test_parked_and_gone_are_told_and_an_unchanged_result_is_not(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg")
        await b.record(event("b.jpg"))
        await b.settle(await b.take(), HOPELESS)
        await o.fed()
        told = {claimed.key: claimed for claimed in await o.claim()}
        assert (told["b.jpg"].settled_as, told["b.jpg"].reason) == ("parked", "unreadable")
        assert told["b.jpg"].explanation == "It is no photo."


async def test_a_retry_is_no_settle(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await b.record(event())
        await b.settle(await b.take(), BROKEN)
        assert await o.fed() == 0


async def test_what_was_settled_before_there_was_a_callback_is_not_told(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = OutboxBench(b)
        await o.settled("old.jpg")
        await o.outbox.begin(b.photos)
        await o.settled("new.jpg")
        assert [claimed.key for claimed in await o.claim()] == ["new.jpg"]


async def test_of_an_object_the_later_one_waits_and_others_do_not(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg", etag="v1")
        await o.settled("a.jpg", etag="v2")
        await o.settled("b.jpg")
        first = {claimed.key: claimed for claimed in await o.claim()}
        assert {key: claimed.etag for key, claimed in first.items()} == {"a.jpg": "v1", "b.jpg": "v1"}
        assert await o.claim() == [], "the first one is under way"
        await o.outbox.taken(first["b.jpg"], 200)
        await o.outbox.failed(first["a.jpg"], 1000, 500, "it answered 500")
        assert await o.claim() == [], "it waits, and keeps the later one back"
        await b.advance(1000)
        [again] = await o.claim()
        assert (again.etag, again.message, again.attempt) == ("v1", first["a.jpg"].message, 2)
        await o.outbox.taken(again, 200)
        [second] = await o.claim()
        assert (second.etag, second.position > again.position) == ("v2", True)


async def test_an_attempt_of_a_dead_replica_is_made_again_and_its_late_outcome_is_void(
    postgres_dsn: str,
) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg")
        [lost] = await o.claim()
        await b.advance(CLAIM_SECONDS - 1)
        assert await o.claim() == []
        await b.advance(1)
        [again] = await o.claim()
        assert again.message == lost.message
        await o.outbox.failed(lost, 0, 500, "late")
        assert await o.claim() == []
        await o.outbox.taken(again, 200)
        assert await o.counts() == (1, 0, 0, 0)


async def test_it_is_given_up_three_days_after_the_first_attempt_and_the_next_one_follows(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg", etag="v1")
        await o.settled("a.jpg", etag="v2")
        [claimed] = await o.claim()
        await o.outbox.failed(claimed, GIVE_UP_SECONDS - 1, 500, "no")
        await b.advance(GIVE_UP_SECONDS - 1)
        [claimed] = await o.claim()
        await o.outbox.failed(claimed, 1, 500, "no")
        assert await o.counts() == (0, 2, 0, 0)
        await b.advance(1)
        [claimed] = await o.claim()
        await o.outbox.failed(claimed, 1, 500, "no")
        assert await o.counts() == (0, 1, 1, 0)
        assert [each.etag for each in await o.claim()] == ["v2"]


async def test_a_receiver_that_is_off_is_told_nothing_until_its_url_changes(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg", "b.jpg")
        await o.outbox.turn_off(b.photos, URL)
        assert await o.claim() == []
        assert len(await o.claim(most=1, url=OTHER_URL)) == 1
        await b.advance(GIVE_UP_SECONDS)
        await o.outbox.give_up(b.photos)
        assert await o.counts() == (0, 0, 2, 0)


async def test_a_replay_tells_the_latest_of_each_object_and_turns_the_receiver_on(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        for etag in ("v1", "v2"):
            await o.settled("a.jpg", etag=etag)
            [claimed] = await o.claim()
            await o.outbox.taken(claimed, 200)
        await o.outbox.turn_off(b.photos, URL)
        assert await o.outbox.replay(b.photos, "told", None, dry_run=True) == ReplayedCallbacks(1, 1)
        assert await o.counts() == (2, 0, 0, 0)
        assert await o.outbox.replay(b.photos, "told", None, dry_run=False) == ReplayedCallbacks(1, 1)
        assert await o.counts() == (1, 1, 0, 0)
        [again] = await o.claim()
        assert (again.etag, again.message) == ("v2", claimed.message)
        await o.outbox.taken(again, 200)
        assert await o.counts() == (2, 0, 0, 0)


async def test_replicas_that_feed_at_once_leave_nothing_out_and_add_nothing_twice(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        keys = [f"{number}.jpg" for number in range(40)]
        feeds = [CallbackOutbox(b.replica()) for _ in range(4)]

        async def feed(outbox: CallbackOutbox) -> None:
            for _ in range(15):
                await o.log.number()
                await outbox.feed(b.photos)

        await asyncio.gather(o.settled(*keys), *map(feed, feeds))
        await o.fed()
        assert sorted(claimed.key for claimed in await o.claim()) == sorted(keys)
        assert await o.counts() == (0, 40, 0, 0)


async def test_what_has_ended_is_pruned_and_still_counted(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg", "b.jpg")
        [first, _] = await o.claim()
        await o.outbox.taken(first, 200)
        await b.advance(31 * 86_400)
        [row] = await b.ledger.fetch("prune_callbacks", 100, 30)
        assert row["pruned"] == 1
        assert await o.counts() == (1, 1, 0, 0)


async def test_the_log_keeps_what_the_outbox_has_not_followed(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        o = await begun(b)
        await o.settled("a.jpg")
        await b.record(event("b.jpg"))
        await b.settle(await b.take(), done())
        await o.log.number()
        await b.advance(2 * 86_400)
        [row] = await b.ledger.fetch("prune_settles", 100, 1)
        assert row["pruned"] == 1
        assert await o.outbox.feed(b.photos) == 1
