"""Workers learn of their pool's models, and report how far they have come with them (progress_messages)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.infra.local.running import RunningBucket
from tests.polling import until
from tests.webhook.models.stored import published
from tests.webhook.plane import configured, control_plane, event, pipeline
from webhook.config import Config
from webhook.pool_settings import Pool
from workers import protocol


def with_model(bucket: str) -> Config:
    """A pipeline with a model on the pool ``local``, one without on ``other``, and services with models."""
    return configured(
        {
            "photos": pipeline(conditions="quoted", models=["safety"]),
            "others": pipeline("in2", "out2", conditions="quoted", pool="other"),
        },
        models={name: {"source": f"s3://{bucket}/{name}"} for name in ("safety", "large")},
        services={
            "judge": {"port": 5000, "pool": "local", "models": ["safety", "large"]},
            "sdxl": {"port": 5001, "pool": "served", "models": ["large"]},
        },
        pools={name: Pool(provider="none") for name in ("local", "other", "served")},
    )


async def test_a_worker_is_told_of_its_pools_models_and_only_of_those(
    postgres_dsn: str, store: RunningBucket, tmp_path: Path
) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    root = published(s3, bucket, tmp_path / "m", {"a.onnx": b"1"}).root
    published(s3, bucket, tmp_path / "l", {"b.onnx": b"12"}, prefix="large")
    async with control_plane(postgres_dsn, with_model(bucket), store=store.endpoint, loops=False) as plane:
        await plane.services.catalogue.look()
        welcomes = {pool: (await plane.hello(await plane.invite(pool))).json() for pool in ("local", "other")}
        assert welcomes["local"]["models"] == [{"name": "safety", "root": root, "size": 1}]
        assert welcomes["other"]["models"] == []
        weights = {pool: plane.services.weights_bytes(pool) for pool in ("local", "other", "served")}
        assert weights == {"local": 3, "other": 0, "served": 2}, "those of services too, each model once"

        async def asked(pool: str, wanted: str) -> Any:
            headers = {"authorization": f"Bearer {welcomes[pool]['token']}"}
            return await plane.http.get(f"/v1/models/{wanted}", headers=headers)

        found = protocol.ModelSources.model_validate_json((await asked("local", root)).content)
        assert [(file.path, file.size) for file in found.files] == [("a.onnx", 1)]
        for pool, wanted in (("other", root), ("local", "0" * 64), ("local", "x"), ("local", root.upper())):
            assert (await asked(pool, wanted)).status_code == 404
        assert (await plane.http.get(f"/v1/models/{root}")).status_code == 401


async def test_no_work_is_handed_out_without_the_model_and_leases_name_its_version(
    postgres_dsn: str, store: RunningBucket, tmp_path: Path
) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    async with control_plane(postgres_dsn, with_model(bucket), store=store.endpoint, loops=False) as plane:
        await plane.services.catalogue.look()
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        assert (await worker.ask()).leases == []
        assert (await plane.services.fleet.demand("local", 10)).pending == 0, "no machine is minted for it"
        refused = (await plane.admin("GET", "/v1/status")).json()["pipelines"]["photos"]["refused"]
        assert "yurt models publish safety" in refused
        root = published(s3, bucket, tmp_path / "m", {"a.onnx": b"1"}).root
        await plane.services.catalogue.look()
        assert [(ref.name, ref.root) for ref in (await worker.lease()).models] == [("safety", root)]


async def test_a_worker_that_serves_hears_of_a_newer_version_while_it_waits_for_work(
    postgres_dsn: str, store: RunningBucket, tmp_path: Path
) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    old = published(s3, bucket, tmp_path / "l", {"b.onnx": b"12"}, prefix="large").root
    async with control_plane(postgres_dsn, with_model(bucket), store=store.endpoint, loops=False) as plane:
        await plane.services.catalogue.look()
        worker = await plane.worker("served")
        await plane.sql("insert into service_machines values ($1, 'sdxl', 0, yurt_now())", worker.id)
        orders = (await worker.ask(most=1)).services
        assert orders
        assert [ref.root for ref in orders.orders[0].models] == [old]
        seen = {"max": 1, "wait": 30, "services_seen": orders.digest}
        poll = asyncio.create_task(worker.post("leases", seen))
        await until(lambda: plane.services.wakeups.waiting == 1)
        new = published(s3, bucket, tmp_path / "l", {"b.onnx": b"345"}, prefix="large").root
        await plane.services.catalogue.look()
        newer = (await asyncio.wait_for(poll, 15)).json()["services"]
        assert [ref["root"] for ref in newer["orders"][0]["models"]] == [new] != [old]


async def test_progress_is_shown_and_keeps_a_worker_from_being_idle(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("update workers set ready_at = yurt_now() - interval '1000 s', active_at = null")
        report = {"phase": "weights", "model": "safety", "done_bytes": 5, "total_bytes": 10, "bytes_per_second": 3}
        answer = await worker.post("workers/progress", report)
        assert (answer.status_code, answer.json()) == (200, {"drain": False})
        machine = (await plane.admin("GET", f"/v1/machines/{worker.id}")).json()
        assert machine["loading"] == report
        assert machine["idle_seconds"] < 100
        await plane.sql("update workers set loading_at = yurt_now() - interval '1 minute'")
        assert (await plane.admin("GET", f"/v1/machines/{worker.id}")).json()["loading"] is None


async def test_a_worker_that_loads_for_ever_becomes_idle_and_one_that_drains_is_told_to_leave(
    postgres_dsn: str,
) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        worker = await plane.worker()
        await plane.sql("update workers set ready_at = yurt_now() - interval '2 hours', active_at = null")
        await worker.post("workers/progress", {"phase": "load", "model": "safety"})
        assert (await plane.admin("GET", f"/v1/machines/{worker.id}")).json()["idle_seconds"] > 7000
        await plane.admin("POST", f"/v1/machines/{worker.id}/drain")
        other = await plane.worker()
        await plane.sql("update workers set state = 'draining' where id = $1", other.id)
        assert (await other.post("workers/progress", {"phase": "load", "model": "safety"})).json()["drain"]
        assert (await other.post("workers/progress", {"phase": "lunch", "model": "safety"})).status_code == 422
