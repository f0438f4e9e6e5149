"""Headers that a proxy passes on, takes away and adds (RFC 9110, 9112, 7239; W3C Trace Context).

Hop-by-hop headers end here, with those that ``Connection`` names. The credential with which a request was let in is
taken away: machines may be anyone's.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

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
_NAMES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9a-z-]+\x00)*")
_VALUES = re.compile(rb"[^\x00\r\n]*")
BETWEEN_REPLICAS = frozenset({b"yurt-replica", b"yurt-machine", b"yurt-host", b"yurt-machine-lost"})
"""Which only replicas say to each other: of a client or a server they would be lies."""
_DROPPED = _HOP_BY_HOP | _OF_FRAMING | _FORWARDED | BETWEEN_REPLICAS | {TOKEN}
_NONE = frozenset[bytes]()
_AUTHORIZATION = frozenset({b"authorization"})
_VIA = b"1.1 yurt"
_SHARED_ORIGIN = frozenset(
    {
        b"set-cookie", b"set-cookie2", b"clear-site-data", b"strict-transport-security", b"service-worker-allowed",
        b"nel", b"report-to", b"reporting-endpoints", b"alt-svc", b"accept-ch", b"critical-ch", b"origin-agent-cluster",
    }
)  # fmt: skip
"""Headers by which an answer speaks for its whole origin."""
_COOKIE = frozenset({b"cookie"})
_LENGTH = b"content-length"
_DIGITS = re.compile(rb"[0-9]{1,18}")
_SANDBOX = (b"content-security-policy", b"sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts")


@dataclass(frozen=True, slots=True)
class Hop:
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
    dropped = _DROPPED | _named_by_connection(headers)
    if not public and not _values(headers, TOKEN):
        dropped |= _AUTHORIZATION
    if upgrade:
        dropped |= HANDSHAKE
    if hop.prefix:
        dropped |= _COOKIE  # those of the control plane's own pages: the server can set none
    passed = [header for header in headers if header[0] not in dropped]
    return [*_traced(passed), *_forwarded(headers, hop), (b"via", _joined(_values(passed, b"via"), _VIA))]


def answer_headers(headers: Headers, *, shared_origin: bool) -> list[tuple[bytes, bytes]]:
    """Headers for the client.

    ``shared_origin``: pages of the service have the origin of the control plane, so they are sandboxed, and set no
    cookies. Raises ValueError for a header that is none, and for lengths that contradict each other.
    """
    dropped = _HOP_BY_HOP | BETWEEN_REPLICAS | _named_by_connection(headers)
    if shared_origin:
        dropped |= _SHARED_ORIGIN
    passed = [header for header in headers if header[0] not in dropped]
    names, values = b"".join([name + b"\0" for name, _ in passed]), b"".join([value for _, value in passed])
    if names.count(b"\0") != len(passed) or not _NAMES.fullmatch(names) or not _VALUES.fullmatch(values):
        raise ValueError("the server's answer has a header that is none")
    if len(lengths := _values(passed, _LENGTH)) > 1:
        passed = [*(header for header in passed if header[0] != _LENGTH), (_LENGTH, lengths[0])]
    if len({*lengths}) > 1 or (lengths and not _DIGITS.fullmatch(lengths[0])):
        raise ValueError("the server's answer has a content-length that is none")
    own = [_SANDBOX] if shared_origin else []
    return [*_without_via(passed), (b"via", _joined(_values(passed, b"via"), _VIA)), *own]


def prefers_async(headers: Headers) -> bool:
    """Whether a request asks for an answer at once and its result later: ``Prefer: respond-async`` (RFC 7240)."""
    preferences = (part for value in _values(headers, b"prefer") for part in value.split(b","))
    return any(part.split(b";")[0].strip().lower() == b"respond-async" for part in preferences)


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    if not any(name == b"connection" for name, _ in headers):
        return _NONE
    named = (part.strip().lower() for value in _values(headers, b"connection") for part in value.split(b","))
    return frozenset(named) - {b"", b"host", b"content-type", b"authorization"}


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]


def _joined(values: Iterable[bytes], last: bytes) -> bytes:
    return b", ".join([*values, last])


def _without_via(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name != b"via"]


def _forwarded(headers: Headers, hop: Hop) -> list[tuple[bytes, bytes]]:
    """``Forwarded`` and ``X-Forwarded-*``: what trusted proxies said, and this hop. What others said is dropped."""
    client = hop.client.encode("ascii", "replace") or b"unknown"
    node = b'"[' + client + b']"' if b":" in client else client
    host = hop.host.replace(b"\\", b"").replace(b'"', b"")
    element = b'for=%s;host="%s";proto=%s' % (node, host, hop.scheme.encode())
    before = headers if hop.trusted else ()
    added = [
        (b"forwarded", _joined(_values(before, b"forwarded"), element)),
        (b"x-forwarded-for", _joined(_values(before, b"x-forwarded-for"), client)),
        (b"x-forwarded-host", (_values(before, b"x-forwarded-host") or [hop.host])[0]),
        (b"x-forwarded-proto", (_values(before, b"x-forwarded-proto") or [hop.scheme.encode()])[0]),
    ]
    return [*added, (b"x-forwarded-prefix", hop.prefix)] if hop.prefix else added


def _traced(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Pass a trace on, or begin one where there is none that can be read; drop ``via``, which is added at the end."""
    rest = [(name, value) for name, value in headers if name not in (b"traceparent", b"tracestate", b"via")]
    parents = _values(headers, b"traceparent")
    if len(parents) == 1 and _TRACE_PARENT.fullmatch(parents[0]):
        return [*rest, (b"traceparent", parents[0]), *((b"tracestate", v) for v in _values(headers, b"tracestate"))]
    begun = b"00-%032x-%016x-01" % (_trace_ids.getrandbits(128) or 1, _trace_ids.getrandbits(64) or 1)
    return [*rest, (b"traceparent", begun)]


def between_replicas(headers: Headers, *dropped: bytes, framed: bool = False) -> list[tuple[bytes, bytes]]:
    """Headers as one replica passes them on to another: all but those of a connection. ``framed``: with the length."""
    gone = _HOP_BY_HOP | set(dropped) | (frozenset() if framed else _OF_FRAMING)
    return [(name, value) for name, value in headers if name not in gone]
