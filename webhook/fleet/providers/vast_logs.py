"""Fetches an instance's log from the address that Vast.ai names: only by https, from public addresses, and bounded."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from webhook.fleet.providers import BOOT_LOG_CHARACTERS, ProviderError
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import PAST_PROXIES, why_unreachable

_LIMIT_BYTES = 1 << 20
_ATTEMPTS = 6
"""The log is written a moment after it was asked for: until then there is nothing at its address."""


async def fetch_log(url: str, api_url: str, *, seconds: float, pause_seconds: float = 1.0) -> str:
    """Return the end of a log. Empty: it was not there in time.

    Args:
        url: Where it will be. Fetched without the account's key.
        api_url: Base of the API. What is on its own origin is fetched too.
        seconds: Deadline of all attempts.
        pause_seconds: Between two.

    Raises:
        ProviderError: the address is none that may be fetched, or its answer is too long.

    """
    await _refuse_private(url, api_url)
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(follow_redirects=False, timeout=seconds, mounts=dict(PAST_PROXIES)) as client,
        ):
            for _ in range(_ATTEMPTS):
                if (log := await _fetched(client, url)) is not None:
                    return log
                await asyncio.sleep(pause_seconds)
    except TimeoutError:
        pass
    except BodyTooLong as error:
        return _end(error.beginning)
    except httpx.HTTPError as error:
        raise ProviderError(f"the log cannot be fetched: {why_unreachable(error)}") from None
    return ""


async def _fetched(client: httpx.AsyncClient, url: str) -> str | None:
    async with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
        if response.status_code != 200:
            return None
        return _end(await read_bounded(response.aiter_raw(), _LIMIT_BYTES))


def _end(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()[-BOOT_LOG_CHARACTERS:]


async def _refuse_private(url: str, api_url: str) -> None:
    """Raise ProviderError where fetching a URL would reach into a network of ours.

    The name may lead elsewhere by the time it is fetched: then the certificate is not that of the name.
    """
    try:
        origin, port = _origin(url), urlsplit(url).port or 443
    except ValueError:
        raise ProviderError("the log's address is no URL") from None
    if origin == _origin(api_url):
        return
    if origin[0] != "https" or not await _is_public(origin[1], port):
        raise ProviderError("the log's address is not https, or not public: it is not fetched")


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


async def _is_public(host: str, port: int) -> bool:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ip_address(address[4][0]).is_global for address in found)
