"""Sets and reads a bucket's object notifications on Tigris, or on a store that has the same calls.

Tigris has no S3 call for this (PutBucketNotificationConfiguration is not supported): its own client sends a
signed ``PATCH /{bucket}`` and reads back with ``GET /{bucket}?metadata&with-size=true``. A bucket has one
configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import tenacity
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from workers import tls
from workers.bounded_read import BodyTooLong, read_bounded_sync
from workers.outgoing import PAST_PROXIES, why_unreachable

MASK = "********"

_ATTEMPTS = 3
_TIMEOUT_SECONDS = 15.0
_MAX_ANSWER_BYTES = 1024 * 1024
_OVERLOADED = frozenset({408, 429, 500, 502, 503, 504})
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")


class SetupError(Exception):
    """The notifications could not be set or read. The message says why and what to do, never a secret."""


class _OverloadedError(Exception):
    """The store is overloaded: the request may be tried again."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Notifications carry ``Authorization: Bearer …``."""

    token: str = field(repr=False)

    def settings(self) -> dict[str, str]:
        """The fields of the request."""
        return {"token": self.token}

    def masked(self) -> dict[str, str]:
        """The same fields with the secret hidden."""
        return {"token": MASK}


@dataclass(frozen=True, slots=True)
class Basic:
    """Notifications carry ``Authorization: Basic …``."""

    user: str
    password: str = field(repr=False)

    def settings(self) -> dict[str, str]:
        """The fields of the request."""
        return {"basic_user": self.user, "basic_pass": self.password}

    def masked(self) -> dict[str, str]:
        """The same fields with the secret hidden."""
        return {"basic_user": self.user, "basic_pass": MASK}


Secret = Bearer | Basic | None


@dataclass(frozen=True, slots=True)
class TigrisEndpoint:
    """An S3 endpoint, and the access key that signs requests to it."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotificationPlan:
    """The notification configuration that a bucket is to have."""

    bucket: str
    url: str
    filter: str
    secret: Secret

    def settings(self) -> dict[str, Any]:
        """The body of the request that sets it."""
        return self._body(self.secret.settings() if self.secret else None)

    def masked(self) -> dict[str, Any]:
        """The same fields with the secret hidden."""
        return self._body(self.secret.masked() if self.secret else None)

    def _body(self, auth: dict[str, str] | None) -> dict[str, Any]:
        wanted: dict[str, Any] = {"enabled": True, "web_hook": self.url, "filter": self.filter}
        return {"object_notifications": wanted | ({"auth": auth} if auth else {})}


@dataclass(frozen=True, slots=True)
class CurrentNotifications:
    """The notification configuration that a bucket has. Of its credentials only the kind is known."""

    enabled: bool
    url: str
    filter: str
    auth: str
    """``bearer``, ``basic`` or ``none``."""


def key_filter(prefixes: Iterable[str]) -> str:
    """The filter that lets through the keys below any of these prefixes, and as few others as possible.

    Empty, which lets through every key, where one prefix is empty. What Tigris does with a backslash in a filter is
    undocumented, so none is written: special characters stand in brackets, and a dot takes the place of the few that
    cannot. The receiver compares the prefix itself, so a filter that lets through too much costs requests, never a
    result.
    """
    distinct = sorted(set(prefixes))
    if not distinct or "" in distinct:
        return ""
    patterns = [_pattern(prefix) for prefix in distinct]
    return f'WHERE `key` REGEXP "^{patterns[0] if len(patterns) == 1 else "(" + "|".join(patterns) + ")"}"'


def _pattern(prefix: str) -> str:
    return "".join(_literal(character) for character in prefix)


def _literal(character: str) -> str:
    if character in '\\"^`[]' or not character.isprintable():
        return "."
    return f"[{character}]" if character in ".$*+?(){|" else character


def plan(bucket: str, url: str, filter: str = "", secret: Secret = None) -> NotificationPlan:
    """Plan to announce a bucket's changes to a webhook.

    Raises:
        SetupError: the bucket's name or the URL is not valid.
    """
    if not _BUCKET.match(bucket):
        raise SetupError(f"{bucket!r} is no bucket name: 3 to 63 of a-z, 0-9, '.' and '-'")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"the webhook has to be a http(s) URL that the store can reach, not {url!r}")
    if parts.username or parts.password:
        raise SetupError("the webhook's URL holds credentials: give them as the notification secret instead")
    return NotificationPlan(bucket, url, filter, secret)


def apply(wanted: NotificationPlan, store: TigrisEndpoint) -> None:
    """Set the bucket's one notification configuration, in place of the one it had.

    Raises:
        SetupError: the store refused, or could not be reached.
    """
    response = _request(store, "PATCH", f"/{wanted.bucket}", json.dumps(wanted.settings()).encode())
    fields = response.fields()
    if response.status != 200 or fields.get("status") == "error":
        reason = _scrubbed(str(fields.get("message") or ""), wanted.secret)
        raise SetupError(_refusal(response.status, store, wanted.bucket, reason))


def read_back(bucket: str, store: TigrisEndpoint) -> CurrentNotifications | None:
    """Read the bucket's notification configuration; None: it has none.

    Raises:
        SetupError: the store refused, could not be reached, or has no such call.
    """
    response = _request(store, "GET", f"/{quote(bucket)}?metadata&with-size=true")
    fields = response.fields()
    if response.status != 200:
        raise SetupError(_refusal(response.status, store, bucket, str(fields.get("message") or "")))
    if fields.get("name") != bucket:
        raise SetupError(_not_tigris(store))
    settings = fields.get("object_notifications")
    return _notifications(settings) if isinstance(settings, dict) and settings else None


def differences(wanted: NotificationPlan, current: CurrentNotifications | None) -> list[str]:
    """Name each field that is not as planned, a sentence each. Secrets cannot be compared: the store hides them."""
    if current is None:
        return ["the bucket has no notifications"]
    expected = CurrentNotifications(
        True, wanted.url, wanted.filter, _kind(wanted.secret.settings() if wanted.secret else {})
    )
    return [
        f"{name} is {getattr(current, name)!r} instead of {getattr(expected, name)!r}"
        for name in ("enabled", "url", "filter", "auth")
        if getattr(current, name) != getattr(expected, name)
    ]


def _notifications(settings: Mapping[str, Any]) -> CurrentNotifications:
    auth = settings.get("auth")
    return CurrentNotifications(
        enabled=settings.get("enabled") is True,
        url=str(settings.get("web_hook") or ""),
        filter=str(settings.get("filter") or ""),
        auth=_kind(auth if isinstance(auth, dict) else {}),
    )


def _kind(auth: Mapping[str, Any]) -> str:
    return "bearer" if auth.get("token") else "basic" if auth.get("basic_user") else "none"


def _scrubbed(reason: str, secret: Secret) -> str:
    for value in secret.settings().values() if secret else ():
        reason = reason.replace(value, MASK)
    return reason


@dataclass(frozen=True, slots=True)
class _TigrisResponse:
    status: int
    body: bytes

    def fields(self) -> dict[str, Any]:
        """The body's JSON object; empty where the body is none."""
        try:
            fields = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}


