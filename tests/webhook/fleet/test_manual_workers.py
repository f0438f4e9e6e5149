"""Workers that people started: forgotten when silent, and their leases given to others."""

from __future__ import annotations

from tests.webhook.plane import RunningPlane, configured, control_plane, event
from webhook.fleet.manual_workers import ManualWorkers
from webhook.pool_settings import Pool

POOLS = {"local": Pool(provider="none", silent_seconds=60)}


async def look(plane: RunningPlane) -> dict[int, str]:
    """Look after them once; their states."""
    await ManualWorkers(plane.services.fleet, POOLS).forget_silent()
    rows = await plane.sql("select id, state from workers")
    return {row["id"]: row["state"] for row in rows}


async def aged(plane: RunningPlane, seconds: int) -> None:
    """All that is known of workers is so much longer ago."""
    await plane.sql(
        "update workers set created_at = created_at - make_interval(secs => $1), "
        "seen_at = seen_at - make_interval(secs => $1), ready_at = ready_at - make_interval(secs => $1)",
        seconds,
    )


async def test_a_guest_that_went_silent_is_forgotten_and_gives_back_its_leases(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=POOLS), loops=False) as plane:
        guest = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await guest.lease()
        assert await look(plane) == {guest.id: "ready"}
        await aged(plane, 61)
        assert await look(plane) == {guest.id: "gone"}
        assert (await plane.objects())["a.jpg"]["state"] == "pending"
        assert (await guest.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})).status_code in (401, 409)
        other = await plane.worker()
        assert (await other.lease()).id == lease.id


async def test_an_invitation_waits_for_a_day(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=POOLS), loops=False) as plane:
        once = await plane.invite()
        await aged(plane, 23 * 3600)
        assert list((await look(plane)).values()) == ["intended"]
        await aged(plane, 2 * 3600)
        assert list((await look(plane)).values()) == ["gone"]
        assert (await plane.hello(once)).status_code == 401


async def test_machines_of_a_provider_are_left_to_the_autoscaler(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=POOLS), loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("update workers set provider = 'local'")
        await aged(plane, 3600)
        assert await look(plane) == {worker.id: "ready"}


async def test_a_guest_that_was_revoked_is_gone_at_the_next_look(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=POOLS), loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("update workers set state = 'slaying'")
        assert await look(plane) == {worker.id: "gone"}


async def test_a_guest_of_a_pool_that_was_taken_out_is_looked_after_too(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(pools=POOLS), loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("update workers set pool = 'retired'")
        assert await look(plane) == {worker.id: "ready"}
        await aged(plane, 3600)
        assert await look(plane) == {worker.id: "gone"}
