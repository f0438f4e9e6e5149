from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.tigris import (
    Basic,
    Bearer,
    CurrentNotifications,
    SetupError,
    TigrisEndpoint,
    apply,
    differences,
    key_filter,
    plan,
    read_back,
)
from tests.infra.local.running import running
from tests.infra.receiver import RecordingReceiver

URL = "https://example.com/v1/notifications/tigris"
SECRET = Bearer("s3cret-t0ken")


def store_at(endpoint: str) -> TigrisEndpoint:
    return TigrisEndpoint(endpoint, "auto", "tid_test", "tsec_test")


@dataclass
class ScriptedStore:
    """A store with given responses, which records its requests."""

    endpoint: str
    responses: list[tuple[int, bytes]]
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def scripted(*responses: tuple[int, bytes]) -> Iterator[ScriptedStore]:
    class TigrisHandler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            store.requests.append((self.command, self.path, headers, body))
            status, content = store.responses.pop(0) if len(store.responses) > 1 else store.responses[0]
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.do_PATCH()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), TigrisHandler)
    store = ScriptedStore(f"http://127.0.0.1:{server.server_port}", list(responses))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ── what would be sent ────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_what_tigris_takes() -> None:
    assert plan("photos-in", URL, key_filter(["uploads/"]), SECRET).settings() == {
        "object_notifications": {
            "enabled": True,
            "web_hook": URL,
            "filter": 'WHERE `key` REGEXP "^uploads/"',
            "auth": {"token": "s3cret-t0ken"},
        }
    }
    assert plan("photos-in", URL, "", Basic("u", "p")).settings()["object_notifications"]["auth"] == {
        "basic_user": "u",
        "basic_pass": "p",
    }
    assert "auth" not in plan("photos-in", URL).settings()["object_notifications"]


@pytest.mark.parametrize("secret", [SECRET, Basic("someone", "s3cret-t0ken")])
def test_a_plan_that_is_shown_has_no_secret_in_it(secret: Bearer | Basic) -> None:
    wanted = plan("photos-in", URL, "", secret)
    assert "s3cret" not in json.dumps(wanted.masked()) + repr(wanted)
    assert "********" in json.dumps(wanted.masked())