def _request(store: TigrisEndpoint, method: str, path: str, content: bytes = b"") -> _TigrisResponse:
    """Send a signed request, again where the store is overloaded or could not be reached."""
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        retry=tenacity.retry_if_exception_type((_OverloadedError, httpx.TransportError)),
        reraise=True,
    )
    try:
        return retrying(_attempt, store, method, path, content)
    except _OverloadedError as overloaded:
        raise SetupError(f"{store.endpoint} answered {overloaded} {_ATTEMPTS} times: try again later") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = why_unreachable(error)
        raise SetupError(f"{store.endpoint} cannot be reached ({why}): check AWS_ENDPOINT_URL_S3") from None


def _attempt(store: TigrisEndpoint, method: str, path: str, content: bytes) -> _TigrisResponse:
    url = store.endpoint + path
    headers = _signed(store, method, url, content)
    with (
        httpx.Client(
            verify=tls.context(), mounts=PAST_PROXIES, timeout=_TIMEOUT_SECONDS, follow_redirects=False
        ) as client,
        client.stream(method, url, content=content or None, headers=headers) as answer,
    ):
        if answer.status_code in _OVERLOADED:
            raise _OverloadedError(answer.status_code)
        return _TigrisResponse(answer.status_code, _limited(store, answer))


def _signed(store: TigrisEndpoint, method: str, url: str, content: bytes) -> dict[str, str]:
    headers = {"accept": "application/json"} | ({"content-type": "application/json"} if content else {})
    request = AWSRequest(method, url, headers=headers, data=content)
    S3SigV4Auth(Credentials(store.access_key, store.secret_key), "s3", store.region).add_auth(request)
    return dict(request.headers.items())


def _limited(store: TigrisEndpoint, answer: httpx.Response) -> bytes:
    try:
        return read_bounded_sync(answer.iter_bytes(), _MAX_ANSWER_BYTES)
    except BodyTooLong:
        raise SetupError(_not_tigris(store)) from None


def _not_tigris(store: TigrisEndpoint) -> str:
    return (
        f"{store.endpoint} does not answer as Tigris does, so notifications cannot be set this way: "
        "point AWS_ENDPOINT_URL_S3 at Tigris, or set them with the tools of your store"
    )


def _refusal(status: int, store: TigrisEndpoint, bucket: str, reason: str) -> str:
    """Explain a response that is not a success, and what to do."""
    match status:
        case 401 | 403:
            return (
                f"the store refused these credentials for the settings of {bucket} ({status}): "
                "use an access key that may administer the bucket, and check the clock of this machine"
            )
        case 404:
            return f"there is no bucket {bucket} (404): make it first, or check its name and AWS_ENDPOINT_URL_S3"
        case 301 | 302 | 307 | 308 | 405 | 501:
            return _not_tigris(store)
        case _:
            return f"the store refused the settings of {bucket} ({status}): {reason[:300] or 'no reason given'}"
