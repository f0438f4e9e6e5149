"""Says in the log that the control plane cannot be reached: at once, and then every 30 s, with what to check."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

import structlog

from workers.outgoing import causes

_AGAIN_SECONDS = 30.0

_log = structlog.get_logger()


class OutageLog:
    """The log lines about one control plane that does not answer."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._since: float | None = None
        self._said_at = 0.0

    def failed(self, error: BaseException) -> None:
        """Note a request that had no answer, or one that says "not now"."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now - self._said_at < _AGAIN_SECONDS:
            return
        self._said_at = now
        seconds = round(now - self._since)
        _log.warning("unreachable", url=self._url, error=str(error), for_seconds=seconds, hint=advice(error))

    def answered(self) -> None:
        """Note an answer."""
        if self._since is not None:
            _log.info("reachable", url=self._url, after_seconds=round(self._clock() - self._since))
            self._since = None


def advice(error: BaseException) -> str:
    """Return what to check about a request that failed."""
    chain = list(causes(error))
    for kind, text in (
        (socket.gaierror, "The host's name is not known here: check the spelling of YURT_URL, and this machine's DNS."),
        (ssl.SSLError, "TLS failed: does the URL begin with the right scheme, is the certificate valid for its host, "
                       "and is its authority trusted here (SSL_CERT_FILE)?"),
        (ConnectionRefusedError, "Nothing listens there: is `yurt serve` running, with the port of YURT_URL, and on an "
                                 "address that other machines reach (server.listen)?"),
        (TimeoutError, "No answer in time: does a firewall or a security group lie in between?"),
    ):  # fmt: skip
        if any(isinstance(link, kind) for link in chain):
            return text
    return "Check YURT_URL, and whether a proxy or a load balancer in between has a control plane behind it."
