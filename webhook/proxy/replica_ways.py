"""Ways to machines whose tunnels end at other replicas of the control plane: requests are passed on over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import httpcore

from webhook.ledger.services import ServingMachine
from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost, ServiceSocket, UpgradeRefused
from webhook.proxy.http_machine import HttpMachine

REPLICA_TOKEN = b"yurt-replica"
"""Carries the token of the replica that passes a request on."""
MACHINE = b"yurt-machine"
"""Carries the number of the worker that a request is for."""
HOST = b"yurt-host"
"""Carries the ``host`` of a WebSocket's handshake: that of the connection is the replica's."""
LOST = b"yurt-machine-lost"
"""In an answer: the machine was lost, ``unsent`` or ``sent`` to its server before."""
PASSED_ON = "/v1/services/passed-on/"
"""Begins the paths of requests that a replica passes on: the service and the server's path follow."""


class ReplicaWays:
    """Reaches machines through the replicas at which their tunnels end."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, replica_id: str, token: str) -> None:
        """``replica_id`` and ``token`` are this replica's."""
        self._pool = pool
        self._replica_id = replica_id
        self._token = token.encode()

    def way(self, machine: ServingMachine) -> ReplicaMachine | None:
        """The way to a machine through another replica that can be reached; None: there is none."""
        url = _other(machine.replicas, machine.urls, self._replica_id)
        if url is None:
            return None
        headers = [(REPLICA_TOKEN, self._token), (MACHINE, str(machine.worker_id).encode())]
        return ReplicaMachine(self._pool, url, headers, prefix=f"{PASSED_ON}{machine.service}".encode())

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class ReplicaMachine(HttpMachine):
    """A machine that another replica reaches."""

    tells_taken = True

    @contextlib.asynccontextmanager
    async def exchange(self, request: ForwardedRequest) -> AsyncIterator[ForwardedAnswer]:
        """See `ServiceMachine`."""
        async with super().exchange(request) as answer:
            lost = next((value for name, value in answer.headers if name == LOST), None)
            if lost is not None:
                raise MachineLost("another replica has lost it", unsent=lost == b"unsent")
            yield answer

    @contextlib.asynccontextmanager
    async def upgrade(self, request: ForwardedRequest, subprotocols: Sequence[str]) -> AsyncIterator[ServiceSocket]:
        """See `ServiceMachine`."""
        hosts = [(HOST, value) for name, value in request.headers if name == b"host"]
        try:
            async with super().upgrade(replace(request, headers=[*request.headers, *hosts]), subprotocols) as socket:
                yield socket
        except UpgradeRefused as refused:
            lost = next((value for name, value in refused.headers if name == LOST), None)
            if lost is None:
                raise
            raise MachineLost("another replica has lost it", unsent=lost == b"unsent") from None


def _other(replicas: Sequence[str], urls: Sequence[str], own: str) -> str | None:
    return next((url for replica, url in zip(replicas, urls, strict=True) if url and replica != own), None)
