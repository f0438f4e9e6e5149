"""Verifies the signatures of S3 requests: AWS Signature Version 4, in a header, in a presigned URL and in a form.

As AWS does, and unlike Ceph and MinIO, it refuses a request with an ``x-amz-*`` header that is not signed: the
holder of a presigned PUT could otherwise make it a copy, or change who may read the object. Of a body in
``aws-chunked`` the request's signature is verified, not those of its chunks.

Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from infra.local.exchange import Call, RefusedError

Clock = Callable[[], datetime]

_ALGORITHM = "AWS4-HMAC-SHA256"
_MOMENT = "%Y%m%dT%H%M%SZ"
_SKEW = timedelta(minutes=15)
_MAX_EXPIRES_SECONDS = 7 * 24 * 3600
_UNSIGNED = "UNSIGNED-PAYLOAD"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})\s*"
)


@dataclass(frozen=True, slots=True)
class AcceptedKeys:
    """The access keys that the local bucket accepts, with their secret keys.

    Without any, each key that a request names is accepted and no signature is computed. All else is checked.
    """

    owners: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys that may do everything."""
    publishers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys that may write objects and do nothing else."""

    @classmethod
    def from_environment(cls) -> AcceptedKeys:
        """The keys in ``AWS_ACCESS_KEY_ID`` and ``YURT_PUBLISH_ACCESS_KEY_ID``, with their secret keys."""
        return cls(_pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
                   _pair("YURT_PUBLISH_ACCESS_KEY_ID", "YURT_PUBLISH_SECRET_ACCESS_KEY"))  # fmt: skip

    def secret_of(self, access_key: str) -> str | None:
        """The secret key of an access key; None: none is known, and none is needed. Raises RefusedError."""
        if not self.owners and not self.publishers:
            return None
        secret = self.owners.get(access_key) or self.publishers.get(access_key)
        if secret is None:
            raise RefusedError(403, "InvalidAccessKeyId", "The access key does not exist in the local bucket.")
        return secret


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its signature."""

    access_key: str
    scope: str
    moment: str
    signed_headers: tuple[str, ...]
    signature: str
    payload: str


