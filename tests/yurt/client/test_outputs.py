"""Files of results, read from a real bucket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import Cut
from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.apps import app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane
from tests.webhook.publishing import publish
from tests.yurt.client.clients import both, proxied
from yurt import NotReachable, OutputMissing, Refused, YurtError


async def test_outputs_are_read_and_downloaded_whole(postgres_dsn: str, store: LocalStore, tmp_path: Path) -> None:
    buckets = BucketPair.made(store)
    config = buckets.configured(conditions="quoted")
    path, picture = tmp_path / "thumb.webp", os.urandom(500_000)
    async with (
        proxied(store.endpoint) as (proxy, endpoint),
        control_plane(postgres_dsn, config, store=endpoint, loops=False) as plane,
        both(plane.url, (await app_of(plane)).secret) as clients,
    ):
        await publish(plane, buckets, await plane.worker(), "a é.jpg", picture)
        for client in clients:
            found = await client.wait("photos", "a é.jpg")
            assert (found.outcome, found.result.labels) == ("refused", {"verdict": "refused", "width": 3})
            thumb = found.result.file("thumb.webp")
            assert (thumb.size, thumb.content_type) == (500_000, "image/webp")
            assert "Signature" in thumb.url
            assert "Signature" not in repr(found)
            proxy.arm(Cut("answer", 0.5, after=3))
            assert await client.read_output("photos", "a é.jpg", "thumb.webp") == picture
            proxy.arm(Cut("answer", 0.5, after=3))
            assert await client.download_output("photos", "a é.jpg", "thumb.webp", path) == path
            assert path.read_bytes() == picture
            await _refused(client, tmp_path)
            store.fault(method="GET", bucket=buckets.outputs, key_prefix="a é.jpg/thumb", status=403)
            with pytest.raises(Refused, match="did not give an object: 403 AccessDenied") as refused:
                await client.download_output("photos", "a é.jpg", "thumb.webp", tmp_path / "other")
            assert "Signature" not in str(refused.value)
        assert proxy.cuts == 4
        assert [each.name for each in tmp_path.iterdir()] == ["thumb.webp"], "nothing is left behind"


async def _refused(client: Any, folder: Path) -> None:
    with pytest.raises(OutputMissing, match=r"it has .*thumb\.webp"):
        await client.read_output("photos", "a é.jpg", "thumb.png")
    with pytest.raises(YurtError, match="has 500,000 bytes, more than max_bytes=6"):
        await client.read_output("photos", "a é.jpg", "thumb.webp", max_bytes=6)
    # The size of the manifest itself is known from nowhere.
    for call, more in ((client.read_output, ()), (client.download_output, (folder / "other",))):
        with pytest.raises(NotReachable, match="The bucket answers more bytes than are allowed"):
            await call("photos", "a é.jpg", "result.json", *more, max_bytes=20)
