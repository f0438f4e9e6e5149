"""What an output's store honours is found out, by a store that does it right and by ones that do not."""

from __future__ import annotations

import asyncio

import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.buckets import BucketPair
from tests.webhook.gateway import Kind, gateway
from tests.webhook.storage.clients import opened
from webhook.config import Pipeline, Place
from webhook.outputs.conditions import Conditions, Probed, Style, probe
from webhook.storage import StoreError


async def probed(kind: Kind, store: LocalStore, prefix: str = "results/") -> Probed:
    buckets = BucketPair.made(store)
    async with gateway(kind, store.endpoint) as it, opened(it.endpoint) as client:
        found = await probe(client, Place(bucket=buckets.outputs, prefix=prefix))
    assert not buckets.keys(), "the probe was left behind"
    return found


@pytest.mark.parametrize(
    ("kind", "style"),
    [("plain", Style.QUOTED), ("ceph", Style.UNQUOTED), ("deaf", Style.NONE), ("refusing", Style.NONE)],
)
async def test_the_style_is_what_the_store_honours(store: LocalStore, kind: Kind, style: Style) -> None:
    assert (await probed(kind, store)).style is style


async def test_a_store_that_honours_half_of_it_honours_nothing(store: LocalStore) -> None:
    assert await probed("lenient", store) == Probed(Style.NONE, "If-Match is ignored: a wrong ETag was taken")


async def test_the_probe_lies_below_the_prefix_in_what_no_pipeline_watches(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    for prefix in ("", "results/", "results"):
        async with gateway("plain", store.endpoint) as it, opened(it.endpoint) as client:
            await probe(client, Place(bucket=buckets.outputs, prefix=prefix))
            paths = {path.removeprefix(f"/{buckets.outputs}/") for method, path in it.requests if method == "PUT"}
        [key] = paths
        assert key.startswith(prefix)
        said = {"input": f"s3://{buckets.outputs}/", "output": "s3://other/"}
        assert not Pipeline.model_validate(said).watches(buckets.outputs, key)


async def test_a_store_that_fails_is_no_finding(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    place = Place(bucket=buckets.outputs)
    async with opened(store.endpoint) as client:
        for status in (403, 503):
            store.fault(method="PUT", bucket=buckets.outputs, status=status)
            with pytest.raises(StoreError, match=str(status)):
                await probe(client, place)
        with pytest.raises(StoreError, match="no bucket"):
            await probe(client, Place(bucket="no-such-bucket"))


async def test_a_lost_answer_is_no_finding(store: LocalStore) -> None:
    """The first attempt took effect, its answer was lost, and the second is refused for what the first did."""
    buckets = BucketPair.made(store)
    place = Place(bucket=buckets.outputs)
    async with opened(store.endpoint, attempts=2) as client:
        store.fault(method="PUT", bucket=buckets.outputs, status=500, effect="done")
        with pytest.raises(StoreError, match="refuses to create") as caught:
            await probe(client, place)
        assert caught.value.retry
        async with gateway("plain", store.endpoint) as it, opened(it.endpoint, attempts=2) as through:

            async def lose(request: object) -> None:
                puts = [path for method, path in it.requests if method == "PUT"]
                if len(puts) == 3:  # the one with the right If-Match
                    store.fault(method="PUT", bucket=buckets.outputs, status=500, effect="done")

            it.before = lose
            with pytest.raises(StoreError, match="happened all the same"):
                await probe(through, place)


def pipelines(buckets: BucketPair, **more: object) -> Pipeline:
    said = {
        "unsigned_headers": "trust",
        "input": f"s3://{buckets.inputs}/",
        "output": f"s3://{buckets.outputs}/",
        **more,
    }
    return Pipeline.model_validate(said)


async def test_a_place_is_asked_once_however_many_need_it(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    pipeline = pipelines(buckets)
    async with gateway("ceph", store.endpoint) as it, opened(it.endpoint) as client:
        conditions = Conditions([pipeline], client)
        styles = await asyncio.gather(*(conditions.style(pipeline) for _ in range(20)))
        assert set(styles) == {Style.UNQUOTED}
        once = len(it.requests)
        assert await conditions.style(pipeline) is Style.UNQUOTED
        assert len(it.requests) == once
        assert len({path for method, path in it.requests if method == "PUT"}) == 1


async def test_what_could_not_be_found_out_is_asked_again(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    pipeline = pipelines(buckets)
    async with opened(store.endpoint) as client:
        conditions = Conditions([pipeline], client)
        store.fault(method="PUT", bucket=buckets.outputs, status=503)
        with pytest.raises(StoreError):
            await conditions.style(pipeline)
        assert conditions.refusal(pipeline) == ""
        assert await conditions.style(pipeline) is Style.QUOTED


async def test_one_that_is_given_up_does_not_end_the_probe_of_the_others(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    pipeline = pipelines(buckets)
    async with opened(store.endpoint) as client:
        conditions = Conditions([pipeline], client)
        first, second = (asyncio.create_task(conditions.style(pipeline)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second is Style.QUOTED


async def test_what_is_given_is_not_tried(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with gateway("plain", store.endpoint) as it, opened(it.endpoint) as client:
        for said in ("quoted", "unquoted"):
            pipeline = pipelines(buckets, conditions=said)
            assert await Conditions([pipeline], client).style(pipeline) == said
        staged = pipelines(buckets, conditions="none", unconditional="stage")
        assert await Conditions([staged], client).style(staged) is Style.NONE
        assert not it.requests


async def test_a_refused_place_is_looked_at_again(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    refused, staged = pipelines(buckets), pipelines(buckets, unconditional="stage")
    async with gateway("deaf", store.endpoint) as it, opened(it.endpoint) as client:
        conditions = Conditions([refused, staged], client)
        assert await conditions.style(refused) is Style.NONE
        assert "If-None-Match: * is ignored" in conditions.refusal(refused)
        assert 'Set unconditional = "stage"' in conditions.refusal(refused)
        assert conditions.refusal(staged) == ""
        await conditions.probe_refused_again()
        assert conditions.refusal(refused)
        it.kind = "plain"
        await conditions.probe_refused_again()
        assert conditions.refusal(refused) == ""
        once = len(it.requests)
        await conditions.probe_refused_again()
        assert len(it.requests) == once
