"""Searching objects, and the story of one."""

from __future__ import annotations

from tests.infra.local.running import RunningBucket
from tests.webhook.buckets import BucketPair
from tests.webhook.page.visits import parked, visiting
from tests.webhook.plane import control_plane, done, event


async def test_a_search_by_beginning_part_and_state(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        await parked(plane, "cats/grey.jpg")
        await plane.notify(*(event(key) for key in ("cats/white.jpg", "dogs/white.jpg", "dogs/100%_a.jpg")))

        async def found(**query: str) -> set[str]:
            text = await visitor.page("/objects", **query)
            keys = ("cats/grey.jpg", "cats/white.jpg", "dogs/white.jpg", "dogs/100%_a.jpg")
            return {key for key in keys if f"<bdi>{key}</bdi>" in text}

        assert len(await found()) == 4
        assert await found(prefix="cats/") == {"cats/grey.jpg", "cats/white.jpg"}
        assert await found(part="white") == {"cats/white.jpg", "dogs/white.jpg"}
        assert await found(part="%_") == {"dogs/100%_a.jpg"}, "a part is text, not a pattern"
        assert await found(state="parked") == {"cats/grey.jpg"}
        assert await found(state="done") == set()


async def test_pages_of_a_search(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        await plane.notify(*(event(f"{number:03}.jpg") for number in range(60)))
        first = await visitor.page("/objects")
        assert ("<bdi>049.jpg" in first, "<bdi>050.jpg" in first) == (True, False)
        second = await visitor.page("/objects", after="049.jpg")
        assert ("<bdi>049.jpg" in second, "<bdi>059.jpg" in second, "More" in second) == (False, True, False)


async def test_one_object_with_its_labels_and_results(postgres_dsn: str, store: RunningBucket) -> None:
    pair = BucketPair.made(store)
    manifest = (
        '{"version": 1, "pipeline": "photos", "bucket": "b", "key": "a.jpg", "input": {"etag": "e", "size": 1},'
        ' "token": 1, "attempt": 1, "handler": "photo", "outputs": [], "labels": {"subject": "<cat>"},'
        ' "seconds": {"fetch": 0.1, "handle": 2, "publish": 0.1}, "finished_at": "2026-01-01T10:30:02Z"}'
    )
    async with (
        control_plane(postgres_dsn, pair.configured(), loops=False, store=store.endpoint) as plane,
        visiting(plane) as visitor,
    ):
        await plane.notify(event("a.jpg", bucket=pair.inputs))
        assert "waits for a machine" in await visitor.page("/object", pipeline="photos", key="a.jpg")
        worker = await plane.worker()
        lease = await worker.lease()
        assert f'href="/machines/{worker.id}"' in await visitor.page("/object", pipeline="photos", key="a.jpg")
        await worker.ask(most=0, settle=[done(lease, {"256.webp": "e", "result.json": "r"})])
        assert "The manifest is gone" in await visitor.page("/object", pipeline="photos", key="a.jpg")
        pair.put("a.jpg/result.json", manifest.encode())
        text = await visitor.page("/object", pipeline="photos", key="a.jpg")
        assert "&lt;cat&gt;" in text
        assert "2.0 s" in text
        assert 'src="/result?pipeline=photos&amp;key=a.jpg&amp;name=256.webp&amp;etag=e"' in text
        pair.put("a.jpg/result.json", b"{")
        assert "The manifest is damaged" in await visitor.page("/object", pipeline="photos", key="a.jpg")


async def test_a_search_by_verdict(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        verdicts = {"a.jpg": "ok", "b.jpg": "review", "c.jpg": "refused", "d.jpg": None, "e.jpg": "review"}
        await plane.notify(*(event(key) for key in verdicts))
        worker = await plane.worker()
        leases = (await worker.ask(most=5)).leases
        settled = [{**done(lease, {"result.json": "r"}), "verdict": verdicts[lease.key]} for lease in leases]
        await worker.ask(most=0, settle=settled)

        async def found(**query: str) -> set[str]:
            text = await visitor.page("/objects", **query)
            return {key for key in verdicts if f"<bdi>{key}</bdi>" in text}

        assert await found(verdict="ok") == {"a.jpg"}
        assert await found(verdict="review") == {"b.jpg", "e.jpg"}
        assert await found(verdict="review", state="done", prefix="e") == {"e.jpg"}
        assert await found(verdict="refused", after="c.jpg") == set()
        assert await found() == {*verdicts}
        assert "have a verdict" in await visitor.page("/objects", verdict="ok", state="parked")
        assert '<span class="state refused">refused</span>' in await visitor.page(
            "/object", pipeline="photos", key="c.jpg"
        )
