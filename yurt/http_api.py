"""Calls the control plane and the bucket: what is repeated, for how long, and how a refusal is told."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from yurt.decoding import DecodingError, decode_json
from yurt.errors import KeyTaken, NotReachable, ObjectUnknown, Refused
from yurt.transport import (
    READ_SECONDS,
    AnswerTooLong,
    Body,
    Disconnected,
    HttpAnswer,
    HttpRequest,
    StreamedAnswer,
    Transport,
    read_whole,
)

Answer = TypeVar("Answer")
Receive = Callable[[StreamedAnswer], Awaitable[HttpAnswer]]
"""Reads the answer of one try."""

URL, TOKENS = "YURT_URL", ("YURT_TOKEN", "YURT_ADMIN_TOKEN")
ALLOW_HTTP = "YURT_ALLOW_HTTP"
RETRY_SECONDS = 30.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_PAUSE_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.5
_KINDS: Mapping[str, type[Refused]] = {"unknown-object": ObjectUnknown, "key-taken": KeyTaken}
PLANE, BUCKET = "the control plane", "the bucket"
_HINTS = {PLANE: f"Is {URL} right, and does it run?", BUCKET: "Does this machine reach it?"}


@dataclass(frozen=True, slots=True)
class PlaneAccess:
    """Where the control plane is, and what it is called with."""

    url: str
    token: str = field(repr=False)
    retry_seconds: float = RETRY_SECONDS
    """Pauses in all between the tries of one request, before `NotReachable` is raised."""

    @classmethod
    def of(cls, url: str, token: str, needed: str, retry_seconds: float = RETRY_SECONDS) -> PlaneAccess:
        """Take from the environment what is empty. ``needed`` says which scopes. Raises `NotReachable`."""
        url = (url or os.environ.get(URL, "")).rstrip("/")
        token = token or next((os.environ[name] for name in TOKENS if os.environ.get(name)), "")
        if not _is_url(url):
            raise NotReachable(f"Set {URL} to the control plane's URL, as in http://127.0.0.1:8080.")
        if _sends_in_clear(url) and os.environ.get(ALLOW_HTTP) != "1":
            raise NotReachable(
                f"{URL} sends the token and the content unencrypted to another machine. Use https://, or set "
                f"{ALLOW_HTTP}=1 where only machines that you trust are in between."
            )
        if not token:
            raise NotReachable(
                f"Set {TOKENS[0]} to a token of the scope {needed} (yurt tokens create), or {TOKENS[1]} to the admin "
                "token."
            )
        if not (token.isascii() and token.isprintable()):
            raise NotReachable("The token has characters that no token has: copy it again.")
        return cls(url, token, retry_seconds)


class RetryPauses:
    """Pauses between tries, which double, until together they are as long as is allowed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        """Begin anew: a try has succeeded."""
        self._left_seconds = self._seconds
        self._pause = _FIRST_PAUSE_SECONDS

    def next(self, least_seconds: float = 0.0) -> float | None:
        """Return the seconds before the next try; None: there is none."""
        pause = max(self._pause * random.uniform(0.5, 1.0), least_seconds)  # noqa: S311  no secret
        pause = min(pause, _MAX_PAUSE_SECONDS)
        self._pause *= 2
        self._left_seconds -= pause
        return pause if self._left_seconds >= 0 else None


@dataclass(frozen=True, slots=True)
class RetriedAnswer:
    """An answer, and how many tries it took."""

    answer: HttpAnswer
    tries: int


