"""Signatures of the local bucket: what botocore signs is accepted, and nothing that differs from it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.local.exchange import Call, RefusedError, call_of
from infra.local.signatures import AcceptedKeys, Signatures, require_all_signed

OWNER, PUBLISHER = ("owner", "secret of the owner"), ("publisher", "secret of the publisher")
KEYS = AcceptedKeys(dict([OWNER]), dict([PUBLISHER]))
HOST = "127.0.0.1:9000"


def call(url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b"") -> Call:
    parts = urlsplit(url)
    sent = {"host": parts.netloc, **{name.lower(): value for name, value in (headers or {}).items()}}
    scope = {
        "method": method,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    return call_of(scope, io.BytesIO(body), len(body))


def presigned(
    path: str = "/photos-in/a%20b%2Bc/%F0%9F%98%80.jpg?versionId=x%2Fy",
    method: str = "GET",
    seconds: int = 60,
    key: tuple[str, str] = OWNER,
    **headers: str,
) -> str:
    request = AWSRequest(method, f"http://{HOST}{path}", headers={n.replace("_", "-"): v for n, v in headers.items()})
    S3SigV4QueryAuth(Credentials(*key), "s3", "auto", expires=seconds).add_auth(request)
    return str(request.url)


class _PayloadSaid(S3SigV4Auth):
    """Signs with what is said of the payload in place of its digest."""

    def __init__(self, key: tuple[str, str], said: str) -> None:
        super().__init__(Credentials(*key), "s3", "auto")
        self._said = said

    def payload(self, request: AWSRequest) -> str:
        return self._said or str(super().payload(request))


def signed(
    method: str, path: str, body: bytes = b"", key: tuple[str, str] = OWNER, payload: str = "", **headers: str
) -> Call:
    """A request that botocore signs in its headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, f"http://{HOST}{path}", data=body, headers=named)
    _PayloadSaid(key, payload).add_auth(request)
    return call(f"http://{HOST}{path}", method, dict(request.headers.items()), body)


def code_of(request: Call, keys: AcceptedKeys = KEYS, later: timedelta = timedelta()) -> str:
    """The code with which a request is refused so long after it was signed; empty: it is accepted."""
    at = (_signed_at(request) or datetime.now(UTC)) + later
    try:
        require_all_signed(request, Signatures(keys, lambda: at).check(request))
    except RefusedError as refused:
        return refused.code
    return ""


def _signed_at(request: Call) -> datetime | None:
    """When a request was signed: many are when this module is loaded, long before their tests run."""
    said = request.header("x-amz-date") or next(iter(request.query.get("X-Amz-Date", ())), "")
    with contextlib.suppress(ValueError):
        return datetime.strptime(said, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return None


@pytest.mark.parametrize(
    "path", ["/photos-in", "/photos-in?list-type=2&prefix=a%2Fb&metadata", "/b/a%20b%2Bc%2520/~x.jpg"]
)
def test_what_botocore_signs_is_accepted(path: str) -> None:
    assert code_of(signed("PUT", path, b"hello", x_amz_meta_colour="  red   and blue ")) == ""
    assert code_of(call(presigned(path))) == ""


def test_a_body_may_be_unsigned_or_sent_in_chunks() -> None:
    for said in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        assert code_of(signed("PUT", "/b/a", b"hello", payload=said)) == ""
    assert code_of(signed("PUT", "/b/a", b"hello", payload="none")) == "InvalidRequest"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (call(f"http://{HOST}/b/a"), "AccessDenied"),
        (call(f"http://{HOST}/b/a", headers={"authorization": "AWS owner:abc"}), "AccessDenied"),
        (call(presigned(key=("stranger", "x"))), "InvalidAccessKeyId"),
        (call(presigned(key=("owner", "another secret"))), "SignatureDoesNotMatch"),
        (call(presigned().replace("a%20b", "c")), "SignatureDoesNotMatch"),
        (call(presigned().replace("x%2Fy", "z")), "SignatureDoesNotMatch"),
        (call(presigned(), "PUT"), "SignatureDoesNotMatch"),
        (call(presigned().replace(HOST, "127.0.0.1:9001")), "SignatureDoesNotMatch"),
        (call(presigned().replace("Expires=60", "Expires=61")), "SignatureDoesNotMatch"),
        (call(presigned().replace("Expires=60", "Expires=604801")), "AuthorizationQueryParametersError"),
        (call(presigned().replace("X-Amz-Expires=60&", "")), "AuthorizationQueryParametersError"),
        (call(presigned().replace("aws4_request", "x")), "AuthorizationHeaderMalformed"),
        (call(presigned(content_type="text/plain"), headers={"content-type": "text/html"}), "SignatureDoesNotMatch"),
        (call(presigned(content_type="text/plain")), "SignatureDoesNotMatch"),
    ],
)
def test_what_differs_from_what_was_signed_is_refused(request_: Call, code: str) -> None:
    assert code_of(request_) == code


