"""Bundles are uploaded once, and workers find those of their pool's functions."""

from __future__ import annotations

import hashlib

import httpx

from tests import postgres
from tests.infra.local.running import RunningBucket
from tests.webhook.plane import Worker, configured, control_plane, event, pipeline, serving
from webhook.config import Config
from webhook.pool_settings import Pool
from workers.protocol import BundleSource

CONTENT = b"a bundle"
ROOT = hashlib.sha256(CONTENT).hexdigest()


def with_function(place: str, root: str = ROOT) -> Config:
    """A function on the pool ``local``, and none on ``other``."""
    options = {"bundle": root, "function": "app:one"}
    return configured(
        {
            "one": pipeline(conditions="quoted", handler="function", options=options),
            "others": pipeline("in2", "out2", conditions="quoted", pool="other"),
        },
        pools={name: Pool(provider="none") for name in ("local", "other")},
        server={"bundles": place} if place else {},
    )


async def test_a_bundle_is_uploaded_once_and_found_by_the_workers_of_its_pool(
    postgres_dsn: str, store: RunningBucket
) -> None:
    bucket = store.new_bucket(store.s3())
    config = with_function(f"s3://{bucket}/deployed")
    async with control_plane(postgres_dsn, config, store=store.endpoint, loops=False) as plane:
        workers = {pool: await plane.worker(pool) for pool in ("local", "other")}

        async def source(pool: str, root: str = ROOT) -> httpx.Response:
            headers = {"authorization": f"Bearer {workers[pool].token}"}
            return await plane.http.get(f"/v1/bundles/{root}", headers=headers)

        assert (await source("local")).json()["error"] == "unknown-bundle", "it is not there yet"
        asked = {"root": ROOT, "bytes": len(CONTENT)}
        offer = (await plane.admin("POST", "/v1/bundles", json=asked)).json()
        assert (offer["there"], offer["place"]) == (False, f"s3://{bucket}/deployed/")
        upload = offer["upload"]
        async with httpx.AsyncClient() as http:
            assert (await http.put(upload["url"], content=CONTENT, headers=upload["headers"])).status_code == 200
            found = BundleSource.model_validate_json((await source("local")).content)
            assert (found.root, found.size) == (ROOT, len(CONTENT))
            assert (await http.get(found.download.url)).content == CONTENT
        again = (await plane.admin("POST", "/v1/bundles", json=asked)).json()
        assert (again["there"], again["upload"]) == (True, None)
        for pool, root in (("other", ROOT), ("local", "0" * 64), ("local", "x")):
            assert (await source(pool, root)).status_code == 404
        assert (await plane.http.get(f"/v1/bundles/{ROOT}")).status_code == 401


async def test_a_lease_of_an_earlier_version_still_finds_its_bundle(postgres_dsn: str, store: RunningBucket) -> None:
    bucket = store.new_bucket(store.s3())
    place = f"s3://{bucket}/deployed"
    store.s3().put_object(Bucket=bucket, Key=f"deployed/{ROOT}", Body=CONTENT)
    async with postgres.database(postgres_dsn) as (_, dsn):
        async with serving(dsn, with_function(place), store=store.endpoint, loops=False) as plane:
            holder, other = await plane.worker(), await plane.worker()
            await plane.notify(event("a.jpg"))
            assert (await holder.ask()).leases
        async with serving(dsn, with_function(place, root="0" * 64), store=store.endpoint, loops=False) as plane:

            async def status(worker: Worker) -> int:
                headers = {"authorization": f"Bearer {worker.token}"}
                return (await plane.http.get(f"/v1/bundles/{ROOT}", headers=headers)).status_code

            assert (await status(holder), await status(other)) == (200, 404)


async def test_what_cannot_be_taken(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, with_function("s3://bundles/"), loops=False) as plane:
        for body, status, error in (
            ({"root": ROOT, "bytes": (256 << 20) + 1}, 413, "bundle-too-large"),
            ({"root": ROOT.upper(), "bytes": 1}, 422, "malformed"),
            ({"root": ROOT, "bytes": 0}, 422, "malformed"),
        ):
            answer = await plane.admin("POST", "/v1/bundles", json=body)
            assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert (await plane.http.post("/v1/bundles", json={})).status_code == 401
        # The store of this plane is nowhere.
        answer = await plane.admin("POST", "/v1/bundles", json={"root": ROOT, "bytes": 1})
        assert (answer.status_code, answer.json()["error"]) == (503, "store-unavailable")


async def test_where_no_place_is_set_it_is_beside_the_first_model(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, with_function(""), loops=False) as plane:
        answer = await plane.admin("POST", "/v1/bundles", json={"root": ROOT, "bytes": 1})
        assert (answer.status_code, answer.json()["error"]) == (409, "no-bundles-place")
    models = {"safety": {"source": "s3://weights/safety"}}
    config = configured({"photos": pipeline(conditions="quoted")}, models=models)
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        assert str(plane.services.bundles.place) == "s3://weights/bundles/"
