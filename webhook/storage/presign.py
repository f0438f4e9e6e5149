"""Signs presigned S3 URLs: AWS Signature Version 4 in the query string.

botocore's own presigning takes about 100 µs for a URL, which would be most of the time of a lease request. This one
caches the day's signing key and takes about a tenth. ``tests/webhook/storage/test_presign.py`` compares its URLs with
botocore's.

Source: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, urlsplit

from webhook.store_endpoint import Addressing, origin_of

MAX_EXPIRES_SECONDS = 7 * 24 * 3600
"""Limit of Signature Version 4."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Credentials of an account. They never leave the control plane."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Presigner:
    """Signs URLs for objects of one store."""

    endpoint: str
    """``https://host[:port]``."""
    region: str
    credentials: SigningKeys
    addressing: Addressing = "auto"

    def address(self, bucket: str, key: str) -> tuple[str, str]:
        """Return origin and path of an object, the path percent-encoded as it is signed."""
        origin, prefix = origin_of(self.endpoint, bucket, self.addressing)
        return origin, f"{prefix}/{quote(key, safe='/~')}"

    def url(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        expires_seconds: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Sign a URL that allows one method on one object, with the given headers, until it expires.

        ``headers`` have lower-case names; a client must send each of them with the signed value. ``query`` is a part of
        the URL, such as ``partNumber``. Raises ValueError for an expiry that the signature does not allow.
        """
        _check_expiry(expires_seconds)
        now = datetime.now(UTC)
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        origin, path = self.address(bucket, key)
        signed = {"host": urlsplit(origin).netloc, **(headers or {})}
        names = ";".join(sorted(signed))
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        parameters = _query(self.credentials, scope, moment, expires_seconds, names, query or {})
        lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
        request = f"{method}\n{path}\n{parameters}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signing_key = _signing_key(self.credentials.secret_key, moment[:8], self.region)
        signature = hmac.digest(signing_key, text.encode(), "sha256").hex()
        return f"{origin}{path}?{parameters}&X-Amz-Signature={signature}"

    def form(
        self, bucket: str, key: str, *, expires_seconds: int, size: int, fields: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Sign a browser's form that uploads one object of exactly ``size`` bytes with exactly these fields.

        Returns the URL to post to and all fields, to come before the file. Raises ValueError for an expiry that is not
        allowed. Source: "Browser-Based Uploads Using POST (AWS Signature Version 4)", Amazon S3 API Reference.
        """
        _check_expiry(expires_seconds)
        now = datetime.now(UTC)
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        given = {
            "key": key,
            **fields,
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{self.credentials.access_key}/{scope}",
            "x-amz-date": moment,
        }
        if self.credentials.session_token:
            given["x-amz-security-token"] = self.credentials.session_token
        conditions = [{"bucket": bucket}, *({name: value} for name, value in given.items())]
        expiration = (now + timedelta(seconds=expires_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        rules = {"expiration": expiration, "conditions": [*conditions, ["content-length-range", size, size]]}
        policy = base64.b64encode(json.dumps(rules).encode()).decode()
        signing_key = _signing_key(self.credentials.secret_key, moment[:8], self.region)
        signature = hmac.digest(signing_key, policy.encode(), "sha256").hex()
        origin, prefix = origin_of(self.endpoint, bucket, self.addressing)
        return f"{origin}{prefix}/", {**given, "policy": policy, "x-amz-signature": signature}


def _check_expiry(expires_seconds: int) -> None:
    if not 1 <= expires_seconds <= MAX_EXPIRES_SECONDS:
        raise ValueError(f"a presigned URL lives 1 to {MAX_EXPIRES_SECONDS} seconds, not {expires_seconds}")


def _query(
    credentials: SigningKeys, scope: str, moment: str, expires_seconds: int, names: str, further: Mapping[str, str]
) -> str:
    values = {
        **further,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token:
        values["X-Amz-Security-Token"] = credentials.session_token
    return "&".join(f"{name}={quote(values[name], safe='')}" for name in sorted(values))


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
