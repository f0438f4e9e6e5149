"""Calls a provider's JSON API over HTTP: a bound and a deadline on each answer, exact decimals, errors in words.

For every kind of provider that is reached by HTTPS. No redirect is followed, since it would carry the account's key to
another host.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import httpx

from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderRefused
from workers.bounded_read import BodyTooLong, read_bounded
from workers.outgoing import PAST_PROXIES, why_unreachable

BODY_LIMIT_BYTES = 8 << 20
CALL_SECONDS = 20.0
"""One call at most, its answer included."""
LONGEST_WAIT_SECONDS = 60.0
"""That is waited because an answer asks for it."""

_WAIT_SECONDS = 10.0
"""Before another call, where an answer asks for fewer and does not say for how long."""
_MESSAGE_CHARACTERS = 300
_SHORTEST_SECRET = 4
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An answer of any status."""

    api: str
    """Whose it is, for people: ``RunPod``."""
    status: int
    value: Any
    """The JSON, numbers with a point as `Decimal`. None where the body is none, or is empty."""
    text: str
    """The beginning of the body for people, without a secret or a line break."""
    headers: Mapping[str, str] = field(repr=False)
    key_hint: str = ""
    """What to do where the key is refused."""

    @property
    def ok(self) -> bool:
        """Whether its status says that the call succeeded."""
        return 200 <= self.status < 300

    @property
    def object(self) -> Mapping[str, Any]:
        """The JSON where it is an object, else an empty one."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def wait_seconds(self) -> float:
        """How long the answer asks to wait, 60 s at most."""
        asked = self.headers.get("retry-after", "")
        seconds = float(asked) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", asked) else _WAIT_SECONDS
        return min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)

    def error(self, doing: str, *, hint: str = "") -> ProviderError:
        """The error that its status stands for.

        Args:
            doing: What was asked for, as in "cannot rent a machine".
            hint: What an operator can do, where the status alone does not say it.

        """
        message = f"{self.api} {doing}: {self.text or HTTPStatus(self.status).phrase} (HTTP {self.status})"
        if self.status in _BUSY:
            return ProviderBusy(message, retry_seconds=self.wait_seconds, hint=hint)
        if self.status in _KEY:
            return ProviderRefused(message, hint=hint or self.key_hint)
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status in _TRANSIENT:
            return ProviderError(message, hint=hint)
        if self.ok:
            return ProviderError(f"{self.api} {doing}: its answer cannot be understood: {self.text}", hint=hint)
        return ProviderRefused(message, hint=hint)


class JsonApi:
    """One API and the account's key at it.

    Args:
        name: Whose it is, for people.
        url: Its base, without a slash at the end.
        key: Sent as a bearer token with each call. Appears in no error.
        key_hint: What to do where the key is refused.
        seconds: Deadline of one call.
        limit_bytes: Longest body of an answer.

    """

    def __init__(
        self,
        name: str,
        url: str,
        key: str,
        *,
        key_hint: str = "",
        seconds: float = CALL_SECONDS,
        limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self.name = name
        self.url = url
        self._key = key
        self._key_hint = key_hint
        self._seconds = seconds
        self._limit_bytes = limit_bytes
        self._client: httpx.AsyncClient | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
    ) -> ApiAnswer:
        """Make one call and return its answer, of any status.

        Args:
            method: Of HTTP.
            path: Below the base, beginning with a slash.
            body: Sent as JSON.
            query: Added to the path.
            secrets: Of the body: an answer that repeats them is not shown with them.

        Raises:
            ProviderError: there was no answer, or it was too long.

        """
        content = None if body is None else json.dumps(body)
        try:
            async with asyncio.timeout(self._seconds):
                response, raw = await self._send(method, path, content, query)
        except TimeoutError:
            raise ProviderError(f"{self.name} did not answer within {self._seconds:g} s") from None
        except BodyTooLong:
            raise ProviderError(f"{self.name} sent more than {self._limit_bytes} bytes") from None
        except httpx.HTTPError as error:
            raise ProviderError(f"{self.name} cannot be reached: {why_unreachable(error)}") from None
        return ApiAnswer(
            self.name,
            response.status_code,
            parsed(raw),
            shown(raw, (self._key, *secrets)),
            response.headers,
            self._key_hint,
        )

    async def aclose(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _send(
        self, method: str, path: str, content: str | None, query: Mapping[str, str] | None
    ) -> tuple[httpx.Response, bytes]:
        request = self._open_client().build_request(method, self.url + path, content=content, params=query)
        response = await self._open_client().send(request, stream=True)
        try:
            return response, await read_bounded(response.aiter_raw(), self._limit_bytes)
        finally:
            await response.aclose()

    def _open_client(self) -> httpx.AsyncClient:
        if self._client is None:
            # No compression: a small answer cannot grow beyond its bound while it is unpacked.
            headers = {
                "Authorization": f"Bearer {self._key}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            }
            self._client = httpx.AsyncClient(
                headers=headers, follow_redirects=False, timeout=self._seconds, mounts=dict(PAST_PROXIES)
            )
        return self._client


def parsed(raw: bytes) -> Any:
    """The JSON of a body, numbers with a point as exact decimals. None where it is no JSON."""
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


def shown(raw: bytes, secrets: Iterable[str]) -> str:
    """The beginning of a body for people: one line, with no character that is not printable and no secret."""
    text = raw.decode("utf-8", "replace")
    for secret in secrets:  # in the whole of it: a secret that is cut off would not be found
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 20 * _MESSAGE_CHARACTERS]).split())
    return line if len(line) <= _MESSAGE_CHARACTERS else f"{line[:_MESSAGE_CHARACTERS]}…"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
