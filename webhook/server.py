"""Runs a control plane: listens, prints its URL, and shuts down in order.

On the first SIGTERM or SIGINT the workers of this machine drain while the server still answers them, then the server
closes; a second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
import uvicorn

from webhook.api.http_server import HttpServer, LimitedConnection
from webhook.app import Plane, open_plane
from webhook.config import NO_KEYS, Config, ConfigError, Secrets
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.postgres import serve as embedded_postgres
from webhook.local_url import local_url

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 75
_CLOSE_SECONDS = 10
_DATABASE_SECONDS = 30.0


def run(config: Config, secrets: Secrets, state: Path, *, announce: bool) -> None:
    """Serve until a signal. Raises ConfigError, LedgerUnavailable, PostgresUnusable.

    Must be called on the main thread: the embedded database lives as long as the thread that started it.
    """
    if not (secrets.webhook_secrets or config.server.open_webhook):
        raise ConfigError(
            "no secret for notifications: set YURT_WEBHOOK_SECRETS to what the store sends (several with commas "
            "between) in the environment or in yurt.secrets, or server.open_webhook = true to take them from any sender"
        )
    if not (secrets.aws_access_key_id.get_secret_value() and secrets.aws_secret_access_key.get_secret_value()):
        raise ConfigError(NO_KEYS)
    with contextlib.ExitStack() as stack:
        dsn = secrets.database_url.get_secret_value()
        if not dsn:
            dsn = stack.enter_context(embedded_postgres(state / "postgres"))
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(config, secrets, dsn, state, announce))


async def _serve(config: Config, secrets: Secrets, dsn: str, state: Path, announce: bool) -> None:
    listener = _listen(config)
    host, port = listener.getsockname()[:2]
    url = config.server.public_url.rstrip("/") or local_url(host, port)
    async with _open_when_ready(config, secrets, dsn, state) as plane:
        server = http_server(plane)
        stop = _stop_on_signals(server, plane)
        serving = asyncio.create_task(server.serve([listener]))
        running = asyncio.create_task(plane.run(url, stop))
        _tune_collector()
        log.info("serving", url=url, listen=f"{host}:{port}")
        if announce:
            print(json.dumps({"url": url, "listen": f"{host}:{port}"}), flush=True)  # noqa: T201
        await asyncio.wait({serving, running}, return_when=asyncio.FIRST_COMPLETED)
        await plane.leave()  # before the server closes: workers drain and settle through it
        server.should_exit = True
        stop.set()
        await asyncio.gather(serving, running)
        log.info("left")


def http_server(plane: Plane) -> uvicorn.Server:
    """Build the server of a plane's endpoints. It is started with listening sockets."""
    return HttpServer(
        uvicorn.Config(
            plane.app,
            loop="none",
            http=LimitedConnection,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
        )
    )


@contextlib.asynccontextmanager
async def _open_when_ready(config: Config, secrets: Secrets, dsn: str, state: Path) -> AsyncIterator[Plane]:
    """Open the plane, and wait for a database that is still starting."""
    deadline = asyncio.get_running_loop().time() + _DATABASE_SECONDS
    async with contextlib.AsyncExitStack() as stack:
        while True:
            try:
                plane = await stack.enter_async_context(open_plane(config, secrets, dsn, state))
                break
            except LedgerUnavailable as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.warning("waiting for the database", error=str(error))
                await asyncio.sleep(1)
        yield plane


def _tune_collector() -> None:
    """Keep garbage collection out of requests.

    What start-up made stays: walking through all imported modules takes some 100 ms, and each full collection would. A
    request makes some hundred objects that die with it, so looking after every 700 is too often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _listen(config: Config) -> socket.socket:
    host, port = config.server.host, config.server.port
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise ConfigError(
            f"server.listen: cannot listen on {config.server.listen}: {error.strerror or error}. Is another Yurt "
            "running? Choose another port, or 0 for a free one"
        ) from None


def _stop_on_signals(server: uvicorn.Server, plane: Plane) -> asyncio.Event:
    stop = asyncio.Event()

    def signalled() -> None:
        if stop.is_set():
            server.force_exit = True
            server.should_exit = True
        plane.health.leaving = True  # so that load balancers leave this replica out while its workers still drain
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    return stop


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop
