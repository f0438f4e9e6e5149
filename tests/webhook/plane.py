"""Runs a real control plane for tests, on loopback over a real PostgreSQL and a real bucket.

Its clients take the place of a store that notifies, and of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx
from pydantic import BaseModel, SecretStr

from tests import postgres
from tests.polling import until
from webhook.app import Plane, Services, open_plane
from webhook.config import Config
from webhook.ledger.postgres import PostgresServer
from webhook.pool_settings import Pool
from webhook.secret_settings import Secrets
from webhook.server import http_server, listening_socket
from webhook.sources.sns import Trust
from workers import protocol

WEBHOOK = "hook-secret"
ADMIN = "admin-secret-of-tests"
NOWHERE = "http://127.0.0.1:9"
"""A store's endpoint for tests that send it no request."""
DEADLINE_SECONDS = 20.0

_numbers = itertools.count(1)


def pipeline(inputs: str = "inbox", outputs: str = "outbox", **more: object) -> dict[str, Any]:
    """A pipeline from one bucket to another, for a configuration."""
    strong = {"backoff_seconds": 0.001, "replica_lag_seconds": 0, "unsigned_headers": "trust"}
    return {"input": f"s3://{inputs}/", "output": f"s3://{outputs}/", **strong, **more}


def configured(pipelines: Mapping[str, Mapping[str, Any]] | None = None, **more: object) -> Config:
    """A configuration without a provider: no machine is minted."""
    sections: dict[str, Any] = {"pools": {"local": Pool(provider="none")}, **more}
    return Config(pipelines=pipelines or {"photos": pipeline(conditions="quoted")}, **sections)


def event(key: str, **more: object) -> dict[str, Any]:
    """Make a Tigris event with its own time and ETag. ``more`` replaces fields of it, else of its object."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "eventVersion": "1",
        "eventSource": "tigris",
        "eventName": "OBJECT_CREATED_PUT",
        "eventTime": f"2023-05-15T10:30:00.{number:06d}Z",
        "bucket": "inbox",
        "object": {"key": key, "size": 1024, "eTag": f"{number:032x}"},
    }
    for name, value in more.items():
        (fields if name in fields else fields["object"])[name] = value
    return fields


def done(lease: protocol.Lease, etags: Mapping[str, str], fetched: str = "abc") -> dict[str, Any]:
    """A lease's settlement with outputs of these names and ETags."""
    outputs = [{"name": name, "etag": etag, "size": 5, "content_type": "text/plain"} for name, etag in etags.items()]
    return {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": fetched}, "outputs": outputs}


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that has called home."""

    http: httpx.AsyncClient
    id: int
    token: str = field(repr=False)

    async def post(self, path: str, body: object, **more: Any) -> httpx.Response:
        """Call the worker protocol. ``body`` is a message, bytes as they are, or anything that becomes JSON."""
        content = body.model_dump_json().encode() if isinstance(body, BaseModel) else body
        how: dict[str, Any] = {"content": content} if isinstance(content, bytes) else {"json": content}
        return await self.http.post(f"/v1/{path}", **how, headers={"authorization": f"Bearer {self.token}"}, **more)

    async def ask(
        self, most: int = 1, wait: float = 0, settle: Sequence[object] = (), load_seconds: float | None = None
    ) -> protocol.LeaseResponse:
        """Send settlements and request leases."""
        settling = [item.model_dump(mode="json") if isinstance(item, protocol.Message) else item for item in settle]
        request = {"max": most, "wait": wait, "settle": settling, "load_seconds": load_seconds}
        response = await self.post("leases", request)
        assert response.status_code == 200, response.text
        return protocol.LeaseResponse.model_validate_json(response.content)

    async def lease(self) -> protocol.Lease:
        """Lease one object, which has to be due."""
        [lease] = (await self.ask(wait=5)).leases
        return lease

    async def outputs(self, lease: protocol.Lease, *names: str, **more: Any) -> httpx.Response:
        """Request presigned PUTs of some outputs."""
        fields: dict[str, Any] = {"size": 5, "content_type": "text/plain", **more}
        wanted = [{"name": name, **fields} for name in names]
        return await self.post(f"leases/{lease.id}/outputs", {"token": lease.token, "etag": "abc", "outputs": wanted})

    async def uploads(self, lease: protocol.Lease, *names: str, **more: Any) -> list[protocol.Upload]:
        """Presigned PUTs of some outputs."""
        response = await self.outputs(lease, *names, **more)
        assert response.status_code == 200, response.text
        return protocol.OutputsResponse.model_validate_json(response.content).uploads


@dataclass(frozen=True, slots=True)
class RunningPlane:
    """A control plane that listens."""

    plane: Plane
    url: str
    dsn: str
    http: httpx.AsyncClient
    """Without a credential."""

    @property
    def services(self) -> Services:
        """The parts that endpoints and background loops share."""
        return self.plane.services

    @property
    def port(self) -> int:
        """Port on loopback."""
        return int(self.url.rpartition(":")[2])

    async def exchange(self, *sent: bytes) -> bytes:
        """Send exactly these bytes over a new connection. Returns the bytes received until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.timeout(DEADLINE_SECONDS):
            with contextlib.suppress(ConnectionError):  # it hung up before the end
                for part in sent:
                    writer.write(part)
                    await writer.drain()
            received = bytearray()
            with contextlib.suppress(ConnectionError):
                while chunk := await reader.read(65_536):
                    received += chunk
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return bytes(received)

    async def post_events(self, *events: object, **more: Any) -> httpx.Response:
        """Post a notification as the store does. With ``content``, exactly these bytes."""
        if "content" not in more:
            more["json"] = {"events": events}
        more.setdefault("headers", {"authorization": f"Bearer {WEBHOOK}"})
        return await self.http.post("/v1/notifications/tigris", **more)

    async def notify(self, *events: object) -> dict[str, int]:
        """Post a notification that has to succeed. Returns the numbers of events by verdict, without zeros."""
        response = await self.post_events(*events)
        assert response.status_code == 200, response.text
        return {verdict: number for verdict, number in response.json().items() if number}

    async def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call with the admin token."""
        return await self.http.request(method, path, headers={"authorization": f"Bearer {ADMIN}"}, **more)

    async def invite(self, pool: str = "local") -> str:
        """Issue a one-time token."""
        response = await self.admin("POST", "/v1/invitations", json={"pool": pool})
        assert response.status_code == 201, response.text
        return str(response.json()["token"])

    async def hello(self, once: str, instance: str = "instance-of-a-test", **fields: object) -> httpx.Response:
        """Exchange a one-time token for a worker's token."""
        return await self.http.post(
            "/v1/workers/hello", json={"instance": instance, **fields}, headers={"authorization": f"Bearer {once}"}
        )

    async def worker(self, pool: str = "local") -> Worker:
        """Start the session of a new worker of a pool."""
        response = await self.hello(await self.invite(pool))
        welcome = protocol.Welcome.model_validate_json(response.content)
        return Worker(self.http, welcome.worker, welcome.token)

    async def sql(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Query or change the ledger, over a connection of its own."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    async def objects(self) -> dict[str, asyncpg.Record]:
        """The ledger's rows by key."""
        return {row["key"]: row for row in await self.sql("select * from objects")}

    async def ready(self) -> bool:
        """Whether its readiness check succeeds."""
        return (await self.http.get("/readyz")).status_code == 200

    async def unaccounted(self) -> dict[str, int]:
        """Events and changes that the counters cannot account for."""
        return dict((await self.services.ledger.fetch("balance"))[0])


@contextlib.asynccontextmanager
async def control_plane(
    postgres_dsn: str,
    config: Config | Callable[[str], Config] | None = None,
    *,
    store: str = NOWHERE,
    loops: bool = True,
    trust: Trust | None = None,
    **secrets: str,
) -> AsyncIterator[RunningPlane]:
    """A control plane over an empty ledger. ``secrets`` replaces its secrets, by their variables' names.

    Without ``loops`` it only answers requests: only the test checks, reaps or leads.
    """
    async with (
        postgres.database(postgres_dsn) as (_, dsn),
        serving(dsn, config or configured(), store=store, loops=loops, trust=trust, **secrets) as running,
    ):
        yield running


@contextlib.asynccontextmanager
async def serving(
    dsn: str,
    config: Config | Callable[[str], Config],
    *,
    store: str = NOWHERE,
    loops: bool = True,
    trust: Trust | None = None,
    **secrets: str,
) -> AsyncIterator[RunningPlane]:
    """A control plane over an existing ledger; several may share one. ``config`` may depend on its URL."""
    listener = listening_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if not isinstance(config, Config):
        config = config(url)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(listener.close)  # also where the plane refuses to start
        state = Path(stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)))
        plane = await stack.enter_async_context(open_plane(config, _secrets(store, secrets), dsn, state, trust))
        await stack.enter_async_context(_listening(plane, url, listener, loops))
        http = await stack.enter_async_context(_http(url))
        yield RunningPlane(plane, url, dsn, http)


