"""A worker that fails far more often than others is drained; bad files drain nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.ledger.ledger_bench import BROKEN, LedgerBench, bench, done, event
from tests.webhook.plane import control_plane
from webhook.fleet.error_budget import ErrorBudget, TrackRecord, suspicions
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.transitions import LeaseReleased, Outcome


def record(worker: int, good: int, bad: int, pipeline: str = "photos") -> TrackRecord:
    return TrackRecord(worker, pipeline, good, bad)


def suspected(*records: TrackRecord) -> set[int]:
    return {suspicion.worker_id for suspicion in suspicions(records)}


@pytest.mark.parametrize(
    ("records", "drained"),
    [
        ([record(1, 0, 40), record(2, 40, 0)], {1}),
        ([record(1, 0, 40), record(2, 40, 0), record(3, 0, 40)], {1, 3}),
        ([record(1, 0, 40), record(2, 0, 40)], set()),  # every file is bad
        ([record(1, 10, 30), record(2, 30, 10)], set()),  # three times as often is not far more often
        ([record(1, 0, 29), record(2, 40, 0)], set()),  # too few to tell
        ([record(1, 0, 40), record(2, 29, 0)], set()),  # too few to compare with
        ([record(1, 0, 400)], set()),  # nothing to compare with
        ([record(1, 0, 40), record(2, 40, 0, "videos")], set()),
        ([record(1, 21, 19), record(2, 40, 0)], set()),  # fails, but mostly does not
    ],
)
def test_who_is_drained(records: list[TrackRecord], drained: set[int]) -> None:
    assert suspected(*records) == drained


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=6))
def test_not_all_workers_are_drained(counts: list[tuple[int, int]]) -> None:
    records = [record(number, good, bad) for number, (good, bad) in enumerate(counts)]
    assert len(suspected(*records)) < max(len(records), 1)


async def work(b: LedgerBench, worker: int, outcome: Outcome) -> None:
    await b.record(event(f"{worker}.jpg"))
    [lease] = await b.claim(1, worker=worker)
    assert await b.settle(lease, outcome, worker=worker)


async def test_how_leases_end_is_counted_and_the_suspect_is_drained(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [b.photos], slots={}, limits={})
        bad, good = await b.worker(), await b.worker()
        for number in range(40):
            await work(b, bad, BROKEN if number % 2 else LeaseReleased())
            await work(b, good, done())
            if number % 10 == 0:
                await b.ledger.track_records.write(b.database)
        await b.ledger.track_records.write(b.database)
        await ErrorBudget(fleet).look()
        [suspect] = await b.ledger.fetch("suspects", 20)
        assert (suspect["worker"], suspect["state"], suspect["reason"]) == (bad, "draining", "errors")
        assert suspect["why"].startswith("100% of its last 40 objects of photos came to no result, and 0% of")
        assert not await b.claim(worker=bad)


async def test_a_handler_that_cannot_run_is_no_error_of_its_worker(postgres_dsn: str) -> None:
    async with bench(postgres_dsn) as b:
        fleet = LedgerFleet(b.ledger, owner="yurt", pipelines=lambda _: [b.photos], slots={}, limits={})
        await work(b, await b.worker(), LeaseReleased(without_handler=True))
        await b.ledger.track_records.write(b.database)
        assert await fleet.track_records() == []


async def test_status_says_why(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        assert await plane.services.fleet.suspect(worker.id, "All fails.")
        assert (await worker.ask()).drain
        [suspect] = (await plane.admin("GET", "/v1/status")).json()["suspects"]
        assert (suspect["worker"], suspect["reason"], suspect["why"]) == (worker.id, "errors", "All fails.")
