"""The S3 of the local bucket: carries out requests with moto, and returns what each request changed.

moto is not safe for threads, and its conditional writes check first and write later. So one caller at a time uses it.
The changes are read from the object after the request, not from the request: a refused write changes nothing and is
never announced, a repeated multipart completion is announced once.
"""

from __future__ import annotations

import copy
import io
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import xmltodict  # type: ignore[import-untyped]
from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    Request,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.s3.models import FakeKey, S3Backend, s3_backends
from moto.s3.responses import S3Response
from werkzeug.exceptions import HTTPException

from infra.cors import CorsRule
from infra.local.exchange import BucketResponse, Call, RefusedError, error
from infra.local.kept import KeptObject, KeptObjects
from infra.local.payload import Change, EventName

_ACCOUNT = "123456789012"
_REGION = "us-east-1"
_SCOPE = re.compile(r"(Credential=[^/,]*/\d{8}/)[^/,]*(/)")
_QUERY = re.compile(r'^WHERE `Last-Modified` > "([^"]+)"$')
_MAX_PREVIOUS = 256
_MAX_DELETED_KEYS = 1_000


class _MotoRequest(Request):
    from_wsgi_server = True

    @property
    def want_form_data_parsed(self) -> bool:
        # An uploaded file may itself be called a form; only a browser's POST to the bucket is one.
        return self.method == "POST" and self.environ["yurt.form"]


@dataclass(frozen=True, slots=True)
class _Before:
    """A key's content before a request."""

    content: FakeKey | None
    size: int = 0
    etag: str = ""


