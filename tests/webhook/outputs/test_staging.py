"""Publishing where the store honours no conditions: by way of keys of a token's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.buckets import BucketPair, sent
from tests.webhook.gateway import Gateway, gateway, hand_on
from tests.webhook.plane import RunningPlane, Worker, control_plane, done, event
from workers.protocol import Lease

KEY = "a b.jpg"


@dataclass(frozen=True, slots=True)
class Staged:
    """A control plane over a store that is deaf to conditions."""

    plane: RunningPlane
    store: Gateway
    buckets: BucketPair

    async def lease(self, worker: Worker) -> Lease:
        """Of the object, announced anew."""
        await self.plane.notify(event(KEY, bucket=self.buckets.inputs))
        return await worker.lease()

    async def put(self, worker: Worker, lease: Lease, *names: str, body: bytes = b"") -> dict[str, str]:
        """Put outputs where the worker is told to. Returns their ETags."""
        content = body or str(lease.token).encode()
        uploads = await worker.uploads(lease, *names)
        return {u.name: (await sent(u, content)).headers["etag"].strip('"') for u in uploads}

    async def settle(self, worker: Worker, lease: Lease, etags: dict[str, str]) -> bool:
        """Settle as done. Returns whether that was accepted."""
        [settled] = (await worker.ask(most=0, settle=[done(lease, etags)])).settled
        return settled.accepted

    async def expire(self, lease: Lease) -> None:
        """Let the lease run out."""
        await self.plane.sql("update objects set deadline = now() - interval '1 second' where id = $1", lease.id)
        assert await self.plane.services.ledger.reap() == 1

    def read(self, name: str) -> bytes:
        """What is published."""
        return self.buckets.s3.get_object(Bucket=self.buckets.outputs, Key=f"{KEY}/{name}")["Body"].read()

    async def row(self) -> Any:
        """Of the object."""
        return (await self.plane.objects())[KEY]


def hold_copies(store: Gateway) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold all copies. The first event says that one has come, the second lets them go on."""
    copying, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> None:
        if "x-amz-copy-source" in request.headers:
            copying.set()
            await go_on.wait()

    store.before = hold
    return copying, go_on


