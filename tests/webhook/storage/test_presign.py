"""Presigned URLs: the same signatures as botocore's, and a real store understands them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import botocore.auth
import httpx
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.buckets import BucketPair
from webhook.storage import presign
from webhook.storage.presign import MAX_EXPIRES_SECONDS, Presigner, SigningKeys

MOMENT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
KEYS = SigningKeys("tid_test", "tsec_test")
PLAIN = Presigner("http://127.0.0.1:9000", "auto", KEYS)
HOSTED = Presigner("https://t3.storage.dev", "auto", KEYS)

NASTY = [
    "plain.jpg",
    "with space.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%41%2F%zz.jpg",
    "~tilde~.jpg",
    "a//b///c.jpg",
    "/leading.jpg",
    "trailing/.jpg",
    "quote'\"quote.jpg",
    "question?mark=1&x#frag.jpg",
    "semi;colon:at@comma,eq=.jpg",
    "(round)[square]{curly}<angle>.jpg",
    "back\\slash|pipe^caret`tick.jpg",
    "ünïcödé.jpg",
    "e\u0301 decomposed.jpg",
    "漢字/日本.jpg",
    "😀/👩‍👩‍👧.jpg",
    "\u202ertl.jpg",
    "\ufeffbom.jpg",
    "...jpg",
    "a/.hidden",
    "a..b/..c",
    "k" * 1024,
]


class _Frozen(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return MOMENT


@contextmanager
def frozen() -> Iterator[None]:
    """Both clocks stand."""
    with (
        mock.patch.object(presign, "datetime", _Frozen),
        mock.patch.object(botocore.auth, "get_current_datetime", return_value=MOMENT.replace(tzinfo=None)),
    ):
        yield


@dataclass(frozen=True)
class Asked:
    """What a URL is asked for."""

    method: str
    bucket: str
    key: str
    expires_seconds: int
    headers: dict[str, str]


def ours(presigner: Presigner, asked: Asked) -> str:
    return presigner.url(
        asked.method, asked.bucket, asked.key, expires_seconds=asked.expires_seconds, headers=asked.headers
    )


def botocores(presigner: Presigner, asked: Asked, origin: str) -> str:
    """The same URL, signed by botocore."""
    credentials = presigner.credentials
    request = AWSRequest(
        asked.method, f"{origin}/{quote(asked.key, safe='/~')}", headers={**asked.headers}, auth_path=None
    )
    signer = S3SigV4QueryAuth(
        BotoCredentials(credentials.access_key, credentials.secret_key, credentials.session_token),
        "s3",
        presigner.region,
        expires=asked.expires_seconds,
    )
    signer.add_auth(request)
    return str(request.url)


def parts(url: str) -> tuple[str, dict[str, str]]:
    """All but the query, and the query in any order."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}{split.path}", dict(parse_qsl(split.query, strict_parsing=True))


def assert_equal(presigner: Presigner, asked: Asked, origin: str) -> None:
    with frozen():
        assert parts(ours(presigner, asked)) == parts(botocores(presigner, asked, origin))


STYLES = {
    "http://127.0.0.1:9000": "http://127.0.0.1:9000/photos-in",
    "http://localhost:9000": "http://localhost:9000/photos-in",
    "http://minio:9000": "http://minio:9000/photos-in",
    "http://[::1]:9000": "http://[::1]:9000/photos-in",
    "http://s3.localhost:9000": "http://s3.localhost:9000/photos-in",
    "http://minio.store.svc.cluster.local:9000": "http://minio.store.svc.cluster.local:9000/photos-in",
    "http://store:80": "http://store/photos-in",
    "https://Store:443/": "https://store/photos-in",
    "https://store.example.com/storage/v1/s3": "https://store.example.com/storage/v1/s3/photos-in",
    "https://t3.storage.dev": "https://photos-in.t3.storage.dev",
    "https://s3.eu-central-1.amazonaws.com": "https://photos-in.s3.eu-central-1.amazonaws.com",
}


