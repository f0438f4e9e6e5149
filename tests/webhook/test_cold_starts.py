"""Steps of cold starts as Prometheus reads them."""

from __future__ import annotations

from tests.webhook.plane import Worker, control_plane, event
from tests.webhook.scrape import scraped
from tests.webhook.settlements import done
from workers.protocol import Welcome


async def test_steps_of_a_cold_start_are_observed_once(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        welcome = Welcome.model_validate_json((await plane.hello(await plane.invite(), process_seconds=0.3)).content)
        worker = Worker(plane.http, welcome.worker, welcome.token)
        await plane.notify(event("1.jpg"), event("2.jpg"))
        lease = await worker.lease()
        assert (await scraped(plane))["yurt_cold_start_seconds_count"] == {}
        for _ in range(2):
            await worker.ask(most=0, settle=[done(lease)], load_seconds=0.2)
            lease = await worker.lease() if lease.key == "1.jpg" else lease
            counts = (await scraped(plane))["yurt_cold_start_seconds_count"]
            assert counts == {(phase, "local"): 1 for phase in ("process", "weights", "load", "first_result")}
        assert (await scraped(plane))["yurt_cold_start_seconds_bucket"]["0.25", "process", "local"] == 0


async def test_a_start_that_ends_with_a_server_is_observed_and_its_first_result_is_not(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("insert into service_machines values ($1, 'echo', 0, yurt_now())", worker.id)
        await worker.post("services/echo/report", {"state": "starting"})
        assert (await scraped(plane))["yurt_cold_start_seconds_count"] == {}
        await worker.post("services/echo/report", {"state": "ready"})
        for _ in range(2):
            assert (await scraped(plane))["yurt_cold_start_seconds_count"] == {("service_ready", "local"): 1}
        await plane.sql("delete from service_machines")
        await plane.notify(event("1.jpg"))
        await worker.ask(most=0, settle=[done(await worker.lease())])
        assert (await scraped(plane))["yurt_cold_start_seconds_count"] == {("service_ready", "local"): 1}
