"""Callbacks reach a real app, which is killed, refuses, and is slow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.polling import until
from tests.stream_server import stream_server
from tests.webhook.callbacks.delivery_bench import DeliveryBench, with_callback
from tests.webhook.callbacks.receiving_process import ReceivingProcess, running_app
from tests.webhook.ledger.ledger_bench import bench, done, event
from webhook.callbacks.delivery import retry_seconds
from webhook.config import CallbackSettings
from webhook.pipelines import NamedPipeline


async def test_an_app_is_told_what_is_settled(postgres_dsn: str, tmp_path: Path) -> None:
    async with bench(postgres_dsn) as b:
        d = DeliveryBench(b)
        with running_app(tmp_path / "app") as app:
            await app.start()
            async with d.delivering(app.settings):
                await d.settle("a.jpg")
                await d.settle("b.jpg", verdict="refused")
                await d.until_counts(2, 0, 0, 0)
            first, second = sorted(app.received(), key=lambda told: str(told["data"]["key"]))
    assert (first["type"], second["type"]) == ("object.done", "object.refused")
    data = first["data"]
    assert (data["pipeline"], data["key"], data["etag"], data["verdict"]) == ("photos", "a.jpg", "v1", "ok")
    [output] = data["outputs"]
    assert output["url"].startswith("https://store.example.com/photos-out/a.jpg/256.webp?")
    assert first["id"].startswith("msg_")


@pytest.mark.slow
async def test_an_app_that_is_killed_is_told_everything_in_order(postgres_dsn: str, tmp_path: Path) -> None:
    async with bench(postgres_dsn) as b:
        d = DeliveryBench(b)
        with running_app(tmp_path / "app") as app:
            await app.start()
            async with d.delivering(app.settings):
                for round in range(4):
                    for key in ("a.jpg", "b.jpg", "c.jpg"):
                        await d.settle(key, f"v{round}")
                    if round % 2:
                        app.kill()
                        await d.settle("d.jpg", f"v{round}")
                        await app.start()
                await d.until_counts(14, 0, 0, 0)
            told = app.received()
    by_key: dict[str, dict[int, str]] = {}
    for each in told:
        by_key.setdefault(each["data"]["key"], {}).setdefault(each["data"]["sequence"], each["id"])
    assert sum(map(len, by_key.values())) == 14, "nothing is left out"
    for key in by_key:
        sequences = [each["data"]["sequence"] for each in told if each["data"]["key"] == key]
        assert sequences == sorted(sequences), "never an older state after a newer one"
    ids = {(each["data"]["key"], each["data"]["sequence"]): each["id"] for each in told}
    assert all(each["id"] == ids[each["data"]["key"], each["data"]["sequence"]] for each in told)


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_is_not_taken_is_sent_again_with_the_same_id(postgres_dsn: str, tmp_path: Path, status: int) -> None:
    async with bench(postgres_dsn) as b:
        d = DeliveryBench(b)
        with running_app(tmp_path / "app") as app:
            await app.start()
            app.answer(status)
            (tmp_path / "app" / "location").write_text("http://169.254.169.254/")
            async with d.delivering(app.settings):
                await d.settle("a.jpg")

                async def refused() -> bool:
                    rows = await d.outbox.page(None, None, None, None, 1)
                    return any(row["status"] == status for row in rows)

                await until(refused, seconds=30)
                app.answer(200)
                await d.until_counts(1, 0, 0, 0)
            assert len(app.received()) == 1
            [row] = await d.outbox.page(None, None, None, None, 1)
            assert row["attempts"] >= 2


async def test_410_turns_a_receiver_off_until_a_replay(postgres_dsn: str, tmp_path: Path) -> None:
    async with bench(postgres_dsn) as b:
        d = DeliveryBench(b)
        with running_app(tmp_path / "app") as app:
            await app.start()
            app.answer(410)
            async with d.delivering(app.settings):
                await d.settle("a.jpg")

                async def is_off() -> bool:
                    return bool([row for row in await d.outbox.counts() if row["off"]])

                await until(is_off, seconds=30)
                app.answer(200)
                await d.settle("b.jpg")
                await d.outbox.replay(b.photos, None, [], dry_run=False)
                await d.until_counts(2, 0, 0, 0)


async def test_a_receiver_that_hangs_delays_no_other(postgres_dsn: str, tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with bench(postgres_dsn) as b, stream_server(hang) as port:
        d = DeliveryBench(b)
        hanging = CallbackSettings(url=f"http://127.0.0.1:{port}/", allow_private=True)
        with running_app(tmp_path / "app") as app:
            await app.start()
            told = {"videos": (b.videos, hanging), "photos": (b.photos, app.settings)}
            async with d.delivering_to({number: (name, with_callback(to)) for name, (number, to) in told.items()}):
                for number in range(20):
                    await b.record(event(f"{number}.mp4"), pipelines=[b.videos])
                    [lease] = await b.claim(pipeline=b.videos)
                    await b.settle(lease, done())
                await d.settle("a.jpg")
                await until(lambda: len(app.received()) == 1, seconds=10)


async def received(app: ReceivingProcess, number: int) -> None:
    await until(lambda: len(app.received()) == number)


async def test_a_callback_that_is_set_changed_and_removed_holds_at_once(postgres_dsn: str, tmp_path: Path) -> None:
    async with bench(postgres_dsn) as b:
        d = DeliveryBench(b)
        with running_app(tmp_path / "first") as first, running_app(tmp_path / "second") as second:
            await first.start()
            await second.start()
            pipelines: dict[int, NamedPipeline] = {}
            async with d.delivering_to(pipelines) as delivery:
                for app, key in ((first, "a.jpg"), (second, "b.jpg")):
                    pipelines[b.photos] = "photos", with_callback(app.settings)
                    delivery.changed()
                    await until(d.has_begun)
                    await d.settle(key)
                    await received(app, 1)
                del pipelines[b.photos]
                delivery.changed()
                await until(lambda: d.lines_ended == 2, failure="its line goes on")
                await d.settle("c.jpg")
            assert [[told["data"]["key"] for told in app.received()] for app in (first, second)] == [
                ["a.jpg"],
                ["b.jpg"],
            ]


async def test_an_address_inside_is_never_called(postgres_dsn: str, tmp_path: Path) -> None:
    async with bench(postgres_dsn) as b:
        d = DeliveryBench(b)
        with running_app(tmp_path / "app") as app:
            await app.start()
            settings = app.settings.model_copy(update={"allow_private": False})
            async with d.delivering(settings):
                await d.settle("a.jpg")

                async def refused() -> bool:
                    rows = await d.outbox.page(None, None, None, None, 1)
                    return bool(rows) and "an address inside" in (rows[0]["error"] or "")

                await until(refused, seconds=30)
            assert app.received() == []


def test_waits_grow_to_an_hour() -> None:
    longest = [retry_seconds(attempt, lambda: 0.0) for attempt in range(1, 9)]
    assert longest == [5, 20, 80, 320, 1280, 3600, 3600, 3600]
    assert retry_seconds(1, lambda: 1.0) == 3.75
