"""Limits how many connections are open, in all and from one address, and closes idle ones to make room for others.

Any client that reaches the port can open connections, and each costs a file and memory. So there is a limit, and when
it is reached the connection that is worth least is closed for a new one: the longest idle one that has shown no
credential, then one whose request has shown none yet, then an idle one that has. A connection whose request has shown a
credential and is under way is never closed: where there are no others, the new connection is refused.

Behind a proxy all clients have the proxy's address. So loopback and the addresses in ``server.proxies`` are not limited
by address: the proxy has to do that.

Requests of workers and administrators may take all places but an eighth, which is kept for notifications: a store that
finds no place gives an event up after a few tries, a worker asks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, Protocol

import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.api.http import HttpProblem, on_problem

log = structlog.get_logger()

CONNECTION = "yurt.connection"
"""In a request's ASGI scope: its connection."""
BEGAN_AT = "yurt.began_at"
"""In a request's ASGI scope: when its first byte came, by the event loop's clock."""
_FIRST = ("/v1/notifications/", "/healthz")
"""Begin the paths of requests that may use the places kept for notifications. A process that is busy must not be taken
for one that hangs."""
_KEPT_SHARE = 8
_LOGGED_SECONDS = 60.0
_IPV6_CUSTOMER = 64
"""Bits of an IPv6 address that tell one customer of a provider from another: each has the rest to choose from."""

Network = IPv4Network | IPv6Network
Reason = Literal["total", "address", "idle", "unproven", "busy"]


class Standing(IntEnum):
    """How much a connection is worth: the least is closed first."""

    IDLE = 0
    """No request is under way, and the last one showed no valid credential."""
    UNPROVEN = 1
    """A request is under way that has shown none yet."""
    KEPT = 2
    """No request is under way, but the last one showed a valid credential."""
    PROVEN = 3
    """A request is under way that has shown one. Never closed."""


class Connection(Protocol):
    """What is counted and closed."""

    def abort(self) -> None:
        """Close the connection now."""


def proven(scope: Scope) -> None:
    """Note that a request has shown a valid credential: its connection is not closed to make room."""
    if (connection := scope.get(CONNECTION)) is not None:
        connection.prove()


def connection_of(request: HTTPConnection) -> Connection | None:
    """The connection of a request; None where it has none that is counted."""
    connection: Connection | None = request.scope.get(CONNECTION)
    return connection


def sender(request: HTTPConnection) -> str:
    """Return what a request's address is counted as; empty behind a proxy, where all clients have the same."""
    connection = request.scope.get(CONNECTION)
    return "" if connection is None else connection.group


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections may be open."""

    total: int
    per_address: int
    proxies: tuple[Network, ...] = ()
    """From these any number may come, up to ``total``."""

    @property
    def other_requests(self) -> int:
        """Most requests under way at once that are no notifications."""
        return self.total - max(self.total // _KEPT_SHARE, 1)

    def group_of(self, host: str) -> str | None:
        """Return what an address is counted as, an IPv6 address by its network; None where it is not limited."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:  # no address: a test, or a socket file
            return None
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if address.is_loopback or any(address in network for network in self.proxies):
            return None
        if isinstance(address, IPv6Address):
            return str(ip_network((address, _IPV6_CUSTOMER), strict=False))
        return str(address)


