"""Takes the connections of the service tunnel that workers open: ``GET /v1/services/{name}/tunnel``, a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NoReturn

import structlog
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from webhook.api.auth import WorkerAuth
from webhook.api.http import HttpProblem, on_problem
from webhook.api.web_sockets import SOCKET, MessageFlow
from webhook.ledger.database import LedgerUnavailable
from webhook.proxy.registry import MachineRegistry
from webhook.proxy.tunnel_machine import TunnelMachine
from workers.tunnel.frames import Payload, TunnelViolation
from workers.tunnel.link import LinkLost, TunnelLink

log = structlog.get_logger()

MAX_LINKS = 8
"""Connections of one worker."""
LOOK_SECONDS = 10.0
"""Between two looks whether the worker may still serve the service."""
_PROTOCOL_ERROR, _NOT_YOURS = 1002, 1008

Admits = Callable[[int, str], Awaitable[bool]]


class _NotAdmitted(Exception):
    """The worker serves the service no more."""


class ServiceTunnelApi:
    """The endpoint, an ASGI application for WebSockets. Use on one event loop."""

    def __init__(self, auth: WorkerAuth, admits: Admits, registry: MachineRegistry) -> None:
        """``admits`` says whether a worker may take requests of a service."""
        self._auth = auth
        self._admits = admits
        self._registry = registry
        self._machines: dict[tuple[int, str], TunnelMachine] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it is closed."""
        connection, service = HTTPConnection(scope), scope["path_params"]["name"]
        try:
            worker_id = await self._admitted(connection, service)
        except Exception as error:
            await on_problem(error)(scope, receive, send)
            return
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        link = TunnelLink(FlowWire(scope[SOCKET].flow()))
        try:
            with self._known(worker_id, service, link):
                await self._run(connection, service, link)
        except LinkLost:
            return
        except TunnelViolation as error:
            log.warning("service tunnel broken", service=service, worker=worker_id, error=str(error))
            await _close(send, _PROTOCOL_ERROR, str(error))
        except _NotAdmitted as error:
            await _close(send, _NOT_YOURS, str(error))

    async def _admitted(self, connection: HTTPConnection, service: str) -> int:
        """The worker that opens a connection. Raises HttpProblem 401, 403, 429."""
        caller = await self._auth.caller(connection)
        if not await self._admits(caller.id, service):
            raise HttpProblem(403, "not-yours", f"this worker does not serve {service[:63]}: wait for its orders")
        machine = self._machines.get((caller.id, service))
        if machine is not None and len(machine.links) >= MAX_LINKS:
            raise HttpProblem(429, "too-many-calls", f"{MAX_LINKS} connections of this worker are open")
        return caller.id

    async def _run(self, connection: HTTPConnection, service: str, link: TunnelLink) -> NoReturn:
        running = asyncio.ensure_future(link.run())
        watching = asyncio.ensure_future(self._watch(connection, service))
        try:
            await asyncio.wait([running, watching], return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, running):
                if task.done():
                    task.result()
            raise AssertionError("both end with an error only")
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)

    async def _watch(self, connection: HTTPConnection, service: str) -> NoReturn:
        """Raise _NotAdmitted once the worker was revoked, or its machine serves another service."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                caller = await self._auth.caller(connection)
                if not await self._admits(caller.id, service):
                    raise _NotAdmitted("this worker does not serve it any more")
            except LedgerUnavailable:
                continue  # what runs goes on
            except HttpProblem as problem:
                raise _NotAdmitted(problem.message) from None

    @contextlib.contextmanager
    def _known(self, worker_id: int, service: str, link: TunnelLink) -> Iterator[None]:
        """Have requests come over a connection for the length of the ``with`` block."""
        key = worker_id, service
        machine = self._machines.get(key)
        if machine is None:
            machine = self._machines[key] = TunnelMachine()
        machine.links.append(link)
        if len(machine.links) == 1:
            self._registry.appeared(service, worker_id, machine)
        try:
            yield
        finally:
            machine.links.remove(link)
            if not machine.links:
                del self._machines[key]
                self._registry.vanished(service, worker_id)


class FlowWire:
    """A `MessageWire` over an accepted WebSocket."""

    def __init__(self, flow: MessageFlow) -> None:
        self._flow = flow

    async def receive(self) -> bytes:
        """Return the next message. Raises LinkLost, TunnelViolation."""
        try:
            message = await self._flow.receive()
        except ConnectionError as error:
            raise LinkLost(str(error)) from None
        if isinstance(message, str):
            raise TunnelViolation("a message is text")
        return message

    async def send(self, parts: Sequence[Payload]) -> None:
        """Send a message that consists of these parts. Raises LinkLost."""
        try:
            await self._flow.send(parts)
        except ConnectionError as error:
            raise LinkLost(str(error)) from None


async def _close(send: Send, code: int, reason: str) -> None:
    with contextlib.suppress(OSError, RuntimeError):  # it may be closed already
        await send({"type": "websocket.close", "code": code, "reason": reason[:100]})
