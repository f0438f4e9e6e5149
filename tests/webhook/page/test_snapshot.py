"""What the live view shows: rates from counters, the latest results of all replicas, what is wrong."""

from __future__ import annotations

import pytest

from tests.webhook.page.visits import visiting
from tests.webhook.plane import configured, control_plane, done, event, serving
from webhook.api.status import PipelineStatus, PoolStatus, Status
from webhook.page.snapshot import Rates, alerts


def test_rates_are_of_the_last_seconds() -> None:
    rates = Rates()
    rates.add(100, 50, 40)
    assert list(rates.per_second) == [None, None]
    rates.add(101, 60, 40)
    assert list(rates.per_second) == [10, 0]
    for second in range(102, 130):
        rates.add(second, 60, 40 + 2 * (second - 101))
    assert rates.per_second == pytest.approx((0, 2))
    rates.add(1_000, 90, 100)
    assert rates.per_second == (None, None), "nothing was read for long: an average of that says nothing"


def test_counters_that_fall_are_no_negative_rate() -> None:
    rates = Rates()
    rates.add(1, 10, 10)
    rates.add(2, 0, 0)
    assert rates.per_second == (0, 0)


async def test_results_that_another_replica_recorded_appear_with_thumbnail_and_time(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False) as plane,
        serving(plane.dsn, configured(), loops=False) as other,
        visiting(other) as visitor,
    ):
        await plane.services.fleet.accrue()  # begins the day's count of results
        await plane.notify(event("cats/a b.jpg"), event("b.jpg"))
        worker = await plane.worker()
        leases = {lease.key: lease for lease in (await worker.ask(most=2)).leases}
        names = {"512.webp": "e1", "256.webp": "e2", "result.json": "e3"}
        await worker.ask(most=0, settle=[done(leases["cats/a b.jpg"], names)])
        await plane.services.settles.number()
        text = await visitor.page("/")
        assert "/result?pipeline=photos&amp;key=cats%2Fa+b.jpg&amp;name=256.webp&amp;etag=e2" in text
        assert "<bdi>a b.jpg</bdi>" in text
        assert "<bdi>b.jpg</bdi>" not in text
        assert 'data-n="at-work">1<' in text
        assert 'data-n="done">1<' in text


def test_what_is_wrong_is_said_with_its_reason() -> None:
    status = Status(
        pipelines={"photos": PipelineStatus(refused="the model is missing: publish it")},
        pools={"gpu": PoolStatus(limit=2, not_minted="the budget is spent", breaker="open", last_failure="no boot")},
        unrouted={}, providers={}, senders={}, parked=[], quarantined=0, unaccounted={"events": 0, "changes": 2},
    )  # fmt: skip
    said = " ".join(f"{alert.what}: {alert.why}." for alert in alerts(status))
    for text in ("the model is missing", "the budget is spent", "no boot", "'changes': 2"):
        assert text in said
    assert not alerts(
        Status(pipelines={}, unrouted={}, pools={}, providers={}, senders={}, parked=[], quarantined=0, unaccounted={})
    )
