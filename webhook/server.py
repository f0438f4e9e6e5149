"""Runs a control plane: listens, prints its URL, and shuts down in order.

On the first SIGTERM or SIGINT the workers of this machine drain while the server still answers them, then the server
closes; a second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import structlog
import uvicorn

from webhook.api.connections import ConnectionLimits, Connections, NotificationsFirst
from webhook.api.http_server import HttpServer, limited_by
from webhook.api.web_sockets import PING_SECONDS
from webhook.app import Plane, open_plane
from webhook.config import Config, ServerSettings
from webhook.config_faults import NO_KEYS, ConfigError
from webhook.fleet.reach import refuse_out_of_reach
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.dsn import DsnError, parse
from webhook.ledger.pooler import TRANSACTION_MODE, in_transaction_mode
from webhook.ledger.postgres import serve as embedded_postgres
from webhook.local_url import local_url
from webhook.secret_settings import Secrets
from webhook.state_folder import check_folders
from workers.tunnel.stream import MAX_SOCKET_MESSAGE_BYTES

log = structlog.get_logger()

_KEEP_ALIVE_SECONDS = 75
_CLOSE_SECONDS = 10
_OTHER_FILES = 256
"""Files of the database, the store and local workers, at least."""
_DATABASE_SECONDS = 30.0


def run(config: Config, secrets: Secrets, state: Path, *, announce: bool) -> None:
    """Serve until a signal. Raises ConfigError, LedgerUnavailable, LedgerUnusable, LedgerTooNew, PostgresUnusable.

    Must be called on the main thread: the embedded database lives as long as the thread that started it.
    """
    if not (secrets.webhook_secrets or config.server.open_webhook):
        raise ConfigError(
            "no secret for notifications: set YURT_WEBHOOK_SECRETS to what the store sends (several with commas "
            "between) in the environment or in yurt.secrets, or server.open_webhook = true to take them from any sender"
        )
    if not (secrets.aws_access_key_id.get_secret_value() and secrets.aws_secret_access_key.get_secret_value()):
        raise ConfigError(NO_KEYS)
    refuse_out_of_reach(config)
    dsn = secrets.database_url.get_secret_value()
    _check_addresses(secrets)
    check_folders(config, state, embedded=not dsn)
    raise_file_limit(config.server.connections)
    with contextlib.ExitStack() as stack:
        if not dsn:
            dsn = stack.enter_context(embedded_postgres(state / "postgres"))
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(config, secrets, dsn, state, announce))


def _check_addresses(secrets: Secrets) -> None:
    """Raise ConfigError for an address of the database that cannot be understood; log what has no effect."""
    for variable, value in (
        ("DATABASE_URL", secrets.database_url.get_secret_value()),
        ("DIRECT_DATABASE_URL", secrets.direct_database_url.get_secret_value()),
    ):
        try:
            left_out = parse(value, variable).left_out if value else ()
        except DsnError as error:
            raise ConfigError(str(error)) from None
        if left_out:
            log.warning("parameters without effect", variable=variable, parameters=", ".join(left_out))


async def _serve(config: Config, secrets: Secrets, dsn: str, state: Path, announce: bool) -> None:
    signals = _StopSignals()
    signals.listen()  # before anything is waited for: process 1 of a container ignores what it has no handler for
    listener = _listen(config)
    host, port = listener.getsockname()[:2]
    url = config.server.public_url.rstrip("/") or local_url(host, port)
    async with _open_when_ready(config, secrets, dsn, state, signals.stop) as plane:
        if plane is None:
            log.info("left", reason="stopped while it waited for the database")
            return
        server = http_server(plane)
        stop = signals.direct_to(server, plane)
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
    metrics = plane.services.metrics
    connections = Connections(
        _connection_limits(plane.services.config.server),
        lambda reason: metrics.connections_refused.labels(reason).inc(),
    )
    metrics.connections.set_function(lambda: len(connections))
    return HttpServer(
        uvicorn.Config(
            NotificationsFirst(plane.app, connections),
            loop="none",
            http=limited_by(connections),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
            ws="none",  # `LimitedConnection` takes them up itself
            ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,  # a few bytes would cost megabytes
        )
    )


def _connection_limits(settings: ServerSettings) -> ConnectionLimits:
    """How many connections this process may hold: a quarter of its files is left for the database and the store."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = settings.connections if files == resource.RLIM_INFINITY else min(settings.connections, files * 3 // 4)
    if most < settings.connections:
        log.warning(
            "fewer connections", connections=most, open_files=files,
            hint="the limit of open files allows no more: raise it (ulimit -n, LimitNOFILE=, ulimits:)",
        )  # fmt: skip
    return ConnectionLimits(most, settings.connections_per_address, tuple(map(ip_network, settings.proxies)))


def raise_file_limit(connections: int) -> None:
    """Raise the soft limit of open files to what so many connections need, as far as the hard one allows.

    No further: some programs close every number up to the limit when they start, and handlers inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections * 4 // 3 + _OTHER_FILES
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft not in (resource.RLIM_INFINITY, hard) and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower one that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.asynccontextmanager
async def _open_when_ready(
    config: Config, secrets: Secrets, dsn: str, state: Path, stop: asyncio.Event
) -> AsyncIterator[Plane | None]:
    """Open the plane, and wait for a database that is still starting. None: ``stop`` was set first."""
    async with contextlib.AsyncExitStack() as stack:
        opening = asyncio.create_task(_opened(stack, config, secrets, dsn, state))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            opening.cancel()
            await asyncio.wait({opening})
            yield None
        else:
            yield opening.result()


async def _opened(stack: contextlib.AsyncExitStack, config: Config, secrets: Secrets, dsn: str, state: Path) -> Plane:
    deadline = asyncio.get_running_loop().time() + _DATABASE_SECONDS
    while True:
        try:
            if not secrets.direct_database_url.get_secret_value() and await in_transaction_mode(dsn):
                raise ConfigError(TRANSACTION_MODE)
            return await stack.enter_async_context(open_plane(config, secrets, dsn, state))
        except LedgerUnavailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.warning("waiting for the database", error=str(error))
            await asyncio.sleep(1)


def _tune_collector() -> None:
    """Keep garbage collection out of requests.

    What start-up made stays: walking through all imported modules takes some 100 ms, and each full collection would. A
    request makes some hundred objects that die with it, so looking after every 700 is too often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def listening_socket(host: str, port: int) -> socket.socket:
    """Listen on an address of this machine, port 0 being a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    # Inherited by the connections: uvloop sets it by itself, asyncio only where the protocol of the socket was named.
    # Without it, each answer in two writes waits 40 ms for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen(config: Config) -> socket.socket:
    host, port = config.server.host, config.server.port
    try:
        return listening_socket(host, port)
    except OSError as error:
        raise ConfigError(
            f"server.listen: cannot listen on {config.server.listen}: {error.strerror or error}. Is another Yurt "
            "running? Choose another port, or 0 for a free one"
        ) from None


class _StopSignals:
    """SIGTERM and SIGINT: the first stops in order, the second at once."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._server: uvicorn.Server | None = None
        self._plane: Plane | None = None

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)

    def direct_to(self, server: uvicorn.Server, plane: Plane) -> asyncio.Event:
        """From now on a signal is for these too. Returns the event that the first one sets."""
        self._server, self._plane = server, plane
        return self.stop

    def _signalled(self) -> None:
        if self.stop.is_set() and self._server:
            self._server.force_exit = True
            self._server.should_exit = True
        if self._plane:
            self._plane.health.leaving = True  # load balancers leave this replica out while its workers still drain
        self.stop.set()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop
