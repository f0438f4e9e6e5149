"""Sends callbacks to one app: one POST to an address that was checked, without redirects, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import httpx

from webhook.callbacks.addresses import AddressRefused, Resolve, checked_address
from webhook.callbacks.signatures import signed_headers
from webhook.config import CallbackSettings
from workers import tls
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import why_unreachable

REQUEST_SECONDS = 15.0
"""For one request, from resolving the name to the answer's last byte."""
_CONNECT_SECONDS = 5.0
"""For TCP, and again for TLS. Together less than for the request: httpcore closes a connection whose handshake took too
long, and leaks one whose handshake is cancelled."""
ANSWER_BYTES = 64 << 10
"""That much of an answer's body is read and dropped, so that the connection can be used again."""
CONNECTIONS = 8
"""To one receiver at once, by one replica."""
_MOST_RETRY_AFTER_SECONDS = 3600.0
_AGENT = "Yurt-Callbacks/1"


class Reception(Enum):
    """What the receiver has made of a callback."""

    TAKEN = "taken"
    FAILED = "failed"
    OFF = "off"
    """410: it wants to be told nothing more."""


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """The outcome of one request."""

    reception: Reception
    status: int | None = None
    error: str = ""
    retry_after_seconds: float = 0
    """As the receiver asks for."""


class CallbackReceiver:
    """The app at one URL. To be closed.

    Args:
        settings: Its URL, and whether that may be inside.
        secrets: Each signs every callback.
        resolve: In place of the system's resolver.

    """

    def __init__(self, settings: CallbackSettings, secrets: Sequence[str], *, resolve: Resolve | None = None) -> None:
        self._url = httpx.URL(settings.url)
        self._private = settings.allow_private
        self._secrets = tuple(secrets)
        self._resolve = resolve
        # A client of its own: connections are kept by address, and those of another name must not be used for this one.
        # No proxy: it would resolve the name by itself, past the check.
        self._client = httpx.AsyncClient(
            verify=tls.context(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(REQUEST_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    @property
    def url_hash(self) -> bytes:
        """Identifies the URL, which may hold a secret of the app."""
        return hashlib.sha256(str(self._url).encode()).digest()

    async def send(self, message: str, body: bytes) -> ReceiverAnswer:
        """Send one callback. What goes wrong at the receiver is an answer too, and no error."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._send(message, body)
        except TimeoutError:
            return ReceiverAnswer(Reception.FAILED, error=f"no answer within {REQUEST_SECONDS:g} s")
        except AddressRefused as error:
            return ReceiverAnswer(Reception.FAILED, error=str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return ReceiverAnswer(Reception.FAILED, error=f"it cannot be reached: {why_unreachable(error)}")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _send(self, message: str, body: bytes) -> ReceiverAnswer:
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        address = await checked_address(self._url.host, port, private=self._private, resolve=self._resolve)
        headers = {
            **signed_headers(message, datetime.now(UTC), body, self._secrets),
            "host": self._url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": _AGENT,
        }
        # To the address that was checked; TLS is verified against the name.
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=address),
            content=body,
            headers=headers,
            extensions={"sni_hostname": self._url.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            return await self._read(response)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> ReceiverAnswer:
        status = response.status_code
        if response.is_success:
            # The status says that it is taken: an answer that is cut off later changes nothing.
            with contextlib.suppress(BodyTooLong, httpx.HTTPError):
                await read_bounded(response.aiter_raw(), ANSWER_BYTES)
            return ReceiverAnswer(Reception.TAKEN, status)
        if status == httpx.codes.GONE:
            return ReceiverAnswer(Reception.OFF, status, "410: the receiver wants to be told nothing more")
        error = f"it answered {status}"
        if response.is_redirect:
            error += ": redirects are not followed. Set url to where it leads, if that is meant"
        return ReceiverAnswer(Reception.FAILED, status, error, _retry_after(response.headers.get("retry-after", "")))


def _retry_after(text: str) -> float:
    """Seconds; 0 where there is no number. A date is left out: the backoff is right as well."""
    try:
        seconds = float(text)
    except ValueError:
        return 0
    return min(max(seconds, 0), _MOST_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else 0
