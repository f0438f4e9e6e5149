"""Signs presigned S3 URLs: AWS Signature Version 4 in the query string.

botocore's own presigning takes about 100 µs for a URL, which would be most of the time of a lease request. This one
caches the day's signing key and takes about a tenth. ``tests/webhook/storage/test_presign.py`` compares its URLs with
botocore's.

Source: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
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

        ``headers`` have lower-case names; a client must send each of them with the signed value. ``query`` has
        parameters of the operation, such as ``response-content-disposition``. Raises ValueError for an expiry that the
        signature does not allow.
        """
        if not 1 <= expires_seconds <= MAX_EXPIRES_SECONDS:
            raise ValueError(f"a presigned URL lives 1 to {MAX_EXPIRES_SECONDS} seconds, not {expires_seconds}")
        now = datetime.now(UTC)
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        origin, path = self.address(bucket, key)
        signed = {"host": urlsplit(origin).netloc, **(headers or {})}
        names = ";".join(sorted(signed))
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        signing = _query(self.credentials, scope, moment, expires_seconds, names, query or {})
        lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
        request = f"{method}\n{path}\n{signing}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signing_key = _signing_key(self.credentials.secret_key, moment[:8], self.region)
        signature = hmac.digest(signing_key, text.encode(), "sha256").hex()
        return f"{origin}{path}?{signing}&X-Amz-Signature={signature}"


def _query(
    credentials: SigningKeys, scope: str, moment: str, expires_seconds: int, names: str, query: Mapping[str, str]
) -> str:
    values = {
        **query,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token:
        values["X-Amz-Security-Token"] = credentials.session_token
    return "&".join(f"{quote(name, safe='')}={quote(values[name], safe='')}" for name in sorted(values))


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