class _Group:
    """Connections by standing; those of one standing in the order in which they came to it."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.by_standing: tuple[dict[Connection, None], ...] = tuple({} for _ in Standing)

    def __len__(self) -> int:
        return sum(map(len, self.by_standing))

    def worth_least(self) -> tuple[Connection, Standing] | None:
        """The connection to close first; None where all are proven."""
        for standing in (Standing.IDLE, Standing.UNPROVEN, Standing.KEPT):
            for connection in self.by_standing[standing]:
                return connection, standing
        return None


@dataclass(slots=True)
class _Counted:
    """What is known of one connection."""

    groups: tuple[_Group, ...]
    standing: Standing = Standing.IDLE


class Connections:
    """Counts the open connections of a server, and decides which are closed or refused."""

    def __init__(self, limits: ConnectionLimits, refused: Callable[[Reason], None]) -> None:
        """``refused`` is told of each connection that is refused, or closed to make room, and of refused requests."""
        self.limits = limits
        self.other_requests = 0
        """Requests under way that may not use the places kept for notifications."""
        self._refused = refused
        self._all = _Group(None)
        self._groups: dict[str, _Group] = {}
        self._known: dict[Connection, _Counted] = {}
        self._logged_at = -_LOGGED_SECONDS

    def __len__(self) -> int:
        return len(self._known)

    def admit(self, connection: Connection, host: str) -> bool:
        """Take a new connection in, idle as yet. False: it is to be closed."""
        name = self.limits.group_of(host)
        own = self._groups.get(name) if name is not None else None
        if own is not None and len(own) >= self.limits.per_address and not self._make_room(own, "address"):
            return False
        if len(self._known) >= self.limits.total and not self._make_room(self._all, "total"):
            return False
        groups = (self._all,) if name is None else (self._all, self._groups.setdefault(name, _Group(name)))
        self._known[connection] = _Counted(groups)
        for group in groups:
            group.by_standing[Standing.IDLE][connection] = None
        return True

    def begun(self, connection: Connection) -> None:
        """Note that a request has begun."""
        self._note(connection, Standing.UNPROVEN)

    def proven(self, connection: Connection) -> None:
        """Note that the request has shown a valid credential."""
        self._note(connection, Standing.PROVEN)

    def ended(self, connection: Connection) -> None:
        """Note that no request is under way any more."""
        counted = self._known.get(connection)
        was_proven = counted is not None and counted.standing is Standing.PROVEN
        self._note(connection, Standing.KEPT if was_proven else Standing.IDLE)

    def _note(self, connection: Connection, standing: Standing) -> None:
        counted = self._known.get(connection)
        if counted is None or counted.standing is standing:  # None: it was closed to make room
            return
        for group in counted.groups:
            del group.by_standing[counted.standing][connection]
            group.by_standing[standing][connection] = None
        counted.standing = standing

    def left(self, connection: Connection) -> None:
        """Forget a connection that was closed, if it is known."""
        if (counted := self._known.pop(connection, None)) is None:
            return
        for group in counted.groups:
            del group.by_standing[counted.standing][connection]
            if group.name is not None and not len(group):
                del self._groups[group.name]

    def report(self, reason: Reason) -> None:
        """Count what was refused or closed, and log the first of a while."""
        self._refused(reason)
        now = time.monotonic()
        if reason != "idle" and now - self._logged_at >= _LOGGED_SECONDS:
            self._logged_at = now
            log.warning(
                "connections refused", reason=reason, open=len(self._known),
                hint="yurt_connections_refused counts them. See server.connections in docs/configuration.md",
            )  # fmt: skip

    def _make_room(self, group: _Group, reason: Literal["total", "address"]) -> bool:
        found = group.worth_least()
        if found is None:
            self.report(reason)
            return False
        connection, standing = found
        self.left(connection)
        connection.abort()
        self.report("unproven" if standing is Standing.UNPROVEN else "idle")
        return True


class NotificationsFirst:
    """Refuses requests that are no notifications where these would take the places kept for notifications."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"].startswith(_FIRST):
            await self._app(scope, receive, send)
            return
        connections = self._connections
        if connections.other_requests >= connections.limits.other_requests:
            connections.report("busy")
            await on_problem(_BUSY)(scope, receive, send)
            return
        connections.other_requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            connections.other_requests -= 1


_REST = "too many requests are under way: the rest is kept for notifications. Ask again"
_BUSY = HttpProblem(503, "busy", _REST, connection="close")
