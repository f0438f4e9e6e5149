"""Opens a connection to a store for one thread: TLS, proxies and time limits as in the rest of a worker.

The standard library's client, and not httpx: it reads into a buffer without copying, and was the fastest of fifteen
when measured, at a third of their memory.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from workers import tls
from workers.headers import retry_after_seconds
from workers.outgoing import proxy_for, why_unreachable
from workers.retry import NetworkFault

_CONNECT_SECONDS = 10.0
_ERROR_BYTES = 64 << 10
_ERROR_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>")
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class StoreRefusal(NetworkFault):
    """The store did not give what was asked for."""

    def __init__(self, message: str, *, transient: bool, status: int = 0, after_seconds: float = 0.0) -> None:
        super().__init__(message, transient=transient, after_seconds=after_seconds)
        self.status = status
        """Of its answer; 0 where there was none."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a connection leads: it may be used again for a URL of the same."""

    scheme: str
    host: str
    port: int | None
    proxy: str


class StoreConnection:
    """A connection that is opened with the first request, and anew after a fault. One request at a time."""

    def __init__(self, stall_seconds: float) -> None:
        """``stall_seconds``: without a single byte."""
        self._stall_seconds = stall_seconds
        self._http: http.client.HTTPConnection | None = None
        self._origin: _Origin | None = None

    def get(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a GET, and return the response with its body unread. Redirects are not followed.

        Raises `StoreRefusal` where there is none.
        """
        try:
            parts = urlsplit(url)
            connection = self._connected(_Origin(parts.scheme, parts.hostname or "", parts.port, proxy_for(url)))
            target, of_proxy = _target(parts, self._origin)
            connection.request("GET", target, headers={**headers, **of_proxy})
            return connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise unreachable(error) from None

    def abort(self) -> None:
        """End a request from another thread: its read returns at once."""
        connection = self._http
        if connection is not None and (connected := connection.sock) is not None:
            with contextlib.suppress(OSError):
                # Of the socket below TLS: the reader must not take what is encrypted for the content.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connected(self, origin: _Origin) -> http.client.HTTPConnection:
        if self._http is None or self._origin != origin:
            self.close()
            self._origin = origin
            self._http = _open(origin)
            self._http.connect()
            self._http.sock.settimeout(self._stall_seconds)
        return self._http


def refusal(response: http.client.HTTPResponse, what: str) -> StoreRefusal:
    """Return the fault that a response means which is no content; reads its body."""
    body = b""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = response.read(_ERROR_BYTES)
    code = found[1].decode() if (found := _ERROR_CODE.search(body)) else ""
    status = response.status
    return StoreRefusal(
        f"the store answered {what} with {status} {code}".rstrip(),
        transient=status in _BUSY,
        status=status,
        after_seconds=retry_after_seconds({name.lower(): value for name, value in response.getheaders()}),
    )


def unreachable(error: Exception) -> StoreRefusal:
    """Return the fault of a request that an exception ended."""
    # An untrusted certificate is a ValueError too.
    if isinstance(error, ValueError | http.client.InvalidURL) and not isinstance(error, OSError):
        return StoreRefusal("the control plane gave a URL or header that cannot be sent", transient=False)
    return StoreRefusal(f"the store could not be reached: {why_unreachable(error)}", transient=True)


def _open(origin: _Origin) -> http.client.HTTPConnection:
    if origin.scheme not in ("http", "https") or not origin.host:
        raise ValueError(origin.scheme)
    if not origin.proxy:
        return _connection(origin.scheme == "https", origin.host, origin.port)
    proxy = _proxy(origin)
    if proxy.scheme != "http" or not proxy.hostname:
        raise ValueError(proxy.scheme)
    connection = _connection(origin.scheme == "https", proxy.hostname, proxy.port or 80)
    if origin.scheme == "https":
        connection.set_tunnel(origin.host, origin.port or 443, headers=_credentials(proxy))
    return connection


def _proxy(origin: _Origin) -> SplitResult:
    return urlsplit(origin.proxy if "://" in origin.proxy else f"http://{origin.proxy}")


def _connection(encrypted: bool, host: str, port: int | None) -> http.client.HTTPConnection:
    if encrypted:
        return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=tls.context())
    return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)


def _target(parts: SplitResult, origin: _Origin | None) -> tuple[str, dict[str, str]]:
    """The target of a request: a path, or the whole URL for a proxy that is to see it, with its headers."""
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    if origin is None or not origin.proxy or parts.scheme != "http":
        return path, {}
    return f"http://{parts.netloc}{path}", _credentials(_proxy(origin))


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
