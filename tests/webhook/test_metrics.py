"""What Prometheus reads: it parses, and it agrees with what was sent."""

from __future__ import annotations

import pytest

from tests.polling import until
from tests.webhook.plane import configured, control_plane, event, pipeline
from tests.webhook.scrape import scraped
from tests.webhook.settlements import done, failed
from webhook import metrics
from webhook.pool_settings import Pool


@pytest.fixture(autouse=True)
def always_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "STANDING_SECONDS", 0)


async def test_metrics_agree_with_what_was_sent(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured({"photos": pipeline(), "more": pipeline("more-in")})) as plane:
        worker = await plane.worker()
        again = event("1.jpg")
        await plane.notify(again, *(event(f"{number}.jpg") for number in range(2, 7)), event("x", bucket="nowhere"))
        await plane.notify(again, event("6.jpg"), event("m", bucket="more-in"), {"bad": 1}, {"bad": 2})
        leases = (await worker.ask(most=6)).leases
        mine = [lease for lease in leases if lease.pipeline == "photos"]
        settle = [
            done(mine[0]),
            {"outcome": "unchanged", "id": mine[1].id, "token": mine[1].token},
            failed(mine[2], retry=False),
            done(mine[3], token=1),
        ]
        await worker.ask(most=0, settle=settle)
        await plane.http.post("/v1/notifications/tigris", json={})
        scrape = await scraped(plane)
        assert scrape["yurt_events_total"] == {
            ("photos", "received"): 8, ("photos", "accepted"): 6, ("photos", "duplicate"): 1,
            ("photos", "coalesced"): 1,
            ("more", "received"): 1, ("more", "accepted"): 1,
            ("", "received"): 3, ("", "ignored"): 1, ("", "quarantined"): 2,
        }  # fmt: skip
        assert scrape["yurt_changes_total"] == {("done", "photos"): 1, ("unchanged", "photos"): 1}
        objects = scrape["yurt_objects"]
        assert (objects["photos", "done"], objects["photos", "parked"]) == (2, 1)
        assert sum(objects.values()) == 7
        assert scrape["yurt_unaccounted"] == {("events",): 0, ("changes",): 0}
        assert scrape["yurt_leases_total"] == {(): len(leases)}
        assert scrape["yurt_settlements_total"] == {("done",): 1, ("unchanged",): 1, ("failed",): 1, ("refused",): 1}
        assert scrape["yurt_notifications_refused_total"] == {("unauthorized", "tigris"): 1}
        assert scrape["yurt_notification_seconds_count"] == {("tigris",): 2}
        assert scrape["yurt_workers"] == {("local", "ready"): 1}
        assert scrape["yurt_oldest_due_seconds"].keys() <= {("photos",), ("more",)}


async def test_what_is_nowhere_is_seen(postgres_dsn: str) -> None:
    """The conservation metric is not 0 when something is lost: here by hand."""
    async with control_plane(postgres_dsn) as plane:
        await plane.notify(event("1.jpg"), event("2.jpg"))
        assert (await scraped(plane))["yurt_unaccounted"] == {("events",): 0, ("changes",): 0}
        await plane.sql("delete from objects where key = '1.jpg'")
        await plane.sql("update tally set value = value + 3 where name = 'received'")
        assert (await scraped(plane))["yurt_unaccounted"] == {("events",): 3, ("changes",): 1}


async def test_leases_that_ran_out_and_the_leader_are_counted(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools={"local": Pool(provider="none")})) as plane:
        worker = await plane.worker()
        await plane.notify(event("1.jpg"))
        await worker.lease()
        await plane.sql("update objects set deadline = now() - interval '1 second'")

        async def expired() -> bool:
            scrape = await scraped(plane)
            return scrape["yurt_leases_expired_total"] == {(): 1} and scrape["yurt_leader"] == {(): 1}

        await until(expired)


async def test_every_metric_has_a_type_and_says_what_it_is(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        families = (await scraped(plane)).families
    assert all(family.name.startswith("yurt_") for family in families.values())
    assert all(family.documentation and family.type != "unknown" for family in families.values())


async def test_rows_are_not_counted_at_every_scrape(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "STANDING_SECONDS", 3600)
    async with control_plane(postgres_dsn) as plane:
        assert not (await scraped(plane))["yurt_objects"]
        await plane.notify(event("1.jpg"))
        scrape = await scraped(plane)
        assert scrape["yurt_events_total"] == {("photos", "received"): 1, ("photos", "accepted"): 1}
        assert not scrape["yurt_objects"]
