"""Calls of functions over HTTP, with a worker that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.infra.local.running import RunningBucket
from tests.webhook.plane import RunningPlane, configured, control_plane, event, pipeline
from webhook.calls.calls import PIPELINE

ID, OTHER = "a" * 32, "b" * 32
OPTIONS = {"bundle": "0" * 64, "function": "app:one"}


@dataclass(frozen=True, slots=True)
class CallingApp:
    """An app that calls the function ``one``."""

    plane: RunningPlane
    bucket: str
    token: str

    async def post(self, path: str, body: object, token: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {token or self.token}"}
        return await self.plane.http.post(f"/v1/functions/{path}", json=body, headers=headers)

    async def offered(self, id: str = ID) -> dict[str, Any] | None:
        answer = await self.post("one/calls", {"calls": [{"id": id, "bytes": 4}]})
        assert answer.status_code == 200, answer.text
        upload: dict[str, Any] | None = answer.json()["calls"][0]["upload"]
        return upload

    async def upload(self, offer: dict[str, Any] | None) -> None:
        assert offer
        async with httpx.AsyncClient() as http:
            answer = await http.put(offer["url"], content=b"args", headers=offer["headers"])
            assert answer.status_code == 200, answer.text

    async def begun(self, id: str = ID) -> None:
        await self.upload(await self.offered(id))
        assert (await self.post("one/calls/begin", {"ids": [id]})).json() == {"begun": 1}

    async def states(self, *ids: str, wait: float = 0) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = (await self.post("one/calls/wait", {"ids": ids, "wait": wait})).json()["calls"]
        return calls


@asynccontextmanager
async def calling(postgres_dsn: str, store: RunningBucket) -> AsyncIterator[CallingApp]:
    s3 = store.s3()
    bucket, results = store.new_bucket(s3), store.new_bucket(s3)
    more: dict[str, Any] = {"conditions": "quoted", "handler": "function", "attempts": 1}
    config = configured(
        {
            PIPELINE.format("one"): pipeline(bucket, results, options={**OPTIONS, "calls": True}, **more),
            PIPELINE.format("two"): pipeline(bucket, results, options=OPTIONS, **more),
        }
    )
    async with control_plane(postgres_dsn, config, store=store.endpoint, loops=False) as plane:
        body = {"name": "app", "scopes": ["call:one", "call:none"]}
        token = (await plane.admin("POST", "/v1/tokens", json=body)).json()["token"]
        yield CallingApp(plane, bucket, token)


async def test_a_call_is_an_object_that_ends_with_a_value(postgres_dsn: str, store: RunningBucket) -> None:
    async with calling(postgres_dsn, store) as app:
        assert [call["state"] for call in await app.states(ID)] == ["unknown"]
        await app.begun()
        worker = await app.plane.worker()
        lease = await worker.lease()
        assert (lease.key, lease.handler.kind, lease.handler.options["calls"]) == (ID, "function", True)
        waiting = asyncio.create_task(app.states(ID, wait=20))
        assert [call["state"] for call in await app.states(ID)] == ["running"]
        outputs = [{"name": "value.json", "etag": "e", "size": 1, "content_type": "application/json"}]
        fetched = {"etag": lease.expected.etag}
        done = {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": fetched, "outputs": outputs}
        await worker.ask(0, settle=[done])
        [call] = await waiting
        assert (call["state"], call["error"]) == ("done", None)
        assert f"/{ID}/value.json?" in call["value"]["url"]
        offer = (await app.post("one/calls", {"calls": [{"id": ID, "bytes": 4}]})).json()["calls"][0]
        assert offer["upload"] is None, "it is not made again"


async def test_a_call_that_fails_says_why_with_what_it_printed(postgres_dsn: str, store: RunningBucket) -> None:
    async with calling(postgres_dsn, store) as app:
        await app.begun()
        worker = await app.plane.worker()
        lease = await worker.lease()
        failure = {"outcome": "failed", "reason": "function-error", "message": "ValueError: no", "log": "Traceback"}
        await worker.ask(0, settle=[{**failure, "retry": False, "id": lease.id, "token": lease.token}])
        [call] = await app.states(ID, wait=20)
        assert (call["state"], call["value"]) == ("failed", None)
        assert call["error"] == {"reason": "function-error", "message": "ValueError: no", "log": "Traceback"}
        assert await app.offered() is None, "its arguments are there"
        assert [call["state"] for call in await app.states(ID)] == ["running"], "once more, by the caller's wish"
        again = await worker.lease()
        assert again.key == ID
        await worker.ask(0, settle=[{**failure, "retry": False, "id": again.id, "token": again.token}])
        assert [call["state"] for call in await app.states(ID)] == ["failed"]


async def test_what_the_store_tells_of_a_call_does_not_run_it_again(postgres_dsn: str, store: RunningBucket) -> None:
    async with calling(postgres_dsn, store) as app:
        worker = await app.plane.worker()

        async def notified() -> str:
            """Have the store tell of the arguments. Returns the state of the call then."""
            content = store.s3().head_object(Bucket=app.bucket, Key=ID)
            fields = {"bucket": app.bucket, "size": 4, "eTag": content["ETag"].strip('"')}
            await app.plane.notify(event(ID, eventTime=f"{content['LastModified']:%Y-%m-%dT%H:%M:%SZ}", **fields))
            [call] = await app.states(ID)
            return str(call["state"])

        await app.upload(await app.offered())
        assert await notified() == "unknown", "it is begun by its caller"
        assert (await app.post("one/calls/begin", {"ids": [ID]})).json() == {"begun": 1}
        leases = {lease.pipeline: lease for lease in (await worker.ask(2)).leases}
        lease = leases[PIPELINE.format("one")]
        failure = {"outcome": "failed", "reason": "function-error", "message": "", "retry": False}
        await worker.ask(0, settle=[{**failure, "id": lease.id, "token": lease.token}])
        assert await notified() == "failed"
        assert (await app.post("one/calls/begin", {"ids": [ID]})).json() == {"begun": 1}
        assert [call["state"] for call in await app.states(ID)] == ["failed"]


async def test_a_failed_call_without_its_arguments_is_uploaded_anew(postgres_dsn: str, store: RunningBucket) -> None:
    async with calling(postgres_dsn, store) as app:
        await app.begun()
        worker = await app.plane.worker()
        lease = await worker.lease()
        failure = {"outcome": "failed", "reason": "function-error", "message": "", "retry": False}
        await worker.ask(0, settle=[{**failure, "id": lease.id, "token": lease.token}])
        store.s3().delete_object(Bucket=app.bucket, Key=ID)
        assert await app.offered() is not None


async def test_what_is_begun_twice_is_one_call(postgres_dsn: str, store: RunningBucket) -> None:
    async with calling(postgres_dsn, store) as app:
        await app.begun()
        assert (await app.post("one/calls/begin", {"ids": [ID]})).json() == {"begun": 1}
        assert [row["event_size"] for row in (await app.plane.objects()).values()] == [4]
        assert await app.plane.unaccounted() == dict.fromkeys(await app.plane.unaccounted(), 0)


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("two/calls", {"calls": [{"id": ID, "bytes": 1}]}, 403, "scope-missing"),
        ("none/calls", {"calls": [{"id": ID, "bytes": 1}]}, 404, "unknown-function"),
        ("one/calls", {"calls": [{"id": "../x", "bytes": 1}]}, 422, "malformed"),
        ("one/calls", {"calls": []}, 422, "malformed"),
        ("one/calls", {"calls": [{"id": ID, "bytes": 1 << 40}]}, 413, "too-large"),
        ("one/calls/begin", {"ids": [OTHER]}, 409, "no-arguments"),
        ("one/calls/begin", {"ids": [OTHER] * 101}, 422, "malformed"),
        ("one/calls/wait", {"ids": [ID], "wait": 31}, 422, "malformed"),
    ],
)
async def test_what_is_refused(
    path: str, body: object, status: int, error: str, postgres_dsn: str, store: RunningBucket
) -> None:
    async with calling(postgres_dsn, store) as app:
        answer = await app.post(path, body)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
