"""Both clients behind the same methods, so that one test holds for both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any

from tests.chaos.proxy import Proxy
from yurt import AsyncClient, Client


class ThreadedClient:
    """The methods of `AsyncClient`, each a call of `Client` in a thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name in ("objects", "events"):
                return _each(method(*args, **kwargs))
            return asyncio.to_thread(method, *args, **kwargs)

        return call


async def _each(items: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    try:
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item
    finally:
        await asyncio.to_thread(items.close)


@contextlib.asynccontextmanager
async def both(url: str, token: str, **more: Any) -> AsyncIterator[list[Any]]:
    """A blocking client and an asynchronous one."""
    with Client(url, token, **more) as blocking:
        async with AsyncClient(url, token, **more) as asynchronous:
            yield [ThreadedClient(blocking), asynchronous]


@contextlib.asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before a server on loopback, which can cut connections, and its URL."""
    port = int(url.rpartition(":")[2])
    proxy = Proxy("before a server", lambda: [("127.0.0.1", port)])
    address = await proxy.listen()
    assert isinstance(address, tuple)
    try:
        yield proxy, f"http://127.0.0.1:{address[1]}"
    finally:
        await proxy.aclose()
