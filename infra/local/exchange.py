"""An S3 request to the local bucket, and the response to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

MAX_KEY_BYTES = 1_024


class RefusedError(Exception):
    """The request is answered with an S3 error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class BucketResponse:
    """Status, headers and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Call:
    """An S3 request. Only path-style addressing: ``/{bucket}/{key}``."""

    method: str
    raw_path: str
    """As on the wire, percent-encoded, without the query."""
    query_string: str
    """As on the wire."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    bucket: str
    key: str
    body: IO[bytes]
    size_bytes: int

    @property
    def query(self) -> dict[str, list[str]]:
        """The decoded query."""
        return parse_qs(self.query_string, keep_blank_values=True, max_num_fields=1_000)

    @property
    def is_form(self) -> bool:
        """Whether it is an upload by a browser's form, which is signed in a field."""
        kind = self.header("content-type") or ""
        return self.method == "POST" and not self.key and kind.startswith("multipart/form-data")

    @property
    def is_listing(self) -> bool:
        """Whether the request lists a bucket's objects."""
        return self.method == "GET" and bool(self.bucket) and not self.key and "list-type" in self.query

    def header(self, name: str) -> str | None:
        """The first value of a header; None: it was not sent."""
        return next((value for given, value in self.headers if given == name), None)


def located(raw_path: str) -> tuple[str, str]:
    """Bucket and key of a path. Either is empty where the path does not name it.

    Raises:
        RefusedError: the path is not UTF-8, or the key is too long.
    """
    bucket, _, key = raw_path.removeprefix("/").partition("/")
    try:
        bucket, key = unquote(bucket, errors="strict"), unquote(key, errors="strict")
    except UnicodeDecodeError:
        raise RefusedError(400, "InvalidURI", "The path is not percent-encoded UTF-8.") from None
    if len(key.encode()) > MAX_KEY_BYTES:
        raise RefusedError(400, "KeyTooLongError", f"The key is longer than {MAX_KEY_BYTES} bytes.")
    return bucket, key


def call_of(scope: Mapping[str, Any], body: IO[bytes], size_bytes: int) -> Call:
    """The request of an ASGI scope. Raises RefusedError."""
    raw_path = scope["raw_path"].decode("latin-1")
    bucket, key = located(raw_path)
    return Call(
        method=scope["method"],
        raw_path=raw_path,
        query_string=scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
        bucket=bucket,
        key=key,
        body=body,
        size_bytes=size_bytes,
    )


def error(status: int, code: str, message: str) -> BucketResponse:
    """An error in the XML of S3."""
    body = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    return BucketResponse(
        status, {"content-type": "application/xml"}, f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()
    )


EMPTY_LISTING = BucketResponse(
    200,
    {"content-type": "application/xml"},
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>",
)
"""A listing without objects, and without a next page."""


def json_answer(content: object, status: int = 200) -> BucketResponse:
    """A response in JSON."""
    return BucketResponse(status, {"content-type": "application/json"}, json.dumps(content).encode())


def header_lines(headers: Mapping[str, str]) -> Iterable[tuple[bytes, bytes]]:
    """Headers in the form of ASGI."""
    return ((name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items())
