"""Takes requests of services that another replica of the control plane passes on, to a machine whose tunnel ends here.

The other replica has done all that a proxy does: it has let the client in, holds the slot, and has set the headers. It
shows a token of its own, of which the ledger keeps the hash for as long as that replica lives.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from starlette.types import Receive, Scope, Send

from webhook.api.connections import CONNECTION, proven
from webhook.api.http import HttpProblem
from webhook.ledger.services import ServiceLedger
from webhook.proxy.exchange import ForwardedRequest, MachineLost, ServerNonsense, ServiceMachine, UpgradeRefused
from webhook.proxy.forwarding import KEPT_BYTES, CutOff, RequestBody, empty
from webhook.proxy.headers import HANDSHAKE, between_replicas
from webhook.proxy.registry import MachineRegistry
from webhook.proxy.replica_ways import HOST, LOST, MACHINE, PASSED_ON, REPLICA_TOKEN
from webhook.proxy.sockets import pass_messages

_KNOWN_SECONDS = 5.0
_MOST_KNOWN = 100
_NO_LIMIT = 1 << 62
"""The other replica has looked at the body's length."""
_NO_STALL_SECONDS = 366 * 86_400.0


class PassedOnRequests:
    """Answers requests that other replicas pass on."""

    def __init__(self, ledger: ServiceLedger, registry: MachineRegistry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._known: dict[bytes, float] = {}
        """Tokens of replicas, and until when they are believed."""

    async def serve(self, scope: Scope, receive: Receive, send: Send, length: int | None) -> None:
        """Answer one request. Raises HttpProblem before the answer's head was sent, CutOff after that."""
        way, target = await self._addressed(scope)
        if way is None:
            await _lost(send, unsent=True)
            return
        body = None if length == 0 else RequestBody(receive, _NO_LIMIT)
        passed = between_replicas(scope["headers"], REPLICA_TOKEN, MACHINE)
        begun = False

        def taken() -> None:
            if not begun and (connection := scope.get(CONNECTION)) is not None:
                connection.go_on()

        passing = _telling(body, taken) if body else empty()
        request = ForwardedRequest(scope["method"], target, passed, passing, length)
        try:
            async with way.exchange(request) as answer:
                kept = between_replicas(answer.headers, LOST, framed=True)
                begun = True
                await send({"type": "http.response.start", "status": answer.status, "headers": kept})
                async for chunk in answer.body:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except MachineLost as lost:
            if begun:
                raise CutOff(str(lost)) from None
            await _lost(send, unsent=lost.unsent)  # whether the body can be sent again, the other replica knows
        except ServerNonsense as error:
            raise (CutOff(str(error)) if begun else HttpProblem(502, "server-nonsense", str(error))) from None

    async def upgrade(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one WebSocket. Raises HttpProblem, UpgradeRefused before it is accepted."""
        way, target = await self._addressed(scope)
        if way is None:
            raise UpgradeRefused(502, [(LOST, b"unsent")], b"")
        passed = between_replicas(scope["headers"], REPLICA_TOKEN, MACHINE, HOST, *HANDSHAKE, b"host")
        host = [(b"host", value) for name, value in scope["headers"] if name == HOST]
        request = ForwardedRequest("GET", target, [*host, *passed], empty())
        try:
            async with way.upgrade(request, list(scope.get("subprotocols", ()))) as socket:
                # The replica that has the client looks after silence.
                await pass_messages(socket, between_replicas(socket.headers), receive, send, _NO_STALL_SECONDS)
        except UpgradeRefused as refused:
            raise UpgradeRefused(refused.status, between_replicas(refused.headers, LOST), refused.body) from None
        except MachineLost as lost:
            raise UpgradeRefused(502, [(LOST, b"unsent" if lost.unsent else b"sent")], b"") from None

    async def _addressed(self, scope: Scope) -> tuple[ServiceMachine | None, bytes]:
        """The machine that a request is for, if there is a way to it from here, and the server's path.

        Raises HttpProblem 401.
        """
        headers = dict(scope["headers"])
        await self._authenticated(headers.get(REPLICA_TOKEN, b""))
        proven(scope)
        service, _, path = scope["raw_path"].removeprefix(PASSED_ON.encode()).partition(b"/")
        worker = headers.get(MACHINE, b"")
        way = self._registry.way(service.decode("latin-1"), int(worker) if worker.isdigit() and len(worker) < 19 else 0)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        return way, b"/" + path + query

    async def _authenticated(self, token: bytes) -> None:
        """Raises HttpProblem 401."""
        now = time.monotonic()
        if self._known.get(token, 0.0) > now:
            return
        if not token or not await self._ledger.replica_known(token.decode("latin-1")):
            raise HttpProblem(401, "unauthorized", "only replicas of this control plane pass requests on")
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[token] = now + _KNOWN_SECONDS


async def _telling(body: RequestBody, taken: Callable[[], None]) -> AsyncIterator[bytes]:
    """A body; ``taken`` is called once the machine must have taken the request, or it would not ask for that much."""
    passed, told = 0, False
    async for chunk in body:
        yield chunk
        passed += len(chunk)
        if passed > KEPT_BYTES and not told:
            told = True
            taken()


async def _lost(send: Send, *, unsent: bool) -> None:
    headers = [(LOST, b"unsent" if unsent else b"sent"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