@pytest.mark.parametrize("endpoint", STYLES)
@pytest.mark.parametrize("token", [None, "session/token+with=signs"])
def test_signatures_are_botocores_for_each_style_of_address(endpoint: str, token: str | None) -> None:
    presigner = Presigner(endpoint, "eu-central-1", SigningKeys("AKID", "secret", token))
    for method in ("GET", "PUT"):
        assert_equal(presigner, Asked(method, "photos-in", "a b.jpg", 600, {}), STYLES[endpoint])


@pytest.mark.parametrize("key", NASTY)
def test_signatures_are_botocores_for_nasty_keys(key: str) -> None:
    assert_equal(HOSTED, Asked("GET", "photos-in", key, 600, {}), "https://photos-in.t3.storage.dev")
    assert_equal(PLAIN, Asked("GET", "photos-in", key, 600, {}), "http://127.0.0.1:9000/photos-in")


keys = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(" +%~/?#&=;:@!$'()*,"), min_size=1, max_size=60
)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126) | st.just(" "), min_size=1, max_size=40)
names = st.sampled_from(
    ["content-type", "cache-control", "if-match", "if-none-match", "x-amz-meta-yurt-token", "x-amz-meta-a", "range"]
)


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    key=keys,
    expires_seconds=st.integers(1, MAX_EXPIRES_SECONDS),
    headers=st.dictionaries(names, values),
    token=st.none() | values,
)
def test_signatures_are_botocores_for_any_key_and_headers(
    method: str, key: str, expires_seconds: int, headers: dict[str, str], token: str | None
) -> None:
    presigner = Presigner("https://t3.storage.dev", "auto", SigningKeys("tid", "tsec", token))
    asked = Asked(method, "photos-in", key, expires_seconds, headers)
    assert_equal(presigner, asked, "https://photos-in.t3.storage.dev")


@given(key=keys)
def test_an_address_says_the_key_and_nothing_else(key: str) -> None:
    origin, path = PLAIN.address("photos-in", key)
    assert urlsplit(origin + path)[2:] == (path, "", "")
    assert unquote(path) == f"/photos-in/{key}"


def test_the_signing_key_of_yesterday_is_not_used_today() -> None:
    asked = Asked("GET", "photos-in", "a.jpg", 60, {})
    with frozen():
        first = ours(HOSTED, asked)
    later = MOMENT.replace(day=4)
    with frozen(), mock.patch.object(_Frozen, "now", return_value=later):
        second = ours(HOSTED, asked)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=later.replace(tzinfo=None)):
        assert parts(second) == parts(botocores(HOSTED, asked, "https://photos-in.t3.storage.dev"))
    assert parts(first) != parts(second)


@pytest.mark.parametrize("seconds", [0, -1, MAX_EXPIRES_SECONDS + 1])
def test_a_url_lives_for_a_second_to_a_week(seconds: int) -> None:
    with pytest.raises(ValueError, match=f"not {seconds}"):
        PLAIN.url("GET", "photos-in", "a.jpg", expires_seconds=seconds)


def test_buckets_with_dots_have_no_host_of_their_own() -> None:
    assert HOSTED.address("photos.example.com", "a") == (
        "https://t3.storage.dev",
        "/photos.example.com/a",
    )


def test_neither_secret_nor_token_is_shown() -> None:
    shown = repr(Presigner("https://t3.storage.dev", "auto", SigningKeys("tid", "tsec_secret", "session_token")))
    assert "tsec_secret" not in shown
    assert "session_token" not in shown


def test_objects_with_nasty_keys_are_fetched_through_their_urls(store: LocalStore) -> None:
    """With the HTTP client that workers use."""
    buckets = BucketPair.made(store)
    presigner = Presigner(store.endpoint, "auto", KEYS)
    with httpx.Client() as http:
        for key in NASTY:
            put = presigner.url("PUT", buckets.inputs, key, expires_seconds=60)
            assert http.put(put, content=key.encode()).status_code == 200, key
        assert {item["Key"] for item in buckets.s3.list_objects_v2(Bucket=buckets.inputs)["Contents"]} == set(NASTY)
        for key in NASTY:
            get = presigner.url("GET", buckets.inputs, key, expires_seconds=60)
            assert http.get(get).content == key.encode(), key