class Signatures:
    """Checks who sent a request, and what of it they signed."""

    def __init__(self, keys: AcceptedKeys, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._keys = keys
        self._clock = clock

    def check(self, call: Call) -> tuple[str, ...]:
        """Check signature, time, payload and rights of a request. Returns the names of its signed headers.

        Raises RefusedError.
        """
        claim = _claim_of(call)
        self._check_time(call, claim)
        if "host" not in claim.signed_headers:
            raise _denied("The Host header has to be signed.")
        if any(sum(given == name for given, _ in call.headers) > 1 for name in claim.signed_headers):
            raise RefusedError(403, "SignatureDoesNotMatch", "A header that is signed is given more than once.")
        self._check_signature(claim, _text_to_sign(call, claim))
        _check_payload(call, claim.payload)
        self._check_rights(call, claim.access_key)
        return claim.signed_headers

    def check_form(self, fields: Mapping[str, str]) -> None:
        """Check the signature and the expiry of the policy in a browser's form. Raises RefusedError."""
        given = {name.lower(): value for name, value in fields.items()}
        try:
            policy, signature = given["policy"], given["x-amz-signature"]
            access_key, scope = _credential(given["x-amz-credential"])
            expires_at = datetime.fromisoformat(json.loads(base64.b64decode(policy))["expiration"])
        except (KeyError, ValueError, TypeError, RecursionError, binascii.Error):
            raise _denied("The form has no signed policy.") from None
        if expires_at.tzinfo is None or expires_at < self._clock():
            raise _denied("The form's policy has expired.")
        self._check_signature(_Claim(access_key, scope, "", (), signature, ""), policy)
        if access_key in self._keys.publishers:
            raise _denied("This key may only put objects.")

    def _check_time(self, call: Call, claim: _Claim) -> None:
        now, signed_at = self._clock(), _moment(claim.moment)
        expires = _first(call, "X-Amz-Expires")
        if signed_at > now + _SKEW or not claim.scope.startswith(f"{claim.moment[:8]}/"):
            raise RefusedError(403, "RequestTimeTooSkewed", "The request is signed for another time.")
        if expires is None:
            if signed_at < now - _SKEW:
                raise RefusedError(403, "RequestTimeTooSkewed", "The request was signed more than 15 minutes ago.")
        elif not expires.isdecimal() or not 1 <= int(expires[:9]) <= _MAX_EXPIRES_SECONDS:
            raise RefusedError(400, "AuthorizationQueryParametersError", "X-Amz-Expires has to be 1 to 604800.")
        elif now > signed_at + timedelta(seconds=int(expires)):
            raise _denied("Request has expired")

    def _check_signature(self, claim: _Claim, text: str) -> None:
        secret = self._keys.secret_of(claim.access_key)
        if secret is not None and not hmac.compare_digest(_signature(secret, claim.scope, text), claim.signature):
            raise RefusedError(
                403, "SignatureDoesNotMatch", "The signature does not match: check the secret key and what was signed."
            )

    def _check_rights(self, call: Call, access_key: str) -> None:
        if access_key not in self._keys.publishers:
            return
        if call.method != "PUT" or not call.key or call.header("x-amz-copy-source") or set(call.query) & _SUBRESOURCES:
            raise _denied("This key may only put objects.")


_SUBRESOURCES = frozenset({"acl", "tagging", "retention", "legal-hold", "uploadId", "partNumber"})
"""Queries of a PUT that does something else than putting an object."""


def require_all_signed(call: Call, signed_headers: tuple[str, ...]) -> None:
    """Refuse a request with an ``x-amz-*`` header that is not signed, as AWS does. Raises RefusedError."""
    loose = {name for name, _ in call.headers if name.startswith("x-amz-")} - {*signed_headers, "x-amz-content-sha256"}
    if loose:
        raise _denied(f"There were headers present in the request which were not signed: {', '.join(sorted(loose))}")


def _claim_of(call: Call) -> _Claim:
    if _first(call, "X-Amz-Signature") is not None:
        return _claim_of_url(call)
    match = _HEADER.fullmatch(call.header("authorization") or "")
    if match is None:
        raise _denied("The request is not signed (AWS Signature Version 4).")
    moment = call.header("x-amz-date") or ""
    payload = call.header("x-amz-content-sha256") or ""
    access_key, scope = _credential_of(match[1])
    return _Claim(access_key, scope, moment, tuple(match[2].lower().split(";")), match[3], payload)


def _claim_of_url(call: Call) -> _Claim:
    given = {name: _first(call, name) or "" for name in _QUERY_NAMES}
    if given["X-Amz-Algorithm"] != _ALGORITHM:
        raise RefusedError(400, "AuthorizationQueryParametersError", f"X-Amz-Algorithm has to be {_ALGORITHM}.")
    if _first(call, "X-Amz-Expires") is None:
        raise RefusedError(400, "AuthorizationQueryParametersError", "X-Amz-Expires is missing.")
    access_key, scope = _credential_of(given["X-Amz-Credential"])
    names = tuple(given["X-Amz-SignedHeaders"].lower().split(";"))
    return _Claim(access_key, scope, given["X-Amz-Date"], names, given["X-Amz-Signature"], _UNSIGNED)


_QUERY_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")


def _text_to_sign(call: Call, claim: _Claim) -> str:
    headers = "".join(f"{name}:{_value(call, name)}\n" for name in claim.signed_headers)
    path = quote(unquote(call.raw_path, errors="surrogateescape"), safe="/~", errors="surrogateescape")
    request = "\n".join(
        (call.method, path, _canonical_query(call), headers, ";".join(claim.signed_headers), claim.payload)
    )
    return "\n".join((_ALGORITHM, claim.moment, claim.scope, hashlib.sha256(request.encode()).hexdigest()))


def _canonical_query(call: Call) -> str:
    pairs = [pair.partition("=") for pair in call.query_string.split("&") if pair]
    decoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in decoded if name != "X-Amz-Signature")


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


def _value(call: Call, name: str) -> str:
    return ",".join(" ".join(value.split()) for given, value in call.headers if given == name)


def _check_payload(call: Call, claimed: str) -> None:
    if not _DIGEST.fullmatch(claimed):
        if claimed == _UNSIGNED or claimed.startswith("STREAMING-"):
            return
        raise RefusedError(400, "InvalidRequest", "X-Amz-Content-Sha256 has to be a digest, or to say what is signed.")
    digest = hashlib.sha256()
    while piece := call.body.read(1 << 20):
        digest.update(piece)
    call.body.seek(0)
    if digest.hexdigest() != claimed:
        raise RefusedError(400, "XAmzContentSHA256Mismatch", "The body is not the one that was signed.")


def _signature(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _credential_of(text: str) -> tuple[str, str]:
    try:
        return _credential(text)
    except ValueError:
        raise RefusedError(400, "AuthorizationHeaderMalformed", "The credential's scope is malformed.") from None


def _credential(text: str) -> tuple[str, str]:
    """Access key and scope of a credential. Raises ValueError."""
    access_key, *scope = text.split("/")
    if len(scope) != 4 or scope[2:] != ["s3", "aws4_request"]:
        raise ValueError("malformed scope")
    return access_key, "/".join(scope)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise _denied("The request does not say when it was signed.") from None


def _first(call: Call, name: str) -> str | None:
    return next(iter(call.query.get(name, ())), None)


def _pair(name: str, secret_name: str) -> dict[str, str]:
    access_key, secret = os.environ.get(name, ""), os.environ.get(secret_name, "")
    return {access_key: secret} if access_key and secret else {}


def _denied(message: str) -> RefusedError:
    return RefusedError(403, "AccessDenied", message)
