"""What outgoing requests share: what goes past a proxy, what must be encrypted, and why a request had no response.

``HTTP_PROXY`` and the like are followed, but never to this machine: the local bucket and a control plane on loopback
cannot be reached through a proxy, and ``NO_PROXY`` often does not say so.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

PAST_PROXIES: Mapping[str, None] = {
    "all://localhost": None,
    "all://*.localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}
"""``mounts`` of every httpx client: requests to this machine use no proxy."""


def proxy_for(url: str) -> str:
    """Return the URL of the proxy for requests that httpx does not make; empty where there is none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if f"all://{host}" in PAST_PROXIES or host == "::1" or host.endswith(".localhost") or proxy_bypass(parts.netloc):
        return ""
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all") or ""


ALLOW_HTTP = "YURT_ALLOW_HTTP"
"""Environment variable that allows plain HTTP to a control plane on another machine: ``1``."""


def sends_in_clear(url: str) -> bool:
    """Whether requests to a URL leave this machine unencrypted, so that tokens and content can be read on the way."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL, to which nothing can be sent
        return False
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def why_unreachable(error: BaseException) -> str:
    """Return why there was no response, in words for a person, from the chain of an exception's causes.

    Only kinds of errors and OpenSSL's reasons: an exception's own text may show a presigned URL.
    """
    for cause in causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return (
                    f"its certificate is not trusted ({cause.verify_message}). If a private authority issued it, set "
                    "SSL_CERT_FILE to that authority's certificates"
                )
            case ssl.SSLError():
                # Python sets the attribute only where OpenSSL gave a reason.
                reason: str = getattr(cause, "reason", None) or "no reason given"
                if reason == "WRONG_VERSION_NUMBER":
                    return "it does not speak TLS at that port. Is it http:// in place of https://?"
                return f"there is no TLS connection ({reason.lower().replace('_', ' ')})"
            case socket.gaierror():
                return "its host's name does not resolve"
            case ConnectionRefusedError():
                return "the connection is refused: nothing listens there"
    return type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """Return an exception, and what led to it, the members of groups included, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        # urllib3 keeps it as an attribute or an argument, as in MaxRetryError(…, reason).
        waiting += [
            found for found in (each.__cause__, each.__context__, *each.args) if isinstance(found, BaseException)
        ]
