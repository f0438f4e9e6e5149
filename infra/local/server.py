"""Runs the local bucket until it is told to stop, or its parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable

import uvicorn

from infra.local.bucket import LocalBucket
from infra.local.hub import NotificationHub
from infra.local.kept import KeptObjects
from infra.local.options import LocalOptions
from infra.local.store import LocalStore
from webhook.api.http_server import HttpServer
from workers import parent_death

_MAX_CONNECTIONS = 512
_IDLE_SECONDS = 75
_GRACE_SECONDS = 1


def run(options: LocalOptions) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent is gone where there is a lifeline to it.

    Raises:
        OSError: the address cannot be bound.
    """
    parent_death.watch()
    asyncio.run(_run(options))


async def _run(options: LocalOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options, _announce):
        await stop.wait()


def _announce(endpoint: str) -> None:
    print(json.dumps({"endpoint": endpoint}), flush=True)  # noqa: T201 - the parent reads it


@contextlib.asynccontextmanager
async def serving(options: LocalOptions, announce: Callable[[str], None]) -> AsyncIterator[LocalBucket]:
    """The bucket, listening. ``announce`` is told its endpoint once it does."""
    with _listening(options) as listener:
        bucket = _bucket(options)
        server = HttpServer(_config(bucket))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.listening.wait()
            announce(_endpoint(listener))
            yield bucket
        finally:
            server.should_exit = True
            await task
            bucket.close()
            await bucket.hub.close()
            bucket.store.close()


def _config(bucket: LocalBucket) -> uvicorn.Config:
    return uvicorn.Config(
        bucket,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        proxy_headers=False,
    )


def _bucket(options: LocalOptions) -> LocalBucket:
    hub = NotificationHub(options.disorder, options.posting)
    bucket = LocalBucket(
        LocalStore(options.buckets, KeptObjects(options.folder) if options.folder else None),
        hub,
        options.max_body_bytes,
        options.keys,
        on_loopback=ipaddress.ip_address(options.listen).is_loopback,
    )
    for name, notifications in options.notify.items():
        hub.configure(name, notifications)
    return bucket


def _listening(options: LocalOptions) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(options.listen).version == 6 else socket.AF_INET
    # With its protocol named: only then does asyncio turn off Nagle's algorithm, which costs each GET 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.listen, options.port))
    except OSError:
        listener.close()
        raise
    return listener


def _endpoint(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
