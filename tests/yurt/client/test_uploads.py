"""Uploads by both clients to a real bucket: small and large, cut off and resumed, refused."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import Cut
from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.apps import app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane
from tests.yurt.client.clients import both, proxied
from yurt import AsyncClient, Client, KeyTaken, NotReachable, Refused, UploadInterrupted

MIB = 1 << 20


def stored(buckets: BucketPair, key: str) -> tuple[bytes, str]:
    """Content and type of an object."""
    found = buckets.s3.get_object(Bucket=buckets.inputs, Key=key)
    return found["Body"].read(), found["ContentType"]


class Noted:
    """How far an upload was, each time that the app was told."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.totals: set[int] = set()

    def __call__(self, done: int, total: int) -> None:
        self.done.append(done)
        self.totals.add(total)


def plane_of(dsn: str, buckets: BucketPair, **more: Any) -> Any:
    return control_plane(dsn, buckets.configured(), loops=False, **{"store": buckets.store.endpoint, **more})


async def test_small_files_go_by_one_put(postgres_dsn: str, store: LocalStore, tmp_path: Path) -> None:
    buckets = BucketPair.made(store)
    photo, note = tmp_path / "My cat é.HEIC", tmp_path / "empty"
    photo.write_bytes(os.urandom(600_000))
    note.touch()
    async with plane_of(postgres_dsn, buckets) as plane, both(plane.url, (await app_of(plane)).secret) as clients:
        for number, client in enumerate(clients):
            progress = Noted()
            uploaded = await client.upload(photo, pipeline="photos", prefix="users/42", progress=progress)
            assert stored(buckets, uploaded.key) == (photo.read_bytes(), "image/heic")
            assert uploaded.key.startswith("users/42/")
            assert uploaded.key.endswith("/My cat é.HEIC")
            head = buckets.s3.head_object(Bucket=buckets.inputs, Key=uploaded.key)
            assert (uploaded.size, uploaded.etag) == (600_000, head["ETag"].strip('"'))
            assert (progress.done[0], progress.done[-1], progress.totals) == (0, 600_000, {600_000})
            assert progress.done == sorted(progress.done)
            assert len(progress.done) > 2

            empty = await client.upload(str(note), pipeline="photos")
            assert stored(buckets, empty.key) == (b"", "application/octet-stream")
            file = io.BytesIO(b"hello")
            file.read(3)
            named = {"pipeline": "photos", "key": f"{number}/a.txt"}
            assert (await client.upload(file, **named)).key == f"{number}/a.txt"
            assert not file.closed
            with pytest.raises(KeyTaken, match="replace=True"):
                await client.upload(io.BytesIO(b"other"), **named)
            await client.upload(io.BytesIO(b"other"), **named, replace=True, content_type="text/html")
            assert stored(buckets, f"{number}/a.txt") == (b"other", "text/html")


async def test_a_ticket_uploads_and_ends(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane, both(plane.url, (await app_of(plane)).secret) as apps:
        for app in apps:
            ticket = await app.ticket("photos", prefix="users/7", content_types=["image/*"], max_bytes=9, uploads=2)
            assert ticket.ticket not in repr(ticket)
            assert (ticket.content_types, ticket.max_bytes, ticket.uploads) == (("image/*",), 9, 2)
            async with both(plane.url, ticket.ticket) as browsers:
                for browser in browsers:
                    uploaded = await browser.upload(io.BytesIO(b"picture"), name="a.webp")
                    assert uploaded.key.startswith(ticket.folder)
                    assert stored(buckets, uploaded.key) == (b"picture", "image/webp")
                for wrong, code in (
                    ({"name": "a.txt"}, "type-not-allowed"),
                    ({"name": "a.png"}, "ticket-used"),
                    ({"name": "a.png", "key": "b.png"}, "outside-ticket"),
                ):
                    with pytest.raises(Refused) as refused:
                        await browsers[0].upload(io.BytesIO(b"x"), **wrong)
                    assert refused.value.code == code
                await plane.sql("update upload_tickets set expires_at = now() - interval '1 second'")
                for browser in browsers:
                    with pytest.raises(Refused, match="has expired: the app's server makes another one") as refused:
                        await browser.upload(io.BytesIO(b"x"), name="a.png")
                    assert refused.value.status == 401
                    assert ticket.ticket not in str(refused.value)


async def test_answers_that_are_lost(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    lost = {"method": "PUT", "bucket": buckets.inputs, "status": 500, "effect": "done"}
    async with plane_of(postgres_dsn, buckets) as plane, both(plane.url, (await app_of(plane)).secret) as clients:
        await clients[0].upload(io.BytesIO(b"x"), pipeline="photos")  # the store is tried before
        for client in clients:
            store.fault(**lost)
            uploaded = await client.upload(io.BytesIO(b"hello"), pipeline="photos")
            assert (stored(buckets, uploaded.key)[0], uploaded.etag) == (b"hello", None)
            store.fault(**lost)
            with pytest.raises(KeyTaken):
                await client.upload(io.BytesIO(b"hello"), pipeline="photos", key=f"{id(client)}.txt")
        store.fault(**{**lost, "status": 403, "effect": "none"})
        with pytest.raises(Refused, match="403 AccessDenied") as refused:
            await clients[0].upload(io.BytesIO(b"hello"), pipeline="photos")
        assert "Signature" not in str(refused.value)


async def test_a_large_file_is_resumed(postgres_dsn: str, store: LocalStore, tmp_path: Path) -> None:
    """Parts are cut off in the middle, by a proxy before the bucket."""
    buckets = BucketPair.made(store)
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(MIB) * 40 + b"end")
    async with (
        proxied(store.endpoint) as (proxy, endpoint),
        plane_of(postgres_dsn, buckets, store=endpoint) as plane,
        both(plane.url, (await app_of(plane)).secret, retry_seconds=0) as clients,
    ):
        resumed_at: list[int] = []
        for client in clients:
            begun: list[int] = []
            proxy.arm(Cut("request", 0.5, after=60))
            with pytest.raises(UploadInterrupted, match="Go on with resume=") as interrupted:
                await client.upload(path, pipeline="photos", began=begun.append)
            assert proxy.cuts
            assert begun == [interrupted.value.upload_id]
            with pytest.raises(ValueError, match="this file has 3"):
                await client.upload(io.BytesIO(b"end"), resume=begun[0])
            progress = Noted()
            uploaded = await client.upload(path, resume=begun[0], progress=progress)
            assert stored(buckets, uploaded.key) == (path.read_bytes(), "video/mp4")
            assert progress.done[-1] == uploaded.size
            resumed_at.append(progress.done[0])
            buckets.s3.delete_object(Bucket=buckets.inputs, Key=uploaded.key)
            with pytest.raises(Refused, match="completed, given up, or has expired"):
                await client.upload(path, resume=begun[0] + 1_000)
        assert resumed_at[0] >= 16 * MIB, "parts that were under way have arrived, and are not sent again"


async def test_a_part_that_is_cut_off_is_sent_again(postgres_dsn: str, store: LocalStore, tmp_path: Path) -> None:
    buckets = BucketPair.made(store)
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(MIB) * 33)
    async with (
        proxied(store.endpoint) as (proxy, endpoint),
        plane_of(postgres_dsn, buckets, store=endpoint) as plane,
        AsyncClient(plane.url, (await app_of(plane)).secret) as client,
    ):
        proxy.arm(Cut("request", 0.5, after=100))
        uploaded = await client.upload(path, pipeline="photos")
        assert proxy.cuts == 1
        assert stored(buckets, uploaded.key)[0] == path.read_bytes()
        head = buckets.s3.head_object(Bucket=buckets.inputs, Key=uploaded.key)
        assert uploaded.etag == head["ETag"].strip('"')


async def test_a_bucket_that_is_away(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with (
        proxied(store.endpoint) as (proxy, endpoint),
        plane_of(postgres_dsn, buckets, store=endpoint) as plane,
        both(plane.url, (await app_of(plane)).secret, retry_seconds=0.6) as clients,
    ):
        await clients[0].upload(io.BytesIO(b"x"), pipeline="photos")
        await proxy.aclose()
        for client in clients:
            with pytest.raises(
                NotReachable, match=r"No answer from the bucket: \w+. Does this machine reach it\?"
            ) as away:
                await client.upload(io.BytesIO(b"x"), pipeline="photos")
            assert "Signature" not in str(away.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9", "token", retry_seconds=0) as client:
        with pytest.raises(FileNotFoundError):
            client.upload(tmp_path / "absent.jpg", pipeline="photos")
        with pytest.raises(NotReachable, match="No answer from the control plane: ConnectError") as away:
            client.upload(io.BytesIO(b""), pipeline="photos")
        assert away.value.__cause__ is None
