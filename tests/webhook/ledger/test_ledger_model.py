"""A random walk of a store, its late and repeated events, and workers that fail in every way, all from one seed.

After any history: once events have come and workers behave, each object's last result is of its content.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.webhook.ledger.ledger_bench import BROKEN, HOPELESS, LEASE_SECONDS, STORE_DOWN, LedgerBench, bench, event
from webhook.events import EventKind, EventOrder, ObjectEvent
from webhook.ledger.coalescing import Verdict
from webhook.ledger.ledger import ClaimedObject
from webhook.ledger.transitions import Lane, LeaseReleased, NotFound, Outcome, Present, Published, SameContent

T0 = datetime(2026, 5, 15, tzinfo=UTC)
KEYS = [f"{n}.jpg" for n in range(6)]
LANES: tuple[Lane, ...] = ("work", "check")


@dataclass
class Walk:
    """One store, one ledger, and what is between them."""

    bench: LedgerBench
    rng: random.Random
    contents: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """What the store holds: ETag and Last-Modified."""
    late: list[ObjectEvent] = field(default_factory=list)
    """Events that have not arrived, in any order."""
    sent: list[ObjectEvent] = field(default_factory=list)
    held: list[tuple[ClaimedObject, Lane, str | None]] = field(default_factory=list)
    """Leases out, the newest of an object last, and the content that the worker fetched."""
    lost: list[tuple[ClaimedObject, Lane, str | None]] = field(default_factory=list)
    seconds: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)

    # the store

    def write(self) -> None:
        """Put, overwrite with the same or with other content, or delete."""
        key = self.rng.choice(KEYS)
        self.seconds += 1
        now = T0 + timedelta(seconds=self.seconds)
        if self.rng.random() < 0.25:
            etag, _ = self.contents.pop(key, ("", now))
            self.late.append(event(key, etag or None, kind=self.rng.choice([EventKind.REMOVED, EventKind.MOVED])))
            return
        etag = f"{key}-{self.rng.randrange(3)}"
        self.contents[key] = etag, now
        self.late.append(self._created(key, etag, now))

    def _created(self, key: str, etag: str, now: datetime) -> ObjectEvent:
        """With as little in it as sources give, or as much."""
        match self.rng.randrange(4):
            case 0:
                return event(key, etag)
            case 1:
                return event(key, None)
            case 2:
                return event(key, etag, modified=now)
            case _:
                return event(key, etag, modified=now, order=EventOrder("tigris", self.seconds.to_bytes(8, "big")))

    async def deliver(self) -> None:
        """Some events arrive, in any order, with some that came before."""
        self.rng.shuffle(self.late)
        cut = self.rng.randint(0, len(self.late))
        arriving, self.late = self.late[:cut], self.late[cut:]
        arriving += self.rng.sample(self.sent, min(len(self.sent), self.rng.randrange(3)))
        self.rng.shuffle(arriving)
        self.sent += arriving
        self.verdicts += await self.bench.record(*arriving)

    # the workers

    async def claim(self) -> None:
        lane = self.rng.choice(LANES)
        for lease in await self.bench.claim(self.rng.randint(1, 3), lane):
            assert lease.token > max((held.token for held, *_ in self.held + self.lost), default=0)
            assert lease.id not in [held.id for held, *_ in self.held], "two live leases of one object"
            self.held.append((lease, lane, self.fetched(lease)))

    def fetched(self, lease: ClaimedObject) -> str | None:
        """The ETag of what the store holds now."""
        return self.contents.get(lease.key, (None,))[0]

    def honest(self, lease: ClaimedObject, lane: Lane, etag: str | None) -> Outcome:
        """What a worker, or the control plane in the check lane, says of the content that it found."""
        if etag is None:
            return NotFound()
        if lane == "check":
            return Present()
        return SameContent() if etag == lease.done_etag else Published(etag, None, {"result.json": etag})

    async def settle(self) -> None:
        if not self.held:
            return
        lease, lane, etag = self.held.pop(self.rng.randrange(len(self.held)))
        trouble: list[Outcome] = [STORE_DOWN] if lane == "check" else [STORE_DOWN, BROKEN, HOPELESS, LeaseReleased()]
        outcome = self.rng.choice(trouble) if self.rng.random() < 0.3 else self.honest(lease, lane, etag)
        assert await self.bench.settle(lease, outcome)
        self.lost.append((lease, lane, etag))

    async def settle_too_late(self) -> None:
        """A lease that was settled or lost before."""
        if self.lost:
            lease, lane, etag = self.rng.choice(self.lost)
            assert not await self.bench.settle(lease, self.honest(lease, lane, etag))

    async def lose(self) -> None:
        """All workers fall silent."""
        await self.bench.advance(LEASE_SECONDS + 1)
        assert await self.bench.ledger.reap() == len(self.held)
        self.lost += self.held
        self.held.clear()

    async def step(self) -> None:
        match self.rng.randrange(10):
            case 0 | 1 | 2:
                self.write()
            case 3 | 4:
                await self.deliver()
            case 5 | 6:
                await self.claim()
            case 7:
                await self.settle()
            case 8:
                await self.settle_too_late()
            case 9:
                await self.bench.advance(self.rng.choice([1, 5, 30]))
                if self.rng.random() < 0.2:
                    await self.lose()

    # the end

    async def come_to_rest(self) -> None:
        """Every event arrives, a person redrives what is parked, and workers behave."""
        self.verdicts += await self.bench.record(*self.late)
        parked = [row["key"] for row in await self.bench.rows() if row["state"] == "parked"]
        self.verdicts += await self.bench.record(*(event(key, None) for key in parked))
        while self.held:
            lease, lane, etag = self.held.pop()
            assert await self.bench.settle(lease, self.honest(lease, lane, etag))
        for _ in range(100):
            leases = [(lease, lane) for lane in LANES for lease in await self.bench.claim(100, lane)]
            for lease, lane in leases:
                assert await self.bench.settle(lease, self.honest(lease, lane, self.fetched(lease)))
            await self.bench.advance(60)
            if not leases and not any(row["state"] == "pending" for row in await self.bench.rows()):
                return
        raise AssertionError("it never comes to rest")

    async def check(self) -> None:
        for row in await self.bench.rows():
            etag, _ = self.contents.get(row["key"], (None, None))
            assert (row["state"], row["done_etag"]) == ("gone" if etag is None else "done", etag), row["key"]
        assert {row["key"] for row in await self.bench.rows()} >= set(self.contents)


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_each_last_result_is_of_the_last_content(postgres_dsn: str, seed: int) -> None:
    async with bench(postgres_dsn) as b:
        walk = Walk(b, random.Random(seed))
        for number in range(120):
            await walk.step()
            if number % 20 == 0:
                assert await b.balance() == (0, 0), f"step {number}"
        await walk.come_to_rest()
        await walk.check()
        assert sum(walk.verdicts.values()) == (await b.counted("received"))["received"]
