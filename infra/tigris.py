"""Sets up a bucket's object notifications on Tigris, or on whatever answers as Tigris does.

Tigris has no S3 call for this (PutBucketNotificationConfiguration is not supported): its own client sends a
signed ``PATCH /{bucket}`` and reads back with ``GET /{bucket}?metadata&with-size=true``. A bucket has one
configuration.
"""

from __future__ import annotations

import json
import os
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

MASK = "********"
DEFAULT_ENDPOINT = "https://t3.storage.dev"

_ATTEMPTS = 3
_TIMEOUT_SECONDS = 15.0
_MAX_ANSWER_BYTES = 1024 * 1024
_OVERLOADED = frozenset({408, 429, 500, 502, 503, 504})
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")


class SetupError(Exception):
    """The notifications could not be set or read. The message says why and what to do, never a secret."""


class _OverloadedError(Exception):
    """The store asks to be tried again."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Tigris sends ``Authorization: Bearer …``."""

    token: str = field(repr=False)

    def settings(self) -> dict[str, str]:
        """As the configuration has it."""
        return {"token": self.token}

    def masked(self) -> dict[str, str]:
        """The same to be shown."""
        return {"token": MASK}


@dataclass(frozen=True, slots=True)
class Basic:
    """Tigris sends ``Authorization: Basic …``."""

    user: str
    password: str = field(repr=False)

    def settings(self) -> dict[str, str]:
        """As the configuration has it."""
        return {"basic_user": self.user, "basic_pass": self.password}

    def masked(self) -> dict[str, str]:
        """The same to be shown."""
        return {"basic_user": self.user, "basic_pass": MASK}


Secret = Bearer | Basic | None


@dataclass(frozen=True, slots=True)
class TigrisBuckets:
    """Where the buckets are and who asks."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TigrisBuckets:
        """From ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_ENDPOINT_URL_S3`` and ``AWS_REGION``.

        Raises:
            SetupError: a key is missing.
        """
        missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environment.get(name)]
        if missing:
            raise SetupError(f"{' and '.join(missing)} not set: make an access key for the bucket, and set both")
        return cls(
            endpoint=(
                environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or DEFAULT_ENDPOINT
            ).rstrip("/"),
            region=environment.get("AWS_REGION") or "auto",
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be sent."""

    bucket: str
    url: str
    filter: str
    secret: Secret

    def settings(self) -> dict[str, Any]:
        """The body of the request."""
        return self._body(self.secret.settings() if self.secret else None)

    def masked(self) -> dict[str, Any]:
        """The same to be shown."""
        return self._body(self.secret.masked() if self.secret else None)

    def _body(self, auth: dict[str, str] | None) -> dict[str, Any]:
        wanted: dict[str, Any] = {"enabled": True, "web_hook": self.url, "filter": self.filter}
        return {"object_notifications": wanted | ({"auth": auth} if auth else {})}


@dataclass(frozen=True, slots=True)
class CurrentNotifications:
    """What a bucket is set to. Credentials are never read, only which kind there is."""

    enabled: bool
    url: str
    filter: str
    auth: str
    """``bearer``, ``basic`` or ``none``."""


