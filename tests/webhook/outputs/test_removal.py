"""Only outputs that Yurt wrote are removed, and only those that no later result has."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.infra.local.running import RunningBucket
from tests.webhook.buckets import BucketPair
from webhook.config import Pipeline
from webhook.outputs.removal import Remover
from webhook.storage import ObjectStore
from webhook.storage.presign import SigningKeys

KEY = "up/a.jpg"


@contextlib.asynccontextmanager
async def removing(store: RunningBucket, **more: object) -> AsyncIterator[tuple[Remover, Pipeline, BucketPair]]:
    buckets = BucketPair.made(store)
    client = ObjectStore(store.endpoint, "auto", SigningKeys("tid_test", "tsec_test"))
    one = buckets.configured(**more).pipelines["photos"]
    yield Remover(client, [one]), one, buckets
    await client.aclose()


def written(token: int) -> dict[str, str]:
    return {"yurt-token": str(token)}


async def test_all_outputs_of_an_input_go_but_those_of_others(store: RunningBucket) -> None:
    async with removing(store, on_delete="remove") as (remover, one, buckets):
        recorded = buckets.put(f"{KEY}/recorded.webp")
        buckets.put(f"{KEY}/result.json", metadata=written(7))
        buckets.put(f"{KEY}/forgotten.webp", metadata=written(3))
        left = {f"{KEY}/by-another-program.txt", f"{KEY}/deeper/a.webp", f"{KEY}/later.webp", "up/a.jpg.jpg/a.webp"}
        for key in left:
            buckets.put(key, metadata=written(8 if "later" in key else 1) if "program" not in key else None)
        await remover.remove_all(one, KEY, {"recorded.webp": recorded, "result.json": "another"}, 7)
        assert buckets.keys() == left


async def test_leftovers_go_unless_a_later_result_has_written_them(store: RunningBucket) -> None:
    async with removing(store) as (remover, one, buckets):
        former = {
            name: buckets.put(f"{KEY}/{name}", name.encode(), written(token))
            for name, token in (("old.webp", 5), ("same-token.webp", 7), ("later.webp", 8))
        }
        buckets.put(f"{KEY}/rewritten.webp", b"new", written(5))
        await remover.remove_leftovers(one, KEY, {**former, "rewritten.webp": "old etag", "absent.webp": "x"}, 7)
        assert buckets.keys() == {f"{KEY}/{name}" for name in ("later.webp", "rewritten.webp")}


async def test_staged_outputs_go_by_token_and_of_one_input_only(store: RunningBucket) -> None:
    async with removing(store) as (remover, one, buckets):
        for key in (f"{KEY}/.yurt-6/a", f"{KEY}/.yurt-7/a", f"{KEY}/.yurt-8/a", f"{KEY}/.yurt-x/a", f"{KEY}/a"):
            buckets.put(key)
        assert await remover.remove_staged(one, KEY, below=8) == 2
        assert buckets.keys() == {f"{KEY}/.yurt-8/a", f"{KEY}/.yurt-x/a", f"{KEY}/a"}
