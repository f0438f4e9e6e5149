"""Runs a pretend market beside the calling code, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from infra.market.hosts import MarketHosts
from infra.market.market import Market
from infra.market.server import MarketServer

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RunningMarket:
    """A market that listens."""

    market: Market
    server: MarketServer
    api_url: str
    """Base of its API."""
    key: str
    """Of the account."""


@contextlib.contextmanager
def running(market: Market, owner: str, folder: Path) -> Iterator[RunningMarket]:
    """Run a market and its instances for the length of the ``with`` block. No process of an instance is left.

    Args:
        market: What it offers, and what it does worse than it should.
        owner: What the labels of its instances begin with.
        folder: For the workers' files and logs.

    """
    key = secrets.token_hex(16)
    server = MarketServer(market, key)
    listening: Future[str] = Future()
    stop, loop = asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(
        target=_run, args=(loop, server, MarketHosts(market, owner, folder), listening, stop), name="market"
    )
    thread.start()
    try:
        yield RunningMarket(market, server, listening.result(_START_SECONDS), key)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _run(
    loop: asyncio.AbstractEventLoop,
    server: MarketServer,
    hosts: MarketHosts,
    listening: Future[str],
    stop: asyncio.Event,
) -> None:
    try:
        loop.run_until_complete(_serve(server, hosts, listening, stop))
    except BaseException as error:
        if listening.done():
            raise
        listening.set_exception(error)


async def _serve(server: MarketServer, hosts: MarketHosts, listening: Future[str], stop: asyncio.Event) -> None:
    async with server.listening() as url, hosts.running():
        listening.set_result(url)
        await stop.wait()
