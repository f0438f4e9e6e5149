"""Headers that a proxy passes on, takes away and adds (RFC 9110, 9112, 7239; W3C Trace Context).

Hop-by-hop headers end here, with those that ``Connection`` names. The credential with which a request was let in is
taken away: machines may be anyone's.
"""

from __future__ import annotations

import functools
import random
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from webhook.proxy.exchange import Headers

_HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip
_OF_FRAMING = frozenset({b"content-length", b"expect"})
HANDSHAKE = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol",
     b"sec-websocket-accept"}
)  # fmt: skip
_FORWARDED = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port",
     b"x-forwarded-prefix", b"x-real-ip"}
)  # fmt: skip
TOKEN = b"yurt-token"
"""Carries the credential where ``Authorization`` is for the service's own server."""
_trace_ids = random.Random(secrets.randbits(256))  # noqa: S311 - they name traces, and protect nothing
_TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
BETWEEN_REPLICAS = frozenset({b"yurt-replica", b"yurt-machine", b"yurt-host", b"yurt-machine-lost"})
"""Which only replicas say to each other: of a client or a server they would be lies."""
_DROPPED = _HOP_BY_HOP | _OF_FRAMING | _FORWARDED | BETWEEN_REPLICAS | {TOKEN}
_AUTHORIZATION = frozenset({b"authorization"})
_PASSED_ANEW = frozenset({b"traceparent", b"tracestate", b"via"})
"""Headers that go on changed."""
_VIA = b"1.1 yurt"
_SHARED_ORIGIN = frozenset(
    {
        b"set-cookie", b"set-cookie2", b"clear-site-data", b"strict-transport-security", b"service-worker-allowed",
        b"nel", b"report-to", b"reporting-endpoints", b"alt-svc", b"accept-ch", b"critical-ch", b"origin-agent-cluster",
    }
)  # fmt: skip
"""Headers by which an answer speaks for its whole origin."""
_DROPPED_OF_ANSWERS = _HOP_BY_HOP | BETWEEN_REPLICAS
_DROPPED_OF_SHARED_ORIGIN = _DROPPED_OF_ANSWERS | _SHARED_ORIGIN
_COOKIE = frozenset({b"cookie"})
_LENGTH = b"content-length"
_DIGITS = re.compile(rb"[0-9]{1,18}")
_SANDBOX = (b"content-security-policy", b"sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts")


class Hop(NamedTuple):
    """What is known of the way by which a request came."""

    client: str
    """Address of the other end of the connection."""
    scheme: str
    host: bytes
    prefix: bytes
    """Of the path, which the server does not see; empty for a host of the service's own."""
    trusted: bool
    """Whether the other end is a proxy of ``server.proxies``, whose ``Forwarded`` is believed."""


def request_headers(
    headers: Headers, hop: Hop, *, upgrade: bool = False, public: bool = False
) -> list[tuple[bytes, bytes]]:
    """Headers for the server of a service. ``public``: no credential let the request in, so ``Authorization`` stays."""
    names = dict(headers)
    dropped = _dropped(public or TOKEN in names, upgrade, bool(hop.prefix))
    if b"connection" in names:
        dropped |= _named_by_connection(headers)
    passed = [header for header in headers if header[0] not in dropped]
    if _PASSED_ANEW.isdisjoint(names):
        return [*passed, _new_trace(), *_forwarded(headers, hop), (b"via", _VIA)]
    return [*_traced(passed), *_forwarded(headers, hop), (b"via", _joined(_values(passed, b"via"), _VIA))]


@functools.cache
def _dropped(authorization_is_passed: bool, upgrade: bool, shares_cookies: bool) -> frozenset[bytes]:
    dropped = _DROPPED
    if not authorization_is_passed:
        dropped |= _AUTHORIZATION
    if upgrade:
        dropped |= HANDSHAKE
    if shares_cookies:
        dropped |= _COOKIE  # those of the control plane's own pages: the server can set none
    return dropped


