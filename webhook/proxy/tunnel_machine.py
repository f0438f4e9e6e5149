"""A machine that is reached over connections of the service tunnel: a `ServiceMachine`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost, ServiceSocket
from webhook.proxy.tunnel_exchange import ExchangeOver, upgrade_over
from workers.tunnel.link import TunnelLink


class TunnelMachine:
    """The connections of one machine for one service.

    Requests share the newest connection as long as little waits to be sent on it: then one message of the WebSocket
    carries frames of many requests. Where bodies fill it, others are used beside it. Older ones may be of a server that
    was replaced, and finishes its requests: they have refused some.
    """

    def __init__(self) -> None:
        self.links: list[TunnelLink] = []

    def exchange(self, request: ForwardedRequest) -> AbstractAsyncContextManager[ForwardedAnswer]:
        """Send a request. See `ServiceMachine`."""
        return ExchangeOver(self._link(), request)

    def upgrade(
        self, request: ForwardedRequest, subprotocols: Sequence[str]
    ) -> AbstractAsyncContextManager[ServiceSocket]:
        """Open a WebSocket. See `ServiceMachine`."""
        return upgrade_over(self._link(), request, subprotocols)

    def _link(self) -> TunnelLink:
        usable = [link for link in self.links if not link.is_full]
        if not usable:
            raise MachineLost("no connection of the machine is open", unsent=True)
        return min(reversed(usable), key=_burden) if len(usable) > 1 else usable[0]


def _burden(link: TunnelLink) -> tuple[bool, bool, int]:
    busy = link.is_busy
    return link.has_refused, busy, link.streams if busy else 0