def _http(url: str) -> httpx.AsyncClient:
    # Reading the authorities that a machine trusts takes longer than most tests, and no test of a plane needs them.
    return httpx.AsyncClient(base_url=url, timeout=DEADLINE_SECONDS, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@contextlib.asynccontextmanager
async def _listening(plane: Plane, url: str, listener: socket.socket, loops: bool) -> AsyncIterator[None]:
    """Run a plane as ``webhook.server`` does, without signals."""
    server, stop = http_server(plane), asyncio.Event()
    serving = asyncio.create_task(server.serve([listener]))
    running = asyncio.create_task(plane.run(url, stop) if loops else _nothing(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait({running})
        await plane.leave()
        server.should_exit = True
        await asyncio.wait({serving})
    await asyncio.gather(running, serving)  # raises what they did


async def _nothing(stop: asyncio.Event) -> None:
    await stop.wait()


def _secrets(store: str, replaced: Mapping[str, str]) -> Secrets:
    values = {
        "yurt_webhook_secrets": WEBHOOK,
        "yurt_admin_token": ADMIN,
        "aws_access_key_id": "tid_test",
        "aws_secret_access_key": "tsec_test",
        "aws_session_token": "",
        "database_url": "",
        **replaced,
    }
    return Secrets(
        **{name: SecretStr(value) for name, value in values.items()},  # type: ignore[arg-type]
        aws_endpoint_url_s3=store,
        aws_region="auto",
    )


async def killed(server: PostgresServer, plane: RunningPlane) -> None:
    """Kill the ledger's server. Its backends outlive it for a moment, so wait until the plane has noticed."""
    assert await plane.ready()
    server.kill()

    async def noticed() -> bool:
        return not await plane.ready()

    await until(noticed)
