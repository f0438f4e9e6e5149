"""Random histories of settles, feeds, attempts, deaths and replays: nothing is untold, nothing older follows newer.

The statements are the real ones, on a real PostgreSQL whose clock stands still. Each guard is taken out once, to see
that it is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import pytest

from tests.webhook.ledger.ledger_bench import LedgerBench, bench, done, event
from webhook.ledger.callbacks import CallbackOutbox, ClaimedCallback
from webhook.ledger.queries import QUERIES
from webhook.ledger.settles import SettleLog

URL = b"url"
CLAIM_SECONDS = 60.0
STEPS = 150
KEYS = ("a.jpg", "b.jpg", "c.jpg")


class WrongHistoryError(Exception):
    """A promise was broken."""


@dataclass
class UnderWay:
    """An attempt that some replica has begun."""

    claimed: ClaimedCallback
    began_at: float


@dataclass
class CallbackHistory:
    """One random history, and what the app knows at each moment."""

    b: LedgerBench
    random: Random
    time: float = 0.0
    versions: int = 0
    settled: int = 0
    under_way: list[UnderWay] = field(default_factory=list)
    late: list[ClaimedCallback] = field(default_factory=list)
    """Attempts that were sent, and whose outcome is not noted yet."""
    heard: dict[str, int] = field(default_factory=dict)
    """Greatest sequence by key."""
    ids: dict[tuple[str, int], UUID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outbox = CallbackOutbox(self.b.ledger)
        self.log = SettleLog(self.b.ledger)

    async def step(self) -> None:
        """Do one thing at random, and look whether all still holds."""
        steps = (self.settle, self.number, self.feed, self.claim, self.claim, self.send, self.send, self.fail,
                 self.note_late, self.pass_time, self.prune, self.replay)  # fmt: skip
        await self.random.choice(steps)()
        await self.check()

    async def settle(self) -> None:
        self.versions += 1
        await self.b.record(event(self.random.choice(KEYS), f"v{self.versions}"))
        for lease in await self.b.claim():
            self.settled += await self.b.settle(lease, done(lease.event_etag or "v"))

    async def number(self) -> None:
        await self.log.number()

    async def feed(self) -> None:
        await self.outbox.feed(self.b.photos)

    async def claim(self) -> None:
        for claimed in await self.outbox.claim(self.b.photos, 2, seconds=CLAIM_SECONDS, url_hash=URL):
            self.under_way.append(UnderWay(claimed, self.time))

    async def send(self) -> None:
        """Let an attempt reach the app: in time, as the code looks at before it sends."""
        if attempt := self._one():
            self.receive(attempt.claimed)
            if self.random.random() < 0.6:
                await self.outbox.taken(attempt.claimed, 200)
            else:
                self.late.append(attempt.claimed)

    async def fail(self) -> None:
        if attempt := self._one():
            await self.outbox.failed(attempt.claimed, self.random.choice((0, 100)), 500, "it answered 500")

    async def note_late(self) -> None:
        """A replica that was held up notes an outcome when others may have gone on."""
        if self.late:
            claimed = self.late.pop(self.random.randrange(len(self.late)))
            if self.random.random() < 0.5:
                await self.outbox.failed(claimed, 0, None, "no answer")
            else:
                await self.outbox.taken(claimed, 200)

    async def pass_time(self) -> None:
        seconds = self.random.choice((1.0, CLAIM_SECONDS, 86_400.0))
        self.time += seconds
        await self.b.advance(seconds)

    async def prune(self) -> None:
        await self.b.ledger.fetch("prune_settles", 100, 1)

    async def replay(self) -> None:
        await self.outbox.replay(self.b.photos, self.random.choice(("told", "given-up", None)), None, dry_run=False)

    def _one(self) -> UnderWay | None:
        self.under_way = [each for each in self.under_way if self.time - each.began_at < CLAIM_SECONDS]
        return self.under_way.pop(self.random.randrange(len(self.under_way))) if self.under_way else None

    def receive(self, claimed: ClaimedCallback) -> None:
        """What the app does."""
        if claimed.position < self.heard.get(claimed.key, 0):
            raise WrongHistoryError(f"{claimed.key}: {claimed.position} came after {self.heard[claimed.key]}")
        self.heard[claimed.key] = claimed.position
        if self.ids.setdefault((claimed.key, claimed.position), claimed.message) != claimed.message:
            raise WrongHistoryError(f"{claimed.key}: {claimed.position} came under two ids")

    async def check(self) -> None:
        """Whether everything in the outbox is told, waiting or given up."""
        [row] = await self.outbox.counts()
        if row["unaccounted"]:
            raise WrongHistoryError(f"{row['unaccounted']} are unaccounted for")

    async def end(self) -> None:
        """Let all replicas work until nothing waits, and look whether every settle was told or given up."""
        self.under_way.clear()
        await self.log.number()
        await self.feed()
        for _ in range(200):
            await self.b.advance(100)
            claimed = await self.outbox.claim(self.b.photos, 100, seconds=CLAIM_SECONDS, url_hash=URL)
            if not claimed:
                break
            for each in claimed:
                self.receive(each)
                await self.outbox.taken(each, 200)
        [row] = await self.outbox.counts()
        ended = row["told"] + row["given_up"]
        if (ended, row["waiting"]) != (self.settled, 0):
            raise WrongHistoryError(f"{self.settled} were settled, {ended} are told or given up, {row['waiting']} wait")


async def play(dsn: str, seed: int) -> None:
    """Play one history. Raises WrongHistoryError."""
    async with bench(dsn) as b:
        history = CallbackHistory(b, Random(seed))
        await history.outbox.begin(b.photos)
        for _ in range(STEPS):
            await history.step()
        await history.end()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_every_settle_is_told_in_order_whatever_happens(postgres_dsn: str, seed: int) -> None:
    await play(postgres_dsn, seed)


MUTANTS = {
    "a later one does not wait for the first": ("claim_callbacks", "and e.position < c.position", "and false"),
    "a claim is no claim": ("claim_callbacks", "make_interval(secs => $3)", "make_interval(secs => $3 * 0)"),
    "an older one is replayed": ("replay_callbacks", "and not chosen.outdated and", "and"),
    "a settle is skipped": ("feed_callbacks", "s.position > $2 and s.pos", "s.position > $2 + 1 and s.pos"),
    "the log is pruned before it is followed": ("prune_settles", "f.position < settles.position", "false"),
}
"""Which statement, what is replaced in it, by what."""


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
async def test_each_guard_is_needed(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    name, before, after = MUTANTS[mutant]
    assert QUERIES[name].count(before) == 1, f"{name} has no {before!r} any more"
    changed = {**QUERIES, name: QUERIES[name].replace(before, after)}
    for module in ("callbacks", "ledger"):
        monkeypatch.setattr(f"webhook.ledger.{module}.QUERIES", changed)
    for seed in range(20):
        try:
            await play(postgres_dsn, seed)
        except WrongHistoryError:
            return
    pytest.fail(f"nothing notices that {mutant}")