@contextlib.asynccontextmanager
async def staged(postgres_dsn: str, store: LocalStore, **more: Any) -> AsyncIterator[Staged]:
    buckets = BucketPair.made(store)
    config = buckets.configured(unconditional="stage", **more)
    async with (
        gateway("deaf", store.endpoint) as deaf,
        control_plane(postgres_dsn, config, store=deaf.endpoint, loops=False) as plane,
    ):
        yield Staged(plane, deaf, buckets)
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_outputs_are_put_aside_and_published_when_the_lease_is_settled(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with staged(postgres_dsn, store) as it:
        worker = await it.plane.worker()
        lease = await it.lease(worker)
        [upload] = await worker.uploads(lease, "256.webp", cache_control="max-age=300")
        assert not {"if-match", "if-none-match"} & set(upload.headers)
        etag = (await sent(upload)).headers["etag"].strip('"')
        assert it.buckets.keys() == {f"{KEY}/.yurt-{lease.token}/256.webp"}
        etags = {"256.webp": etag, **await it.put(worker, lease, "result.json")}
        assert await it.settle(worker, lease, etags)
        said = it.buckets.s3.head_object(Bucket=it.buckets.outputs, Key=f"{KEY}/256.webp")
        assert (said["ContentType"], said["CacheControl"]) == ("text/plain", "max-age=300")
        assert said["Metadata"] == {"yurt-pipeline": "photos", "yurt-token": str(lease.token), "yurt-input-etag": "abc"}
        row = await it.row()
        assert (row["state"], row["done_etag"]) == ("done", "abc")

        async def tidy() -> bool:
            return it.buckets.keys() == {f"{KEY}/256.webp", f"{KEY}/result.json"}

        await until(tidy)
        copies = [path for method, path in it.store.requests if method == "PUT" and ".yurt-" not in path]
        assert copies[-1].endswith("/result.json")


async def test_a_worker_that_wakes_late_can_neither_settle_nor_overwrite(postgres_dsn: str, store: LocalStore) -> None:
    async with staged(postgres_dsn, store) as it:
        slow, other = await it.plane.worker(), await it.plane.worker()
        old = await it.lease(slow)
        uploads = await slow.uploads(old, "256.webp", "result.json")
        await it.expire(old)
        new = await other.lease()
        assert await it.settle(other, new, await it.put(other, new, "256.webp", "result.json"))
        etags = {u.name: (await sent(u, b"stale")).headers["etag"].strip('"') for u in uploads}
        assert not await it.settle(slow, old, etags)
        assert it.read("256.webp") == it.read("result.json") == str(new.token).encode()


async def test_nobody_gets_the_object_while_it_is_copied(postgres_dsn: str, store: LocalStore) -> None:
    """Not when the worker is slain, either: the control plane holds the lease."""
    async with staged(postgres_dsn, store, lease_seconds=30, timeout_seconds=1) as it:
        worker = await it.plane.worker()
        lease = await it.lease(worker)
        etags = await it.put(worker, lease, "256.webp", "result.json")
        copying, go_on = hold_copies(it.store)
        settling = [asyncio.create_task(it.settle(worker, lease, etags)) for _ in range(2)]
        await asyncio.wait_for(copying.wait(), 10)
        assert await it.plane.services.fleet.slaying(worker.id, "silent", "ready")  # type: ignore[arg-type]
        [left] = await it.plane.sql("select worker_id, extract(epoch from deadline - now()) as s from objects")
        assert left["worker_id"] is None
        assert left["s"] > 100
        assert (await (await it.plane.worker()).ask()).leases == []
        go_on.set()
        assert await asyncio.gather(*settling) == [True, True]  # one settled, the other waited for it
        assert (await it.row())["state"] == "done"
        assert [row["value"] for row in await it.plane.sql("select value from tally where name = 'done'")] == [1]


async def test_a_newer_result_is_not_replaced(postgres_dsn: str, store: LocalStore) -> None:
    async with staged(postgres_dsn, store) as it:
        worker = await it.plane.worker()
        lease = await it.lease(worker)
        etags = await it.put(worker, lease, "256.webp", "result.json")
        it.buckets.put(f"{KEY}/result.json", b"newer", {"yurt-token": str(lease.token + 1)})
        assert not await it.settle(worker, lease, etags)
        assert it.read("result.json") == b"newer"
        assert not {f"{KEY}/256.webp"} & it.buckets.keys()
        row = await it.row()
        assert (row["state"], row["faults"]) == ("pending", 1)


async def test_outputs_that_are_not_there_or_not_those_are_not_published(postgres_dsn: str, store: LocalStore) -> None:
    async with staged(postgres_dsn, store) as it:
        worker = await it.plane.worker()
        for wrong in ("missing", "older", "other"):
            lease = await it.lease(worker)
            etags = await it.put(worker, lease, "256.webp")
            if wrong == "older":
                etags["256.webp"] = it.buckets.put(f"{KEY}/256.webp", b"older", {"yurt-token": "17"})
                it.buckets.s3.delete_object(Bucket=it.buckets.outputs, Key=f"{KEY}/.yurt-{lease.token}/256.webp")
            elif wrong == "missing":
                etags["result.json"] = "0" * 32
            else:
                etags["256.webp"] = "0" * 32
            assert not await it.settle(worker, lease, etags)
            assert not {f"{KEY}/result.json"} & it.buckets.keys()
            assert (await it.row())["state"] == "pending"


async def test_a_store_that_fails_costs_no_attempt(postgres_dsn: str, store: LocalStore) -> None:
    async with staged(postgres_dsn, store) as it:
        worker = await it.plane.worker()
        lease = await it.lease(worker)
        etags = await it.put(worker, lease, "256.webp", "result.json")

        async def forbid(request: Request) -> None:
            if "x-amz-copy-source" in request.headers:
                store.fault(method="PUT", bucket=it.buckets.outputs, status=403)

        it.store.before = forbid
        assert not await it.settle(worker, lease, etags)
        row = await it.row()
        assert (row["state"], row["attempts"], row["faults"]) == ("pending", 0, 1)
        assert "refuses access" in row["error"]
        it.store.before = hand_on
        again = await worker.lease()
        assert await it.settle(worker, again, await it.put(worker, again, "256.webp", "result.json"))


async def test_a_store_that_was_mended_meanwhile_is_no_harm(postgres_dsn: str, store: LocalStore) -> None:
    """One replica knows that conditions hold by now, and had the worker publish directly; another settles."""
    async with staged(postgres_dsn, store) as it:
        worker = await it.plane.worker()
        it.store.kind = "plain"
        lease = await it.lease(worker)
        etags = await it.put(worker, lease, "256.webp", "result.json")
        assert it.buckets.keys() == {f"{KEY}/256.webp", f"{KEY}/result.json"}
        assert await it.settle(worker, lease, etags)
        assert (await it.row())["state"] == "done"


async def test_what_dead_workers_put_aside_is_removed_with_the_next_result(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with staged(postgres_dsn, store) as it:
        worker = await it.plane.worker()
        dead = await it.lease(worker)
        await it.put(worker, dead, "256.webp")
        await it.expire(dead)
        it.buckets.put(f"{KEY}/.yurt-{dead.token + 1_000_000}/256.webp")
        it.buckets.put(f"{KEY}/b.jpg/.yurt-1/256.webp")
        lease = await worker.lease()
        assert await it.settle(worker, lease, await it.put(worker, lease, "256.webp", "result.json"))

        async def tidy() -> bool:
            return len(it.buckets.keys()) == 4

        await until(tidy)
        assert it.buckets.keys() == {
            f"{KEY}/256.webp",
            f"{KEY}/result.json",
            f"{KEY}/.yurt-{dead.token + 1_000_000}/256.webp",
            f"{KEY}/b.jpg/.yurt-1/256.webp",
        }


async def test_a_settlement_of_another_worker_learns_nothing_of_a_copy_under_way(
    postgres_dsn: str, store: LocalStore
) -> None:
    async with staged(postgres_dsn, store, lease_seconds=30, timeout_seconds=1) as it:
        worker, stranger = await it.plane.worker(), await it.plane.worker()
        lease = await it.lease(worker)
        etags = await it.put(worker, lease, "256.webp", "result.json")
        copying, go_on = hold_copies(it.store)
        settling = asyncio.create_task(it.settle(worker, lease, etags))
        await asyncio.wait_for(copying.wait(), 10)
        assert not await it.settle(stranger, lease, etags)
        go_on.set()
        assert await settling
