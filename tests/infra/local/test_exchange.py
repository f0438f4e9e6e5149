from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from infra.local.exchange import Call, RefusedError, call_of, error, header_lines, located

SIGNED_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def call(query: str = "", method: str = "GET", path: str = "/photos-in/a%20b.jpg") -> Call:
    scope = {
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"x-yurt-region", b"far"), (b"x-yurt-region", b"near")],
    }
    return call_of(scope, io.BytesIO(b"body"), 4)


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [("/", "", ""), ("/photos-in", "photos-in", ""), ("/photos-in/", "photos-in", ""), ("/b/a//c%2Fd", "b", "a//c/d")],
)
def test_a_path_holds_bucket_and_key(path: str, bucket: str, key: str) -> None:
    assert located(path) == (bucket, key)


@pytest.mark.parametrize(("path", "code"), [("/b/%ff", "InvalidURI"), (f"/b/{'a' * 1025}", "KeyTooLongError")])
def test_a_key_that_s3_refuses(path: str, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        located(path)
    assert (refused.value.status, refused.value.code) == (400, code)


def test_a_call_decodes_key_and_query_and_finds_a_headers_first_value() -> None:
    request = call("prefix=a%2Fb&metadata")
    assert (request.bucket, request.key) == ("photos-in", "a b.jpg")
    assert request.query == {"prefix": ["a/b"], "metadata": [""]}
    assert (request.header("x-yurt-region"), request.header("range")) == ("far", None)


def test_only_a_get_of_a_bucket_with_list_type_is_a_listing() -> None:
    assert call("list-type=2", path="/photos-in").is_listing
    assert not call("list-type=2").is_listing
    assert not call("list-type=2", method="PUT", path="/photos-in").is_listing
    assert not call("", path="/photos-in").is_listing


def test_an_error_is_the_xml_of_s3_with_its_text_escaped() -> None:
    response = error(404, "NoSuchKey", "<a> & b")
    assert (response.status, response.headers["content-type"]) == (404, "application/xml")
    assert b"<Code>NoSuchKey</Code><Message>&lt;a&gt; &amp; b</Message>" in response.body


def test_header_lines_are_lower_case_latin_1() -> None:
    assert [*header_lines({"ETag": '"1"', "x-amz-meta-a": "é☃"})] == [(b"etag", b'"1"'), (b"x-amz-meta-a", b"\xe9?")]
