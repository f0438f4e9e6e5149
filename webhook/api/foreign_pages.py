"""Refuses what a foreign web page makes a browser on this machine send to a control plane that listens on loopback.

A control plane on loopback is reached by this machine alone, but so is it by every page that its user's browser shows:
by a form, and, where the page's name is made to resolve to loopback ("DNS rebinding"), by a script that reads the
answers. Endpoints with a credential refuse both, since a browser adds none. The open ones look at where the request
says to go (``Host``) and which page it comes from (``Origin``).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from webhook.api.http import HttpProblem


class ForeignPages:
    """Knows the names of this control plane. Refuses nothing where it does not listen on loopback."""

    def __init__(self, listen_host: str, public_url: str) -> None:
        self._own = {name} if (name := _host(public_url)) else set[str]()
        self._on_loopback = _is_loopback(listen_host)

    def check(self, request: HTTPConnection) -> None:
        """Raise HttpProblem 403 where a request goes to, or comes from, a name that is not this control plane's."""
        if not self._on_loopback:
            return
        if strange := self._strange(f"//{host}" for host in request.headers.getlist("host")):
            raise HttpProblem(
                403, "foreign-host",
                f"this control plane listens on loopback, and {strange} is not its name. Behind a proxy or tunnel, set "
                "server.public_url",
            )  # fmt: skip
        if strange := self._strange(request.headers.getlist("origin")):
            raise HttpProblem(403, "foreign-origin", f"a page of {strange} may not use this control plane")

    def _strange(self, urls: Iterable[str]) -> str:
        """The first of these whose host is neither this machine nor this control plane, in words."""
        for url in urls:
            host = _host(url)
            if not (_is_loopback(host) or (host and host in self._own)):
                return repr(host[:100]) if host else "what it says"
        return ""


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
