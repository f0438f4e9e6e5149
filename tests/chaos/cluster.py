"""The processes of one run: PostgreSQL, bucket and two replicas of the control plane behind proxies, and an app."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import httpx

from tests.chaos.plan import REGIONS
from tests.chaos.processes import LivingProcess, descendants
from tests.chaos.proxy import Address, Proxy
from tests.chaos.service import ROOT, SOCKET, ChaosError, KillablePostgres, RestartedService
from tests.polling import until
from tests.webhook.callbacks.receiving_app import SECRET
from tests.webhook.callbacks.receiving_process import ReceivingProcess
from webhook.config import CallbackSettings

INPUT, OUTPUT, PREFIX = "chaos-in", "chaos-out", "results/"
MACHINES = 3
"""The pool's limit."""
LEASE_SECONDS = 3.0
LAG_SECONDS = 4.0
"""The pipeline's ``replica_lag_seconds``: how far a replica of the store may be behind."""
SLOWEST_SECONDS = 1.0
"""Longest time that the handler takes."""
DROP_SHARE, DUPLICATE_SHARE = 0.05, 0.2
REPLICAS = 2

_RESTART_SECONDS = 1.0
_PAUSE_SECONDS = 0.25
_RECENT_SECONDS, _FULL_SECONDS = 3.0, 20.0
"""Between two sweeps of the recent and of the full kind."""
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """Secrets of one run, drawn at random. None of them may be in a log."""

    access_key: str = "yurt-chaos"
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    webhook: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    admin: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


class Cluster:
    """All processes of a run: PostgreSQL, bucket, replicas, proxies before them, and an app that is told of results.

    Use as a context manager.
    """

    def __init__(self, folder: Path, seed: int, *, sweeps: bool = True) -> None:
        self.folder = folder
        self.keys = ClusterKeys()
        self._random = Random(f"{seed}/cluster")
        self._seed = seed
        self._sweeps = sweeps
        self._stack = contextlib.AsyncExitStack()
        self.killed_late: list[str] = []
        """Services that SIGTERM did not stop."""
        self._sockets = self._stack.enter_context(TemporaryDirectory(prefix="yurt-chaos-"))
        self.postgres = KillablePostgres(folder / "postgres")
        self.app = ReceivingProcess(folder / "app")
        self.replicas: list[RestartedService] = []
        self.bucket: RestartedService | None = None
        self.control = Proxy("control", self._control_backends)
        self.store = Proxy("store", self._store_backends)
        self.database = Proxy("database", lambda: self.postgres.sockets)

    async def __aenter__(self) -> Cluster:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def endpoint(self) -> str:
        """URL of the bucket, past the proxy."""
        assert self.bucket
        return self.bucket.announced["endpoint"]

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """The proxies before control plane, store and database."""
        return (self.control, self.store, self.database)

    def urls(self) -> list[str]:
        """URLs of the replicas that listen, past the proxy."""
        return [f"http://{replica.announced['listen']}" for replica in self.replicas if replica.announced]

    def pids(self) -> set[int]:
        """Process ids of the children that this run waits for itself."""
        services = [*self.replicas, *([self.bucket] if self.bucket else [])]
        return {pid for pid in (self.postgres.pid, self.app.pid, *(service.pid for service in services)) if pid}

    async def _start(self) -> None:
        self._stack.push_async_callback(self.postgres.aclose)
        await self.postgres.start()
        addresses = {}
        for proxy in self.proxies:
            path = Path(self._sockets, SOCKET) if proxy is self.database else None
            addresses[proxy.name] = await proxy.listen(path)
            self._stack.push_async_callback(proxy.aclose)
        front, store = (f"http://127.0.0.1:{_port(addresses[name])}" for name in ("control", "store"))
        await self._start_bucket(front)
        self.app.folder.mkdir()
        self._stack.callback(self.app.kill)
        await self.app.start()
        config = self.folder / "yurt.toml"
        config.write_text(_config(front, self.app.settings, sweeps=self._sweeps))
        for number in range(REPLICAS):
            await self._start_replica(f"replica-{number}", config, store)

    async def _start_bucket(self, front: str) -> None:
        url = f"{front}/v1/notifications/tigris"
        module = ("infra.local", f"--bucket={INPUT}", f"--bucket={OUTPUT}", f"--notify={INPUT}={url}", *_disorder())
        environment = {**_inherited(), "YURT_NOTIFY_TOKEN": self.keys.webhook, **self._store_keys}
        self.bucket = RestartedService("bucket", (*module, f"--seed={self._seed}"), self.folder, environment)
        self._stack.push_async_callback(self._stop, self.bucket)
        await self.bucket.start()

    async def _start_replica(self, name: str, config: Path, store: str) -> None:
        state = self.folder / "state"  # shared: both replicas mint on this machine, and each lists all its machines
        module = ("webhook", "serve", "--config", str(config), "--state", str(state), "--announce")
        replica = RestartedService(name, module, self.folder, {**_inherited(), **self._secrets(store)})
        self.replicas.append(replica)
        self._stack.push_async_callback(self._stop, replica)
        await replica.start()

    @property
    def _store_keys(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.keys.access_key, "AWS_SECRET_ACCESS_KEY": self.keys.secret_key}

    def _secrets(self, store: str) -> dict[str, str]:
        return {
            "DATABASE_URL": f"postgresql:///postgres?host={quote(self._sockets)}&user=postgres",
            **self._store_keys,
            "AWS_ENDPOINT_URL_S3": store,
            "AWS_REGION": "auto",
            "YURT_WEBHOOK_SECRETS": self.keys.webhook,
            "YURT_ADMIN_TOKEN": self.keys.admin,
            "YURT_CALLBACK_SECRETS": SECRET,
        }

    async def _stop(self, service: RestartedService) -> None:
        if not await service.stop():
            self.killed_late.append(service.name)

    async def keep(self) -> None:
        """Restart replicas that end, until cancelled. Raises ChaosError when one does not start again."""
        async with asyncio.TaskGroup() as group:
            for replica in self.replicas:
                group.create_task(replica.keep(lambda: self._random.uniform(0.2, _RESTART_SECONDS)))

    async def sweep(self, seconds: float) -> None:
        """Order a full sweep and wait for its end. Raises ChaosError if it fails or takes too long."""
        token = {"authorization": f"Bearer {self.keys.admin}"}
        async with httpx.AsyncClient(trust_env=False, timeout=30, headers=token) as http:
            answer = await http.post(f"{self.urls()[0]}/v1/sweeps", json={"kind": "full"})
            answer.raise_for_status()
            [ordered] = answer.json()["sweeps"]

            async def ended() -> dict[str, Any]:
                sweep: dict[str, Any] = (await http.get(f"{self.urls()[-1]}/v1/sweeps/{ordered['id']}")).json()
                return sweep if sweep["finished_at"] else {}

            sweep = await until(
                ended,
                seconds=seconds,
                failure="the last sweep did not end",
                pause_seconds=_PAUSE_SECONDS,
                error=ChaosError,
            )
        if sweep["state"] != "done":
            raise ChaosError(f"the last sweep: {sweep['state']}, {sweep['error']}")

    async def query(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Query the ledger's database, past the proxy."""
        connection = await asyncpg.connect(self.postgres.dsn, timeout=10)
        try:
            found: list[asyncpg.Record] = await connection.fetch(sql, *values, timeout=30)
            return found
        finally:
            await connection.close(timeout=10)

    def _control_backends(self) -> list[Address]:
        return [_address(url) for url in self.urls()]

    def _store_backends(self) -> list[Address]:
        return [_address(self.endpoint)] if self.bucket and self.bucket.announced else []


def agents() -> list[LivingProcess]:
    """Running machines: agents, without the handlers below them.

    A child that an agent has just forked still has the agent's command line, so children of agents are left out.
    """
    found = [process for process in descendants() if process.is_agent]
    machines = {process.pid for process in found}
    return [process for process in found if process.parent not in machines]


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"PYTHONPATH": str(ROOT)}