def test_a_header_that_is_not_signed_is_refused_as_by_aws() -> None:
    for name in ("x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-meta-yurt-token"):
        assert code_of(call(presigned(method="PUT"), "PUT", {name: "x"})) == "AccessDenied"
    assert code_of(call(presigned(), headers={"x-yurt-region": "far"})) == ""


def test_a_body_other_than_the_signed_one_is_refused() -> None:
    request = signed("PUT", "/b/a", b"hello")
    assert code_of(request) == ""
    assert request.body.read() == b"hello"
    other = call(f"http://{HOST}/b/a", "PUT", dict(request.headers), b"hallo")
    assert code_of(other) == "XAmzContentSHA256Mismatch"


def test_a_signature_ends() -> None:
    assert code_of(call(presigned()), later=timedelta(seconds=50)) == ""
    assert code_of(call(presigned()), later=timedelta(seconds=62)) == "AccessDenied"
    assert code_of(call(presigned()), later=timedelta(minutes=-16)) == "RequestTimeTooSkewed"
    assert code_of(signed("GET", "/b"), later=timedelta(minutes=14)) == ""
    assert code_of(signed("GET", "/b"), later=timedelta(minutes=16)) == "RequestTimeTooSkewed"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/b/a", {}),
        ("HEAD", "/b/a", {}),
        ("DELETE", "/b/a", {}),
        ("GET", "/b?list-type=2", {}),
        ("PUT", "/b", {}),
        ("PUT", "/b/a?acl", {}),
        ("PUT", "/b/a?partNumber=1&uploadId=x", {}),
        ("PUT", "/b/a", {"x_amz_copy_source": "/b/private"}),
    ],
)
def test_a_key_for_publishing_does_nothing_but_put_objects(method: str, path: str, headers: dict[str, str]) -> None:
    assert code_of(signed(method, path, b"", PUBLISHER, "", **headers)) == "AccessDenied"
    assert code_of(signed("PUT", "/b/a", key=PUBLISHER)) == ""


def test_without_keys_every_key_is_accepted_and_the_rest_is_checked() -> None:
    none = AcceptedKeys()
    assert code_of(call(presigned(key=("any", "any"))), none) == ""
    assert code_of(call(f"http://{HOST}/b/a"), none) == "AccessDenied"
    assert code_of(call(presigned(method="PUT"), "PUT", {"x-amz-acl": "public-read"}), none) == "AccessDenied"
    assert code_of(call(presigned()), none, timedelta(hours=1)) == "AccessDenied"


def test_the_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "YURT_PUBLISH_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, name[:3])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.delenv("YURT_PUBLISH_SECRET_ACCESS_KEY", raising=False)
    assert AcceptedKeys.from_environment() == AcceptedKeys({"AWS": "s"}, {})
    assert "'s'" not in repr(AcceptedKeys.from_environment())