@pytest.mark.parametrize(
    ("bucket", "url", "reason"),
    [
        ("Photos", URL, "bucket name"),
        ("photos/../x", URL, "bucket name"),
        ("photos", "example.com", "http"),
        ("photos", "ftp://example.com", "http"),
        ("photos", "https://user:pass@example.com/", "credentials"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(bucket: str, url: str, reason: str) -> None:
    with pytest.raises(SetupError, match=reason):
        plan(bucket, url)


PREFIXES = ["uploads/", "a.b", "a+b (c)", "[x]{2}|$", 'q"\\^`/', "naïve/😀", "tab\there"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_filter_lets_its_prefix_through_without_a_backslash_or_a_loose_quote(prefix: str) -> None:
    expression = key_filter([prefix])
    match = re.fullmatch(r'WHERE `key` REGEXP "([^"\\]*)"', expression)
    assert match is not None
    assert re.search(match[1], prefix + "photo.jpg")
    assert not re.search(match[1], "other/" + prefix)
    assert not re.search(match[1], prefix[:-1] + "A")


def test_a_dot_in_a_prefix_is_a_dot() -> None:
    assert key_filter(["a.b/"]) == 'WHERE `key` REGEXP "^a[.]b/"'


def test_several_prefixes_are_one_filter_and_an_empty_one_is_none() -> None:
    assert key_filter(["raw/", "uploads/", "raw/"]) == 'WHERE `key` REGEXP "^(raw/|uploads/)"'
    assert key_filter(["raw/", ""]) == ""
    assert key_filter([]) == ""


# ── against the local bucket ──────────────────────────────────────────────────────────────────────────────────


def test_setting_up_makes_the_bucket_announce(receiver: RecordingReceiver) -> None:
    with running("--bucket", "photos-in") as local:
        store = store_at(local.endpoint)
        assert read_back("photos-in", store) is None
        wanted = plan("photos-in", receiver.url, key_filter(["up.loads/"]), SECRET)
        apply(wanted, store)
        current = read_back("photos-in", store)
        assert current == CurrentNotifications(True, receiver.url, 'WHERE `key` REGEXP "^up[.]loads/"', "bearer")
        assert differences(wanted, current) == []
        s3 = local.s3()
        for key in ("up.loads/a", "upxloads/b"):
            s3.put_object(Bucket="photos-in", Key=key, Body=b"hello")
        local.flush()
        assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "up.loads/a")]
        assert receiver.posts[0].headers["authorization"] == "Bearer s3cret-t0ken"
        with pytest.raises(SetupError, match="no bucket photos-out"):
            read_back("photos-out", store)
        with pytest.raises(SetupError, match="REGEXP"):
            apply(plan("photos-in", receiver.url, "WHERE `Content-Length` > 0"), store)


def test_each_difference_to_the_plan_is_named() -> None:
    wanted = plan("photos-in", URL, "", SECRET)
    assert differences(wanted, None) == ["the bucket has no notifications"]
    others = differences(wanted, CurrentNotifications(False, URL, "WHERE …", "basic"))
    assert [sentence.split()[0] for sentence in others] == ["enabled", "filter", "auth"]


# ── against stores that refuse ────────────────────────────────────────────────────────────────────────────────


def test_the_request_is_signed_json_for_this_path() -> None:
    with scripted((200, b'{"status": "success"}')) as fake:
        apply(plan("photos-in", URL, "", SECRET), store_at(fake.endpoint))
    ((method, path, headers, body),) = fake.requests
    assert (method, path, headers["content-type"]) == ("PATCH", "/photos-in", "application/json")
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=tid_test/")
    assert "/auto/s3/aws4_request" in headers["authorization"]
    assert json.loads(body) == plan("photos-in", URL, "", SECRET).settings()


@pytest.mark.parametrize(
    ("status", "content", "advice"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>", "access key that may administer"),
        (401, b"", "access key that may administer"),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", "make it first"),
        (405, b"<Error><Code>MethodNotAllowed</Code></Error>", "does not answer as Tigris"),
        (501, b"", "does not answer as Tigris"),
        (301, b"", "does not answer as Tigris"),
        (400, b'{"status": "error", "message": "bad webhook s3cret-t0ken"}', "bad webhook"),
        (200, b'{"status": "error", "message": "bad webhook"}', "bad webhook"),
        (418, b"[" * 100_000, "no reason given"),
    ],
)
def test_a_refusal_says_what_to_do_and_no_secret(status: int, content: bytes, advice: str) -> None:
    with scripted((status, content)) as fake, pytest.raises(SetupError, match=advice) as refused:
        apply(plan("photos-in", URL, "", SECRET), store_at(fake.endpoint))
    assert "s3cret" not in str(refused.value)
    assert "tsec_test" not in str(refused.value)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("content", [b"<ListBucketResult/>", b"[]", b"{}", b'{"name": "another"}', b"x" * 1_100_000])
def test_a_store_that_is_no_tigris_is_recognised_when_reading_back(content: bytes) -> None:
    with scripted((200, content)) as fake, pytest.raises(SetupError, match="does not answer as Tigris"):
        read_back("photos-in", store_at(fake.endpoint))


def test_an_overloaded_store_is_asked_again() -> None:
    with scripted((503, b""), (429, b""), (200, b'{"status": "success"}')) as fake:
        apply(plan("photos-in", URL), store_at(fake.endpoint))
    assert len(fake.requests) == 3
    with scripted((503, b"")) as fake, pytest.raises(SetupError, match="503 3 times: try again later"):
        apply(plan("photos-in", URL), store_at(fake.endpoint))


def test_a_store_that_is_not_there_is_named() -> None:
    with scripted((200, b"")) as fake:
        pass
    with pytest.raises(
        SetupError, match=r"cannot be reached \(the connection is refused.*\): check AWS_ENDPOINT_URL_S3"
    ):
        read_back("photos-in", store_at(fake.endpoint))