class HttpApi:
    """Calls of one app. Everything here may be repeated."""

    def __init__(self, transport: Transport, access: PlaneAccess) -> None:
        self.transport = transport
        self._access = access

    async def ask(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> Answer:
        """Call the control plane, and decode its answer. Raises `NotReachable`, `Refused`."""
        return understood(kind, await self.call(method, path, body, query, read_seconds))

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> bytes:
        """Call the control plane, and return the JSON that it answers. Raises `NotReachable`, `Refused`."""
        content = b"" if body is None else json.dumps(body).encode()
        request = self.request(method, path, content, query, read_seconds=read_seconds)
        answer = (await self._send(PLANE, request, read_whole)).answer
        if not answer.ok:
            raise refusal(answer)
        return answer.content

    def request(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> HttpRequest:
        """Make a request to the control plane."""
        sent = {"authorization": f"Bearer {self._access.token}", **(headers or {})}
        if content:
            sent["content-type"] = "application/json"
        url = f"{self._access.url}{path}" + (f"?{urlencode(query)}" if query else "")
        return HttpRequest(method, url, sent, content, read_seconds)

    async def put(self, url: str, headers: Mapping[str, str], body: Body, size: int) -> RetriedAnswer:
        """PUT an object or a part by a presigned URL. Raises `NotReachable`."""
        request = HttpRequest("PUT", url, {**headers, "content-length": str(size)}, body)
        return await self._send(BUCKET, request, read_whole)

    async def get(self, url: str, headers: Mapping[str, str], max_bytes: int) -> bytes:
        """GET an object by a presigned URL into memory. Raises `NotReachable`, `Refused`."""
        return (await self.receive(url, headers, partial(read_whole, max_bytes=max_bytes))).content

    async def receive(self, url: str, headers: Mapping[str, str], read: Receive) -> HttpAnswer:
        """GET an object by a presigned URL; ``read`` is given each try's answer. Raises `NotReachable`, `Refused`."""
        answer = (await self._send(BUCKET, HttpRequest("GET", url, headers), read)).answer
        if not answer.ok:
            raise store_refusal("did not give an object", answer)
        return answer

    def pauses(self) -> RetryPauses:
        """Make the pauses for requests that the caller repeats."""
        return RetryPauses(self._access.retry_seconds)

    async def _send(self, what: str, request: HttpRequest, read: Receive) -> RetriedAnswer:
        pauses, tries = self.pauses(), 0
        while True:
            tries += 1
            try:
                async with self.transport.stream(request) as streamed:
                    answer = await read(streamed)
            except Disconnected as lost:
                pause = pauses.next()
                if pause is None:
                    raise away(what, lost) from None
            except AnswerTooLong:
                raise NotReachable(f"{what.capitalize()} answers more bytes than are allowed: allow more.") from None
            else:
                pause = pauses.next(retry_after(answer.headers)) if answer.status in _AGAIN else None
                if pause is None:
                    return RetriedAnswer(answer, tries)
            await self.transport.pause(pause)


def away(what: str, lost: Disconnected) -> NotReachable:
    """Make the error for tries that are used up."""
    # Not the error's own words: they may show a presigned URL.
    return NotReachable(f"No answer from {what}: {lost}. {_HINTS[what]}")


def understood(kind: type[Answer], content: bytes | str) -> Answer:
    """Decode what the control plane answers. Raises `NotReachable` where it is another than expected."""
    try:
        return decode_json(kind, content)
    except DecodingError as error:
        raise NotReachable(
            f"The control plane's answer cannot be understood: {error}. Look at its URL, or install its version."
        ) from None


def may_come_later(status: int) -> bool:
    """Whether a request with this answer is repeated."""
    return status in _AGAIN


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a server asks to wait; 0 where it does not say."""
    value = headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0.0


def refusal(answer: HttpAnswer) -> NotReachable:
    """Make the error for a control plane's answer that is not 2xx."""
    try:
        content = json.loads(answer.content)
    except (ValueError, RecursionError):
        content = None
    said = content if isinstance(content, dict) else {}
    code = str(said.get("error") or "")
    reason = str(said.get("message") or "no reason given").rstrip(".")
    return _error(f"The control plane answered {answer.status}: {reason}.", answer.status, code)


def store_refusal(what: str, answer: HttpAnswer) -> NotReachable:
    """Make the error for a bucket's answer that is not 2xx."""
    _, found, rest = answer.content[:2_000].decode("utf-8", "replace").partition("<Code>")
    code = rest.partition("</Code>")[0][:100] if found else ""
    return _error(f"The bucket {what}: {answer.status} {code}.", answer.status, code)


def _error(message: str, status: int, code: str) -> NotReachable:
    if status in _AGAIN:
        return NotReachable(message)  # it may do later, and was tried for long enough
    return _KINDS.get(code, Refused)(message, status, code)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _sends_in_clear(url: str) -> bool:
    """Whether requests to a URL leave this machine unencrypted."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