def _port(address: Address) -> int:
    assert isinstance(address, tuple)
    return address[1]


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def _disorder() -> list[str]:
    return [
        f"--drop={DROP_SHARE}",
        f"--duplicates={DUPLICATE_SHARE}",
        "--reorder=0.3",
        "--hold=0.08",
        "--hold-seconds=2",
        "--batch=5",
        "--retries=3",
        "--backoff-seconds=0.2",
        "--timeout-seconds=3",
        "--drop-superseded",
        *(f"--region-delay={name}={seconds}" for name, seconds in REGIONS.items()),
    ]


def _config(front: str, callback: CallbackSettings, *, sweeps: bool) -> str:
    """Configuration with short times, so that a run of minutes has as many leases and sweeps as a day."""
    return f"""
[sweep]
recent_seconds = {_RECENT_SECONDS if sweeps else 0:g}
full_hours = {_FULL_SECONDS / 3600 if sweeps else 0:g}

[server]
listen = "127.0.0.1:0"
public_url = "{front}"
name = "chaos"
autoscale_seconds = 0.25

[pipelines.copies]
input = "s3://{INPUT}/uploads/"
output = "s3://{OUTPUT}/{PREFIX}"
handler = "python"
options = {{ function = "tests.chaos.handler:handle" }}
timeout_seconds = {LEASE_SECONDS:g}
lease_seconds = {LEASE_SECONDS:g}
attempts = 1000
store_attempts = 10000
absent_checks = 2
backoff_seconds = 0.1
backoff_limit_seconds = 1
replica_lag_seconds = {LAG_SECONDS:g}
on_delete = "remove"

[pipelines.copies.callback]
url = "{callback.url}"
allow_private = true

[pools.local]
limit = {MACHINES}
slots = 2
idle_seconds = 30
# Machines are killed while they start, too: that says nothing about the provider.
breaker_failures = 100
breaker_seconds = 1
"""