def answer_headers(headers: Headers, *, shared_origin: bool) -> list[tuple[bytes, bytes]]:
    """Headers for the client.

    ``shared_origin``: pages of the service have the origin of the control plane, so they are sandboxed, and set no
    cookies. Raises ValueError for lengths that contradict each other.
    """
    dropped = _DROPPED_OF_SHARED_ORIGIN if shared_origin else _DROPPED_OF_ANSWERS
    names = dict(headers)
    if b"connection" in names:
        dropped |= _named_by_connection(headers)
    passed = [header for header in headers if header[0] not in dropped]
    if _LENGTH in names and len(lengths := {value for name, value in passed if name == _LENGTH}) > 0:
        [length, *others] = lengths
        if others or not _DIGITS.fullmatch(length):
            raise ValueError("the server's answer has a content-length that is none")
        if len(names) != len(headers):
            passed = [*(header for header in passed if header[0] != _LENGTH), (_LENGTH, length)]
    via = _VIA
    if b"via" in names:
        via = _joined(_values(passed, b"via"), _VIA)
        passed = [header for header in passed if header[0] != b"via"]
    passed.append((b"via", via))
    if shared_origin:
        passed.append(_SANDBOX)
    return passed


def prefers_async(headers: Headers) -> bool:
    """Whether a request asks for an answer at once and its result later: ``Prefer: respond-async`` (RFC 7240)."""
    preferences = (part for value in _values(headers, b"prefer") for part in value.split(b","))
    return any(part.split(b";")[0].strip().lower() == b"respond-async" for part in preferences)


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    named = (part.strip().lower() for value in _values(headers, b"connection") for part in value.split(b","))
    return frozenset(named) - {b"", b"host", b"content-type", b"authorization"}


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]


def _joined(values: Iterable[bytes], last: bytes) -> bytes:
    return b", ".join([*values, last])


def _forwarded(headers: Headers, hop: Hop) -> list[tuple[bytes, bytes]]:
    """``Forwarded`` and ``X-Forwarded-*``: what trusted proxies said, and this hop. What others said is dropped."""
    client, scheme = hop.client.encode("ascii", "replace") or b"unknown", hop.scheme.encode()
    node = b'"[' + client + b']"' if b":" in client else client
    host = hop.host.replace(b"\\", b"").replace(b'"', b"")
    element = b'for=%s;host="%s";proto=%s' % (node, host, scheme)
    of_prefix = [(b"x-forwarded-prefix", hop.prefix)] if hop.prefix else []
    if not hop.trusted:
        return [
            (b"forwarded", element),
            (b"x-forwarded-for", client),
            (b"x-forwarded-host", hop.host),
            (b"x-forwarded-proto", scheme),
            *of_prefix,
        ]
    return [
        (b"forwarded", _joined(_values(headers, b"forwarded"), element)),
        (b"x-forwarded-for", _joined(_values(headers, b"x-forwarded-for"), client)),
        (b"x-forwarded-host", (_values(headers, b"x-forwarded-host") or [hop.host])[0]),
        (b"x-forwarded-proto", (_values(headers, b"x-forwarded-proto") or [scheme])[0]),
        *of_prefix,
    ]


def _traced(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Pass a trace on, or begin one where there is none that can be read; drop ``via``, which is added at the end."""
    rest = [(name, value) for name, value in headers if name not in (b"traceparent", b"tracestate", b"via")]
    parents = _values(headers, b"traceparent")
    if len(parents) == 1 and _TRACE_PARENT.fullmatch(parents[0]):
        return [*rest, (b"traceparent", parents[0]), *((b"tracestate", v) for v in _values(headers, b"tracestate"))]
    return [*rest, _new_trace()]


def _new_trace() -> tuple[bytes, bytes]:
    return b"traceparent", b"00-%032x-%016x-01" % (_trace_ids.getrandbits(128) or 1, _trace_ids.getrandbits(64) or 1)


def between_replicas(headers: Headers, *dropped: bytes, framed: bool = False) -> list[tuple[bytes, bytes]]:
    """Headers as one replica passes them on to another: all but those of a connection. ``framed``: with the length."""
    gone = _HOP_BY_HOP | set(dropped) | (frozenset() if framed else _OF_FRAMING)
    return [(name, value) for name, value in headers if name not in gone]
