"""What moto did is what is announced: the store alone, without HTTP."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from infra.local.exchange import BucketResponse, Call, RefusedError, located
from infra.local.payload import Change, EventName
from infra.local.store import LocalStore

BUCKET = "photos-in"


@pytest.fixture
def store() -> Iterator[LocalStore]:
    local_store = LocalStore((BUCKET, "photos-out"))
    try:
        yield local_store
    finally:
        local_store.close()


def call(method: str, path: str, body: bytes = b"", **headers: str) -> Call:
    raw_path, _, query_string = path.partition("?")
    bucket, key = located(raw_path)
    named = [(name.replace("_", "-").lower(), value) for name, value in headers.items()]
    signed = ("authorization", "AWS4-HMAC-SHA256 Credential=tid/20260101/auto/s3/aws4_request, Signature=0")
    return Call(method, raw_path, query_string, (signed, *named), bucket, key, io.BytesIO(body), len(body))


def ask(
    store: LocalStore, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[BucketResponse, list[Change]]:
    return store.answer(call(method, path, body, **headers))


def put(store: LocalStore, key: str, body: bytes = b"content") -> Change:
    (change,) = ask(store, "PUT", f"/{BUCKET}/{key}", body)[1]
    return change


def test_a_put_is_announced_with_what_the_store_has(store: LocalStore) -> None:
    before = datetime.now(UTC)
    change = put(store, "a", b"hello")
    assert (change.name, change.bucket, change.key, change.size) == (EventName.PUT, BUCKET, "a", 5)
    assert change.etag == hashlib.md5(b"hello").hexdigest()
    assert before - timedelta(seconds=1) <= change.modified <= datetime.now(UTC)


def test_the_same_content_written_again_is_announced_again(store: LocalStore) -> None:
    assert put(store, "a").etag == put(store, "a").etag


@pytest.mark.parametrize(("header", "value"), [("if_none_match", "*"), ("if_match", '"something else"')])
def test_a_put_refused_by_its_condition_announces_nothing(store: LocalStore, header: str, value: str) -> None:
    put(store, "a", b"first")
    answer, changes = store.answer(call("PUT", f"/{BUCKET}/a", b"second", **{header: value}))
    assert (answer.status, changes) == (412, [])
    assert ask(store, "GET", f"/{BUCKET}/a")[0].body == b"first"


def test_a_put_allowed_by_its_condition_is_announced(store: LocalStore) -> None:
    assert len(ask(store, "PUT", f"/{BUCKET}/a", b"1", if_none_match="*")[1]) == 1
    etag = put(store, "a").etag
    assert len(ask(store, "PUT", f"/{BUCKET}/a", b"2", if_match=f'"{etag}"')[1]) == 1


@pytest.mark.parametrize(
    "path",
    ["/nowhere/a", f"/{BUCKET}/a?tagging", f"/{BUCKET}/a?acl", f"/{BUCKET}/a?uploadId=x&partNumber=1"],
)
def test_what_changes_no_content_announces_nothing(store: LocalStore, path: str) -> None:
    put(store, "a")
    tags = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
    assert ask(store, "PUT", path, tags, x_amz_acl="private")[1] == []


def test_reading_announces_nothing(store: LocalStore) -> None:
    put(store, "a")
    for method, path in (("GET", "/a"), ("HEAD", "/a"), ("GET", ""), ("GET", "?list-type=2"), ("OPTIONS", "/a")):
        assert ask(store, method, f"/{BUCKET}{path}")[1] == []


def test_a_copy_is_announced_under_its_new_key(store: LocalStore) -> None:
    put(store, "a", b"hello")
    (copy,) = ask(store, "PUT", "/photos-out/b", x_amz_copy_source=f"/{BUCKET}/a")[1]
    assert (copy.name, copy.bucket, copy.key, copy.size) == (EventName.COPY, "photos-out", "b", 5)
    assert ask(store, "GET", f"/{BUCKET}/a")[0].status == 200


def test_a_copy_of_nothing_announces_nothing(store: LocalStore) -> None:
    answer, changes = ask(store, "PUT", f"/{BUCKET}/b", x_amz_copy_source=f"/{BUCKET}/missing")
    assert (answer.status, changes) == (404, [])


def test_a_rename_is_one_event_and_leaves_nothing_behind(store: LocalStore) -> None:
    put(store, "old%20name", b"hello")
    source = f"/{BUCKET}/old%20name"
    (renamed,) = ask(store, "PUT", f"/{BUCKET}/new", x_amz_copy_source=source, x_tigris_rename="true")[1]
    assert (renamed.name, renamed.key, renamed.size) == (EventName.RENAME, "new", 5)
    assert ask(store, "GET", f"/{BUCKET}/new")[0].body == b"hello"
    assert ask(store, "GET", f"/{BUCKET}/old%20name")[0].status == 404


def test_a_rename_stays_in_its_bucket(store: LocalStore) -> None:
    put(store, "a")
    with pytest.raises(RefusedError, match="within its bucket"):
        ask(store, "PUT", "/photos-out/a", x_amz_copy_source=f"/{BUCKET}/a", x_tigris_rename="true")
    assert ask(store, "GET", f"/{BUCKET}/a")[0].status == 200


def test_a_deletion_is_announced_with_what_was_deleted(store: LocalStore) -> None:
    was = put(store, "a", b"hello")
    answer, (gone,) = ask(store, "DELETE", f"/{BUCKET}/a")
    assert answer.status == 204
    assert (gone.name, gone.key, gone.size, gone.etag) == (EventName.DELETED, "a", 5, was.etag)
    assert gone.modified >= was.modified


def test_deleting_nothing_announces_nothing(store: LocalStore) -> None:
    answer, changes = ask(store, "DELETE", f"/{BUCKET}/missing")
    assert (answer.status, changes) == (204, [])


def test_many_deletions_are_announced_in_their_order_where_there_was_something(store: LocalStore) -> None:
    for key in ("a", "b", "c&amp;d".replace("&amp;", "%26")):
        put(store, key)
    keys = ("c&amp;d", "missing", "a", "a")
    body = "<Delete>" + "".join(f"<Object><Key>{key}</Key></Object>" for key in keys) + "</Delete>"
    answer, changes = ask(store, "POST", f"/{BUCKET}?delete", body.encode())
    assert answer.status == 200
    assert [(change.name, change.key) for change in changes] == [(EventName.DELETED, "c&d"), (EventName.DELETED, "a")]
    assert ask(store, "GET", f"/{BUCKET}/b")[0].status == 200


@pytest.mark.parametrize("body", [b"", b"no xml", b"<Delete/>", b"<Delete><Object/></Delete>", b"<!DOCTYPE x"])
def test_a_malformed_list_of_deletions_is_refused(store: LocalStore, body: bytes) -> None:
    with pytest.raises(RefusedError, match="no list of objects"):
        ask(store, "POST", f"/{BUCKET}?delete", body)


def test_too_many_deletions_are_refused(store: LocalStore) -> None:
    body = "".join(f"<Object><Key>{number}</Key></Object>" for number in range(1001))
    with pytest.raises(RefusedError, match="At most 1000"):
        ask(store, "POST", f"/{BUCKET}?delete", f"<Delete>{body}</Delete>".encode())


def test_a_browsers_form_is_announced_as_a_post(store: LocalStore) -> None:
    parts = {"key": b"up/${filename}", 'file"; filename="na me.jpg': b"bytes"}
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts.items()
    )
    form = "multipart/form-data; boundary=x"
    answer, (change,) = ask(store, "POST", f"/{BUCKET}", body + b"--x--\r\n", content_type=form)
    assert answer.status == 204
    assert (change.name, change.key, change.size) == (EventName.POST, "up/na me.jpg", 5)
    with pytest.raises(RefusedError, match="no field called key"):
        ask(store, "POST", f"/{BUCKET}", b"--x--\r\n", content_type=form)


def test_a_file_that_calls_itself_a_form_is_stored_as_it_is(store: LocalStore) -> None:
    form = "application/x-www-form-urlencoded"
    ask(store, "PUT", f"/{BUCKET}/a", b"key=value&b=c", content_type=form)
    answer, _ = ask(store, "GET", f"/{BUCKET}/a")
    assert (answer.body, answer.headers["content-type"]) == (b"key=value&b=c", form)


def test_in_a_versioned_bucket_a_deletion_marker_deletes_and_an_old_version_does_not(store: LocalStore) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    ask(store, "PUT", f"/{BUCKET}?versioning", enabled)
    first, _ = ask(store, "PUT", f"/{BUCKET}/a", b"1")
    put(store, "a", b"22")
    version = first.headers["x-amz-version-id"]
    assert ask(store, "DELETE", f"/{BUCKET}/a?versionId={version}")[1] == []
    (gone,) = ask(store, "DELETE", f"/{BUCKET}/a")[1]
    assert (gone.name, gone.size) == (EventName.DELETED, 2)


KEYS = [
    "a b+c%/😀.jpg",
    "x//y",
    "/lead",
    "trail/",
    "a;b=c?d#e",
    ".",
    "..",
    "a/../b",
    "q\"'<&>`",
    "naïve",
    "%41",
    "a&b=c",
    "~",
]


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_announced_as_they_are_listed(store: LocalStore, key: str) -> None:
    path = f"/{BUCKET}/{quote(key, safe='/')}"
    (change,) = ask(store, "PUT", path, b"hello")[1]
    assert change.key == key
    assert ask(store, "GET", path)[0].body == b"hello"
    assert store.sizes(BUCKET) == (1, 5)


def test_a_key_that_is_no_utf_8_or_too_long_is_refused() -> None:
    with pytest.raises(RefusedError, match="UTF-8"):
        located(f"/{BUCKET}/%ff")
    assert located(f"/{BUCKET}/{'é' * 512}")[1] == "é" * 512
    with pytest.raises(RefusedError, match="1024 bytes"):
        located(f"/{BUCKET}/{'é' * 512}a")


def test_what_the_store_cannot_do_is_an_answer_too(store: LocalStore, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(store, "PATCH", f"/{BUCKET}/a")[0].status == 501
    put(store, "a")
    assert ask(store, "POST", f"/{BUCKET}/a?restore", b"<")[0].status == 500
    assert "Traceback" in capfd.readouterr().err
    put(store, "a")


def test_a_stale_answer_is_what_was_before_the_first_overwrite(store: LocalStore) -> None:
    first = put(store, "a", b"first")
    for content in (b"second", b"third"):
        _, (last,) = store.answer(call("PUT", f"/{BUCKET}/a", content), keep_previous=True)
    stale = store.stale_answer(call("GET", f"/{BUCKET}/a"))
    assert (stale.body, stale.headers["etag"]) == (b"first", f'"{first.etag}"')
    assert store.stale_answer(call("GET", f"/{BUCKET}/a", if_none_match=f'"{first.etag}"')).status == 304
    now = ask(store, "GET", f"/{BUCKET}/a")[0]
    assert (now.body, now.headers["etag"]) == (b"third", f'"{last.etag}"')


def test_a_stale_answer_about_a_new_or_a_deleted_object(store: LocalStore) -> None:
    store.answer(call("PUT", f"/{BUCKET}/new", b"new"), keep_previous=True)
    assert store.stale_answer(call("GET", f"/{BUCKET}/new")).status == 404
    put(store, "gone", b"still here")
    store.answer(call("DELETE", f"/{BUCKET}/gone"), keep_previous=True)
    assert store.stale_answer(call("GET", f"/{BUCKET}/gone")).body == b"still here"
    assert ask(store, "GET", f"/{BUCKET}/gone")[0].status == 404
    assert ask(store, "GET", f"/{BUCKET}/new")[0].body == b"new"


def test_a_listing_may_ask_for_what_was_written_since(store: LocalStore) -> None:
    put(store, "a")
    since = [datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)]
    queries = [f'WHERE `Last-Modified` > "{moment:%Y-%m-%dT%H:%M:%SZ}"' for moment in since]
    shown = [ask(store, "GET", f"/{BUCKET}?list-type=2", x_tigris_query=query)[0].body for query in queries]
    assert [b"<Key>a</Key>" in body for body in shown] == [True, False]
    assert ask(store, "GET", f"/{BUCKET}/a")[0].body == b"content", "it is hidden from that listing only"


@pytest.mark.parametrize(
    "query", ["", "WHERE `key` = 'a'", 'WHERE `Last-Modified` > "x"', 'WHERE `Last-Modified` > "2026-01-01"']
)
def test_a_query_that_is_not_understood_is_refused(store: LocalStore, query: str) -> None:
    with pytest.raises(RefusedError, match="Understood is"):
        store.answer(call("GET", f"/{BUCKET}?list-type=2", x_tigris_query=query))