def key_filter(prefixes: Iterable[str]) -> str:
    """The filter that lets through the keys below any of these prefixes, and as few others as can be said.

    Empty where a prefix is: everything. What Tigris does with a backslash in a filter is undocumented,
    so none is written: special characters stand in brackets, and the few that cannot match any character. The
    receiver looks at the prefix itself, so a filter that lets through too much costs money, never a result.
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


def plan(bucket: str, url: str, filter: str = "", secret: Secret = None) -> Plan:
    """What would be sent to announce a bucket's changes to a webhook.

    Raises:
        SetupError: the bucket's name or the URL is none.
    """
    if not _BUCKET.match(bucket):
        raise SetupError(f"{bucket!r} is no bucket name: 3 to 63 of a-z, 0-9, '.' and '-'")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"the webhook has to be a http(s) URL that the store can reach, not {url!r}")
    if parts.username or parts.password:
        raise SetupError("the webhook's URL holds credentials: give them as the notification secret instead")
    return Plan(bucket, url, filter, secret)


def apply(wanted: Plan, store: TigrisBuckets) -> None:
    """Set the bucket's one notification configuration; what it was before is replaced.

    Raises:
        SetupError: the store refused, or could not be asked.
    """
    answer = _ask(store, "PATCH", f"/{wanted.bucket}", json.dumps(wanted.settings()).encode())
    described = answer.described()
    if answer.status != 200 or described.get("status") == "error":
        reason = _scrubbed(str(described.get("message") or ""), wanted.secret)
        raise SetupError(_refusal(answer.status, store, wanted.bucket, reason))


def read_back(bucket: str, store: TigrisBuckets) -> CurrentNotifications | None:
    """What the bucket is set to; None: no notifications.

    Raises:
        SetupError: the store refused, could not be asked, or is no Tigris.
    """
    answer = _ask(store, "GET", f"/{quote(bucket)}?metadata&with-size=true")
    described = answer.described()
    if answer.status != 200:
        raise SetupError(_refusal(answer.status, store, bucket, str(described.get("message") or "")))
    if described.get("name") != bucket:
        raise SetupError(_not_tigris(store))
    seen = described.get("object_notifications")
    return _notifications(seen) if isinstance(seen, dict) and seen else None


def differences(wanted: Plan, seen: CurrentNotifications | None) -> list[str]:
    """What is not as it was planned, a sentence each; the secrets themselves cannot be compared."""
    if seen is None:
        return ["the bucket has no notifications"]
    expected = CurrentNotifications(
        True, wanted.url, wanted.filter, _kind(wanted.secret.settings() if wanted.secret else {})
    )
    return [
        f"{name} is {getattr(seen, name)!r} instead of {getattr(expected, name)!r}"
        for name in ("enabled", "url", "filter", "auth")
        if getattr(seen, name) != getattr(expected, name)
    ]


def _notifications(seen: Mapping[str, Any]) -> CurrentNotifications:
    auth = seen.get("auth")
    return CurrentNotifications(
        enabled=seen.get("enabled") is True,
        url=str(seen.get("web_hook") or ""),
        filter=str(seen.get("filter") or ""),
        auth=_kind(auth if isinstance(auth, dict) else {}),
    )


def _kind(auth: Mapping[str, Any]) -> str:
    return "bearer" if auth.get("token") else "basic" if auth.get("basic_user") else "none"


def _scrubbed(reason: str, secret: Secret) -> str:
    for value in secret.settings().values() if secret else ():
        reason = reason.replace(value, MASK)
    return reason


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes

    def described(self) -> dict[str, Any]:
        """The body's JSON object; empty where it is none."""
        try:
            described = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return described if isinstance(described, dict) else {}


def _ask(store: TigrisBuckets, method: str, path: str, content: bytes = b"") -> _Answer:
    """One signed request, tried again where the store is overloaded or could not be reached."""
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
        why = type(error).__name__
        raise SetupError(f"{store.endpoint} cannot be reached ({why}): check AWS_ENDPOINT_URL_S3") from None


def _attempt(store: TigrisBuckets, method: str, path: str, content: bytes) -> _Answer:
    url = store.endpoint + path
    headers = _signed(store, method, url, content)
    with (
        httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as client,
        client.stream(method, url, content=content or None, headers=headers) as answer,
    ):
        if answer.status_code in _OVERLOADED:
            raise _OverloadedError(answer.status_code)
        return _Answer(answer.status_code, _limited(store, answer))


def _signed(store: TigrisBuckets, method: str, url: str, content: bytes) -> dict[str, str]:
    headers = {"accept": "application/json"} | ({"content-type": "application/json"} if content else {})
    request = AWSRequest(method, url, headers=headers, data=content)
    S3SigV4Auth(Credentials(store.access_key, store.secret_key), "s3", store.region).add_auth(request)
    return dict(request.headers.items())


def _limited(store: TigrisBuckets, answer: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise SetupError(_not_tigris(store))
    return bytes(body)


def _not_tigris(store: TigrisBuckets) -> str:
    return (
        f"{store.endpoint} does not answer as Tigris does, so notifications cannot be set this way: "
        "point AWS_ENDPOINT_URL_S3 at Tigris, or set them with the tools of your store"
    )


def _refusal(status: int, store: TigrisBuckets, bucket: str, reason: str) -> str:
    """What an answer that is not a success means, and what to do."""
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
