"""Serves the pretend market over HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from infra.market.exchange import LOST, ApiRequest, Reply, Wrong, read_request, written
from infra.market.market import Market

API = "/api"
LOGS = "/logs/"
_REQUEST_SECONDS = 10.0
"""For a request to arrive."""


class MarketServer:
    """One market with one account.

    Args:
        market: What answers.
        key: Of the account.

    """

    def __init__(self, market: Market, key: str) -> None:
        self.wrong: list[str] = []
        """Requests that the market would not take. They are answered 400."""
        self._market = market
        self._key = key

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listen for the length of the ``with`` block, and give the base of the API."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._market.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield f"{self._market.url}{API}"
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unreadable = (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
        with suppress(*unreadable):
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await read_request(reader)
            reply = self._answer(request)
            if reply is not LOST:
                writer.write(written(reply))
                await writer.drain()
        writer.close()

    def _answer(self, request: ApiRequest) -> Reply:
        if request.path.startswith(LOGS):
            return self._log(request.path.removeprefix(LOGS))
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            if not request.path.startswith(f"{API}/"):
                raise Wrong("no such path")
            call = replace(request, path=request.path.removeprefix(API))
            return self._market.answer(call) if key == self._key else self._market.answer_instance(key, call)
        except (Wrong, KeyError, TypeError, ValueError) as error:
            self.wrong.append(f"{request.method} {request.path}: {error!r}")
            return Reply(400, {"success": False, "error": "invalid_args", "msg": repr(error)})

    def _log(self, number: str) -> Reply:
        log = self._market.logs.get(int(number)) if number.isdecimal() else None
        return Reply(404) if log is None else Reply(200, text=log)
