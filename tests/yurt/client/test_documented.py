"""docs/client.md: its examples run against a real control plane, and its tables name what there is."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

import yurt
from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.apps import app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.plane import control_plane
from tests.webhook.publishing import publish
from webhook.callbacks.signatures import signed_headers
from yurt import AsyncClient, Client, YurtError

PAGE = (Path(__file__).parents[3] / "docs/client.md").read_text(encoding="utf-8")
[SCRIPT, SERVER, *_] = re.findall(r"^```py\n(import yurt\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_both_clients_have_the_documented_methods() -> None:
    methods = {name for name in vars(Client) if not name.startswith("_")}
    table = PAGE.partition("## Methods")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == methods
    for name in methods:
        of_both = [inspect.signature(getattr(kind, name)).parameters for kind in (Client, AsyncClient)]
        assert of_both[0] == of_both[1], name


def test_every_error_is_documented() -> None:
    of_functions = {"CallTimeout", "DefinitionError", "RemoteError"}
    errors = {
        name for name in yurt.__all__ if inspect.isclass(kind := getattr(yurt, name)) and issubclass(kind, YurtError)
    }
    table = PAGE.partition("## Errors")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == errors - of_functions


async def test_the_examples_run(
    postgres_dsn: str,
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    buckets = BucketPair.made(store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.jpg").write_bytes(b"picture")
    async with control_plane(
        postgres_dsn, buckets.configured(conditions="quoted"), store=store.endpoint, loops=False
    ) as plane:
        monkeypatch.setenv("YURT_URL", plane.url)
        monkeypatch.setenv("YURT_TOKEN", (await app_of(plane)).secret)
        monkeypatch.setenv("YURT_CALLBACK_SECRETS", SECRET)
        running = asyncio.create_task(asyncio.to_thread(exec, SCRIPT, {}))
        worker = await plane.worker()
        await until(lambda: plane.plane.objects.waiting == 1)
        [photo] = [found["Key"] for found in buckets.s3.list_objects_v2(Bucket=buckets.inputs)["Contents"]]
        await publish(plane, buckets, worker, photo)
        await running
        assert "refused" in capsys.readouterr().out
        assert (tmp_path / "cat-thumb.webp").read_bytes() == b"picture"

        defined: dict[str, Any] = {}
        exec(SERVER, defined)
        app: Starlette = defined["app"]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
            made = (await http.post("/ticket")).json()
            assert made["folder"].startswith("users/42/")
            data = {"pipeline": "photos", "bucket": "b", "key": photo, "sequence": 1, "outputs": []}
            nothing = dict.fromkeys(("etag", "verdict", "reason", "message"))
            told = {"type": "object.done", "timestamp": "2026-01-01T00:00:00Z", "data": {**data, **nothing}}
            body = json.dumps(told).encode()
            headers = signed_headers("msg_1", datetime.now(UTC), body, [SECRET])
            assert (await http.post("/hooks/yurt", content=body, headers=headers)).status_code == 204
            assert f"object.done {photo} []" in capsys.readouterr().out
            assert (await http.post("/hooks/yurt", content=body + b" ", headers=headers)).status_code == 400
        await defined["client"].close()