class LocalStore:
    """Buckets in memory, and with ``kept`` on disk as well. Not safe for threads: one caller at a time."""

    def __init__(self, buckets: tuple[str, ...] = (), kept: KeptObjects | None = None) -> None:
        self._backend: S3Backend = s3_backends[_ACCOUNT]["aws"]
        self._previous: dict[tuple[str, str], FakeKey | None] = {}
        self._kept = kept
        for bucket in buckets:
            self._backend.create_bucket(bucket, _REGION)
        for stored, content in kept.load() if kept else ():
            self._restore(stored, content)

    def close(self) -> None:
        """Delete all buckets and objects."""
        for previous in self._previous.values():
            if previous is not None:
                previous.dispose()
        self._previous.clear()
        self._backend.reset()

    def holds(self, bucket: str) -> bool:
        """Whether there is such a bucket."""
        return bucket in self._backend.buckets

    def sizes(self, bucket: str) -> tuple[int, int]:
        """How many objects a bucket has, and their bytes."""
        keys = [key for key in self._backend.buckets[bucket].keys.values() if isinstance(key, FakeKey)]
        return len(keys), sum(key.size for key in keys)

    def cors_rules(self, call: Call) -> list[CorsRule]:
        """The CORS rules of the request's bucket; none where there is no such bucket."""
        if not self.holds(call.bucket):
            return []
        return [
            CorsRule(
                tuple(rule.allowed_origins),
                tuple(rule.allowed_methods),
                tuple(rule.allowed_headers or ()),
                tuple(rule.exposed_headers or ()),
                int(rule.max_age_seconds) if rule.max_age_seconds else None,
                rule.id_ or "",
            )
            for rule in self._backend.buckets[call.bucket].cors
        ]

    def answer(self, call: Call, *, keep_previous: bool = False) -> tuple[BucketResponse, list[Change]]:
        """Carry out a request: the response, and the changes in their order.

        With ``keep_previous``, the content that it overwrites stays readable through ``stale_answer``.
        """
        name, keys = _intended(call)
        before = {key: self._before(call.bucket, key) for key in keys}
        if keep_previous:
            self._keep(call.bucket, before)
        if self._kept and name and name is not EventName.DELETED:
            self._kept.check_room(call.size_bytes)
        answer = self._ask(call)
        if name is EventName.RENAME and answer.status == 200:
            self._remove_source(call)
            keys = [*keys, _copy_source(call)[1]]
        if self._kept and name:
            self._persist(self._kept, call.bucket, {key: before.get(key) for key in keys})
        return answer, [change for key in before if (change := self._change(name, call.bucket, key, before[key]))]

    def stale_answer(self, call: Call) -> BucketResponse:
        """Carry out a read as a replica that lags behind: it returns the content that was kept."""
        with self._rewound(call.bucket, call.key):
            return self._ask(call)

    def _ask(self, call: Call) -> BucketResponse:
        query = call.header("x-tigris-query") if call.is_listing else None
        if query is None or not self.holds(call.bucket):
            return self._answered(call)
        with self._written_since(call.bucket, _since(query)):
            return self._answered(call)

    def _has_versions(self, bucket: str) -> bool:
        """Whether the bucket names versions: it has had versioning switched on."""
        return self.holds(bucket) and self._backend.get_bucket_versioning(bucket) is not None

    def _answered(self, call: Call) -> BucketResponse:
        """The answer of moto. Without versioning, a bucket names none, and its one version is called ``null``.

        moto names it where parts are joined, and then refuses a HEAD for it.
        """
        if self._has_versions(call.bucket):
            return self._dispatched(call)
        answer = self._dispatched(_without_null_version(call))
        headers = {name: value for name, value in answer.headers.items() if name != "x-amz-version-id"}
        return replace(answer, headers=headers)

    def _dispatched(self, call: Call) -> BucketResponse:
        request = _MotoRequest(_environ(call))
        dispatch = S3Response.key_dispatch if call.key else S3Response.bucket_dispatch
        try:
            status, headers, body = dispatch(request, request.raw_url, dict(request.headers))
        except HTTPException as refused:
            return error(refused.code or 500, type(refused).__name__, str(refused.description))
        except NotImplementedError as missing:
            return error(501, "NotImplemented", str(missing))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return error(500, "InternalError", "The local bucket failed on this request; its log says more.")
        return _answer(call, int(status), headers, body)

    def _object(self, bucket: str, key: str) -> FakeKey | None:
        return self._backend.get_object(bucket, key) if self.holds(bucket) else None

    def _before(self, bucket: str, key: str) -> _Before:
        content = self._object(bucket, key)
        return _Before(content, content.size, content.etag.strip('"')) if content else _Before(None)

    def _change(self, name: EventName | None, bucket: str, key: str, before: _Before) -> Change | None:
        after = self._object(bucket, key)
        if name is None or after is before.content:
            return None
        if name is EventName.DELETED:
            return Change(name, bucket, key, before.size, before.etag, datetime.now(UTC)) if before.content else None
        if after is None:
            return None
        return Change(name, bucket, key, after.size, after.etag.strip('"'), after.last_modified.replace(tzinfo=UTC))

    def _remove_source(self, call: Call) -> None:
        # moto only copies.
        bucket, source = _copy_source(call)
        self._backend.delete_object(bucket, source)

    def _restore(self, stored: KeptObject, content: bytes) -> None:
        if not self.holds(stored.bucket):
            self._backend.create_bucket(stored.bucket, _REGION)
        key = self._backend.put_object(stored.bucket, stored.key, content, etag=stored.etag)
        key.set_metadata(dict(stored.headers))
        key.last_modified = stored.modified_at.replace(tzinfo=None)

    def _persist(self, kept: KeptObjects, bucket: str, before: Mapping[str, _Before | None]) -> None:
        """Write what a request changed to disk. Raises RefusedError where that fails: the request did then as well."""
        try:
            for key, earlier in before.items():
                content = self._object(bucket, key)
                if content is None:
                    kept.remove(bucket, key)
                elif earlier is None or content is not earlier.content:
                    kept.write(_described(bucket, content), content.value)
        except OSError as error:
            raise RefusedError(500, "InternalError", f"The object could not be kept: {error.strerror}.") from None

    def _keep(self, bucket: str, before: Mapping[str, _Before]) -> None:
        for key, earlier in before.items():
            if (bucket, key) not in self._previous and len(self._previous) < _MAX_PREVIOUS:
                self._previous[bucket, key] = copy.copy(earlier.content)

    @contextmanager
    def _written_since(self, bucket: str, since: datetime) -> Iterator[None]:
        """Hide the objects written until a time, for the ``with`` block."""
        keys = self._backend.buckets[bucket].keys
        hidden = {name: [*versions] for name, versions in dict.items(keys) if not _is_later(versions[-1], since)}
        for name in hidden:
            dict.pop(keys, name)  # the dictionary's own: moto's closes what it takes out
        try:
            yield
        finally:
            for name, versions in hidden.items():
                dict.__setitem__(keys, name, versions)

    @contextmanager
    def _rewound(self, bucket: str, key: str) -> Iterator[None]:
        if (bucket, key) not in self._previous or not self.holds(bucket):
            yield
            return
        keys, previous = self._backend.buckets[bucket].keys, self._previous[bucket, key]
        current = dict.pop(keys, key, None)  # the dictionary's own: moto's closes what it takes out
        if previous is not None:
            dict.__setitem__(keys, key, [previous])
        try:
            yield
        finally:
            dict.pop(keys, key, None)
            if current is not None:
                dict.__setitem__(keys, key, current)


def _described(bucket: str, content: FakeKey) -> KeptObject:
    modified = content.last_modified.replace(tzinfo=UTC).isoformat()
    headers = {str(name): str(value) for name, value in content.metadata.items()}
    return KeptObject(bucket, content.name, content.etag.strip('"'), modified, content.size, headers)


def _since(query: str) -> datetime:
    """The moment in ``WHERE `Last-Modified` > "…"``, the one query that the local bucket understands."""
    match = _QUERY.match(query)
    try:
        moment = datetime.fromisoformat(match[1]) if match else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RefusedError(400, "InvalidArgument", 'Understood is: WHERE `Last-Modified` > "2026-01-01T00:00:00Z".')
    return moment


def _is_later(content: object, since: datetime) -> bool:
    return isinstance(content, FakeKey) and content.last_modified.replace(tzinfo=UTC) > since


def _intended(call: Call) -> tuple[EventName | None, list[str]]:
    """The change that a successful request makes, and its keys. None: it changes no content."""
    if call.key:
        name = _intended_for_object(call)
        return name, [call.key] if name else []
    if not call.bucket or call.method != "POST":
        return None, []
    if "delete" in call.query:
        return EventName.DELETED, _deleted_keys(call)
    return EventName.POST, _form_keys(call)


def _intended_for_object(call: Call) -> EventName | None:
    match call.method:
        case "PUT":
            return _copy_or_rename(call) if call.header("x-amz-copy-source") else EventName.PUT
        case "POST":
            return EventName.MULTIPART if "uploadId" in call.query else None
        case "DELETE":
            return EventName.DELETED
        case _:
            return None


def _copy_or_rename(call: Call) -> EventName:
    if (call.header("x-tigris-rename") or "").lower() != "true":
        return EventName.COPY
    if _copy_source(call)[0] != call.bucket:
        raise RefusedError(400, "InvalidArgument", "A rename stays within its bucket.")
    return EventName.RENAME


def _copy_source(call: Call) -> tuple[str, str]:
    source = unquote((call.header("x-amz-copy-source") or "").partition("?")[0]).lstrip("/")
    bucket, _, key = source.partition("/")
    return bucket, key


def _deleted_keys(call: Call) -> list[str]:
    try:
        # Parsed as moto parses it, so that both find the same keys.
        named = xmltodict.parse(call.body.read(), strip_whitespace=False)["Delete"].get("Object", [])
        keys = [str(item["Key"]) for item in (named if isinstance(named, list) else [named])]
    except Exception:  # the parser has no error of its own for a document that lacks an element
        raise RefusedError(400, "MalformedXML", "The body is no list of objects to delete.") from None
    finally:
        call.body.seek(0)
    if len(keys) > _MAX_DELETED_KEYS:
        raise RefusedError(400, "MalformedXML", f"At most {_MAX_DELETED_KEYS} objects can be deleted at once.")
    return list(dict.fromkeys(keys))


def form_fields(call: Call) -> dict[str, str]:
    """The fields of a browser's form, without its file."""
    with _MotoRequest(_environ(call)) as request:  # closes the file's own temporary file
        fields = request.form.to_dict()
    call.body.seek(0)
    return fields


def _form_keys(call: Call) -> list[str]:
    with _MotoRequest(_environ(call)) as request:  # closes the file's own temporary file
        key, file = request.form.get("key"), request.files.get("file")
    call.body.seek(0)
    if not key:
        raise RefusedError(400, "InvalidArgument", "The form has no field called key.")
    return [key.replace("${filename}", (file.filename or "").rpartition("/")[2])] if file else [key]


def _without_null_version(call: Call) -> Call:
    """The request for whatever the key has."""
    parts = call.query_string.split("&")
    return replace(call, query_string="&".join(part for part in parts if part != "versionId=null"))


def _environ(call: Call) -> dict[str, Any]:
    """The request as a WSGI environment for moto. The path is encoded again, so that moto cannot find another key."""
    path = "/" + quote(call.bucket, safe="") + ("/" + quote(call.key, safe="/~") if call.key else "")
    uri = f"{path}?{call.query_string}" if call.query_string else path
    environ: dict[str, Any] = {
        "REQUEST_METHOD": call.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path).encode().decode("latin-1"),
        "QUERY_STRING": call.query_string,
        "RAW_URI": uri,
        "REQUEST_URI": uri,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": call.body,
        "wsgi.errors": io.StringIO(),
        "yurt.form": not call.key and "delete" not in call.query,
    }
    environ |= _header_environ(call)
    return environ | {"HTTP_HOST": "localhost", "CONTENT_LENGTH": str(call.size_bytes)}


def _header_environ(call: Call) -> dict[str, Any]:
    values: dict[str, str] = {}
    preserved: dict[str, str] = {}
    for name, value in call.headers:
        variable = environ_key_for_header(name)
        values[variable] = f"{values[variable]},{value}" if variable in values else value
        if should_preserve_original_header_name(name):
            preserved[variable] = name
    values.pop("HTTP_TRANSFER_ENCODING", None)  # the body was read whole
    values.pop("HTTP_X_MOTO_ACCOUNT_ID", None)
    # A region such as Tigris' "auto" means nothing to moto, and there is only one here.
    values["HTTP_AUTHORIZATION"] = _SCOPE.sub(rf"\g<1>{_REGION}\g<2>", values.get("HTTP_AUTHORIZATION", ""))
    return values | {PRESERVED_HEADER_NAMES_ENVIRON_KEY: preserved}


def _answer(call: Call, status: int, headers: Mapping[str, Any], body: str | bytes) -> BucketResponse:
    content = body.encode() if isinstance(body, str) else body
    # Of CORS, moto compares no method and no header; infra.local.cors does.
    kept = {n: str(value) for name, value in headers.items() if not (n := name.lower()).startswith("access-control-")}
    kept.pop("server", None)
    kept.pop("connection", None)
    if status in (204, 304):
        kept.pop("content-length", None)
        return BucketResponse(status, kept)
    if call.method == "HEAD":
        return BucketResponse(status, kept)
    return BucketResponse(status, kept | {"content-length": str(len(content))}, content)
