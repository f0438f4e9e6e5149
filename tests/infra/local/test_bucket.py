"""The bucket over HTTP, as boto3 and a presigned URL see it, and what its webhook hears."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from types_boto3_s3.client import S3Client

from infra.local.bucket import LocalBucket
from infra.local.exchange import BucketResponse, Call
from infra.local.hub import NotificationHub
from infra.local.options import Disorder, Posting
from infra.local.payload import Change
from infra.local.store import LocalStore
from tests.infra.local.running import RunningBucket, running
from tests.infra.receiver import RecordingReceiver
from webhook.storage.presign import Presigner, SigningKeys

MIB = 1024 * 1024


def status_of(error: pytest.ExceptionInfo[ClientError]) -> int:
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_every_way_to_change_an_object_is_announced(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    form = s3.generate_presigned_post(bucket, "c")
    assert local.http.post(form["url"], data=form["fields"], files={"file": b"hello"}).status_code == 204
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "missing"}, {"Key": "c"}]})
    local.flush()
    assert receiver.names_and_keys == [
        ("OBJECT_CREATED_PUT", "a"),
        ("OBJECT_CREATED_COPY", "b"),
        ("OBJECT_CREATED_POST", "c"),
        ("OBJECT_DELETED", "a"),
        ("OBJECT_DELETED", "b"),
        ("OBJECT_DELETED", "c"),
    ]


def test_an_announcement_agrees_with_what_the_bucket_answers(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    s3.put_object(Bucket=bucket, Key="a b+c%20d/😀.jpg", Body=b"hello")
    head = s3.head_object(Bucket=bucket, Key="a b+c%20d/😀.jpg")
    local.flush()
    (event,) = receiver.events
    assert event["bucket"] == bucket
    described = event["object"]
    assert (described["key"], described["size"]) == ("a b+c%20d/😀.jpg", 5)
    assert f'"{described["eTag"]}"' == head["ETag"]
    assert described["lastModified"][:19] == head["LastModified"].isoformat()[:19]


def test_a_multipart_upload_is_announced_once_with_its_final_etag(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    content = bytes(range(256)) * (6 * MIB // 256)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_fileobj(io.BytesIO(content), bucket, "large", Config=parts)
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_MULTIPART", "large")]
    etag = s3.head_object(Bucket=bucket, Key="large")["ETag"].strip('"')
    assert etag.endswith("-2")
    assert (receiver.events[0]["object"]["eTag"], receiver.events[0]["object"]["size"]) == (etag, len(content))
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == content


def test_a_bucket_without_versions_names_none_and_calls_its_one_version_null(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    """rclone asks by HEAD for the version that the answer to its upload in parts named."""
    bucket = local.new_bucket(s3, receiver.url)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    joined = s3.complete_multipart_upload(
        Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]}
    )
    assert not joined.get("VersionId")
    head = s3.head_object(Bucket=bucket, Key="large", VersionId="null")
    assert (head["ETag"], "VersionId" in head) == (joined["ETag"], False)
    got = s3.get_object(Bucket=bucket, Key="large", VersionId="null")
    assert (got["Body"].read(), "VersionId" in got) == (b"part", False)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large", "VersionId": "null"})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"part"
    s3.delete_object(Bucket=bucket, Key="large", VersionId="null")
    for ask in (s3.head_object, s3.get_object):
        with pytest.raises(ClientError) as absent:
            ask(Bucket=bucket, Key="large", VersionId="null")
        assert status_of(absent) == 404


def test_a_bucket_with_versions_names_them(local: RunningBucket, s3: S3Client, receiver: RecordingReceiver) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    s3.put_object(Bucket=bucket, Key="a", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    newer = s3.put_object(Bucket=bucket, Key="a", Body=b"newer")["VersionId"]
    assert s3.head_object(Bucket=bucket, Key="a")["VersionId"] == newer
    for version, content in (("null", b"before"), (newer, b"newer")):
        assert s3.get_object(Bucket=bucket, Key="a", VersionId=version)["Body"].read() == content
        assert s3.head_object(Bucket=bucket, Key="a", VersionId=version)["ContentLength"] == len(content)


def test_a_completion_that_is_repeated_announces_once(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    for _ in range(2):
        s3.complete_multipart_upload(
            Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]}
        )
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_MULTIPART", "large")]


def test_a_rename_is_announced_under_the_new_key_alone(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    s3.put_object(Bucket=bucket, Key="old", Body=b"hello")
    renaming = local.s3()
    renaming.meta.events.register(
        "before-sign.s3.CopyObject", lambda request, **_: request.headers.add_header("X-Tigris-Rename", "true")
    )
    renaming.copy_object(Bucket=bucket, Key="new", CopySource={"Bucket": bucket, "Key": "old"})
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "old"), ("OBJECT_RENAME", "new")]
    with pytest.raises(ClientError) as missing:
        s3.head_object(Bucket=bucket, Key="old")
    assert status_of(missing) == 404


def test_conditions_on_presigned_puts_are_kept(local: RunningBucket, s3: S3Client, receiver: RecordingReceiver) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    create = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a", "IfNoneMatch": "*"})
    first = local.http.put(create, content=b"1", headers={"if-none-match": "*"})
    assert first.status_code == 200
    assert local.http.put(create, content=b"2", headers={"if-none-match": "*"}).status_code == 412
    etag = first.headers["etag"]
    replace = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a", "IfMatch": etag})
    assert local.http.put(replace, content=b"3", headers={"if-match": etag}).status_code == 200
    assert local.http.put(replace, content=b"4", headers={"if-match": etag}).status_code == 412
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"3"
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "a")] * 2


def test_of_many_conditional_puts_at_once_one_wins_and_is_announced(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a", "IfNoneMatch": "*"})

    def write(number: int) -> int:
        return local.http.put(url, content=str(number).encode() * 1000, headers={"if-none-match": "*"}).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(write, range(24)))
    local.flush()
    assert sorted(statuses) == [200] + [412] * 23
    assert len(receiver.names_and_keys) == 1
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read()[:1] == str(statuses.index(200)).encode()[:1]


def test_the_order_of_the_hub_is_the_order_of_commits(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)

    def write(number: int) -> None:
        s3.put_object(Bucket=bucket, Key="a", Body=str(number).encode())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(60)))
    local.flush()
    stamped = [(event["object"]["versionstamp"], event["object"]) for event in receiver.events]
    modified = [described["lastModified"] for _, described in sorted(stamped, key=lambda pair: pair[0])]
    assert modified == sorted(modified)
    final = max(stamped, key=lambda pair: pair[0])[1]
    assert f'"{final["eTag"]}"' == s3.head_object(Bucket=bucket, Key="a")["ETag"]


def test_a_write_of_a_far_region_is_late_at_the_hub_and_early_by_its_date(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a"})
    assert local.http.put(url, content=b"far", headers={"x-yurt-region": "far"}).status_code == 200
    assert local.http.put(url, content=b"near").status_code == 200
    local.flush()
    near, far = (event["object"] for event in receiver.events)
    assert (near["size"], far["size"]) == (4, 3)
    assert near["versionstamp"] < far["versionstamp"]
    assert near["lastModified"] >= far["lastModified"]


class OneAtATime(LocalStore):
    """The real store, which fails when it is asked by two at once."""

    inside = 0

    def answer(self, call: Call, *, keep_previous: bool = False) -> tuple[BucketResponse, list[Change]]:
        self.inside += 1
        time.sleep(0.001)
        assert self.inside == 1
        try:
            return super().answer(call, keep_previous=keep_previous)
        finally:
            self.inside -= 1


async def test_requests_take_turns() -> None:
    store, hub = OneAtATime(("photos-in",)), NotificationHub(Disorder(), Posting())
    bucket = LocalBucket(store, hub, 1_000)
    try:
        signer = Presigner("http://127.0.0.1", "auto", SigningKeys("any", "any"))
        urls = [signer.url("PUT", "photos-in", str(number), expires_seconds=60) for number in range(20)]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(bucket)) as client:
            answers = await asyncio.gather(*(client.put(url, content=b"hello") for url in urls))
    finally:
        bucket.close()
        store.close()
        await hub.close()
    assert {answer.status_code for answer in answers} == {200}
    assert hub.counts.writes == 20


def test_one_connection_serves_many_requests(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    url = urlsplit(s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a"}))
    request = f"PUT {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: 5\r\n\r\nhello".encode()
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as connection:
        reader = connection.makefile("rb")
        for _ in range(3):
            connection.sendall(request)
            assert reader.readline().split()[1] == b"200"
            while reader.readline().strip():
                pass


def test_an_upload_that_breaks_off_changes_nothing(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    url = urlsplit(s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "half"}))
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"half")
    s3.put_object(Bucket=bucket, Key="whole", Body=b"whole")
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "whole")]


@pytest.mark.parametrize("declared", [True, False])
def test_too_large_a_body_is_refused_before_it_is_stored(local: RunningBucket, s3: S3Client, declared: bool) -> None:
    bucket = local.new_bucket(s3)
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "huge"})
    content = bytes(21_000_000)
    chunks = (content[start : start + MIB] for start in range(0, len(content), MIB))
    try:
        status = local.http.put(url, content=content if declared else chunks).status_code
    except (httpx.WriteError, httpx.ReadError):  # the refusal came while the client was still sending
        status = 413
    assert status == 413
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_chunked_body_is_stored_whole(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a"})
    assert local.http.put(url, content=iter([b"ab", b"cd"])).status_code == 200
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"abcd"


def test_metadata_with_an_underscore_keeps_its_name(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="a", Body=b"", Metadata={"yurt_token": "7", "yurt-etag": "8"})
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"yurt_token": "7", "yurt-etag": "8"}


def test_a_condition_on_reading_answers_304(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"hello")["ETag"]
    with pytest.raises(ClientError) as unchanged:
        s3.get_object(Bucket=bucket, Key="a", IfNoneMatch=etag)
    assert status_of(unchanged) == 304


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_settings_are_read_back_with_their_secrets_masked(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3, "http://127.0.0.1:9/hook", auth={"token": "s3cret"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    answer = local.signed("GET", f"/{bucket}?metadata&with-size=true")
    assert answer.json() == {
        "name": bucket,
        "storage_class": "STANDARD",
        "estimated_unique_rows": 1,
        "estimated_size": 5,
        "object_notifications": {
            "enabled": True,
            "web_hook": "http://127.0.0.1:9/hook",
            "filter": "",
            "auth": {"token": "********"},
        },
    }
    assert local.patch(bucket, {}).status_code == 200
    assert "object_notifications" not in local.signed("GET", f"/{bucket}?metadata&with-size=true").json()


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"token": "s3cret"}, "Bearer s3cret"),
        ({"basic_user": "u", "basic_pass": "p"}, "Basic " + base64.b64encode(b"u:p").decode()),
    ],
)
def test_the_webhook_gets_its_secret(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver, auth: dict[str, str], header: str
) -> None:
    bucket = local.new_bucket(s3, receiver.url, auth=auth)
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    local.flush()
    assert receiver.posts[0].headers["authorization"] == header


def test_a_filter_keeps_other_keys_quiet(local: RunningBucket, s3: S3Client, receiver: RecordingReceiver) -> None:
    bucket = local.new_bucket(s3, receiver.url, filter='WHERE `key` REGEXP "^uploads/"')
    for key in ("uploads/a", "other/uploads/a", "uploads/b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    local.flush()
    assert [key for _, key in receiver.names_and_keys] == ["uploads/a", "uploads/b"]


def test_settings_need_a_signature_and_a_bucket(local: RunningBucket) -> None:
    assert local.http.patch(f"{local.endpoint}/photos-in", json={"object_notifications": {}}).status_code == 403
    assert local.http.get(f"{local.endpoint}/photos-in?metadata&with-size=true").status_code == 403
    assert local.patch("no-such-bucket", {}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"type": 1}', b'{"object_notifications": 1}', b"[" * 20_000, b'"' + b"x" * 70_000 + b'"'],
)
def test_settings_that_cannot_be_used_are_refused(local: RunningBucket, body: bytes) -> None:
    assert local.signed("PATCH", "/photos-in", body).status_code in (400, 413)


def test_a_filter_that_is_not_understood_says_so(local: RunningBucket) -> None:
    answer = local.patch("photos-in", {"web_hook": "http://127.0.0.1:9/", "filter": "WHERE `Content-Length` > 0"})
    assert answer.status_code == 400
    assert "REGEXP" in answer.json()["message"]


# ── /_yurt/ ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_stats_count_and_flush_waits(receiver: RecordingReceiver) -> None:
    with running("--bucket", "photos-in", "--hold", "1", "--hold-seconds", "1", "--duplicates", "1") as local:
        local.patch("photos-in", {"web_hook": receiver.url})
        s3 = local.s3()
        for key in ("a", "b"):
            s3.put_object(Bucket="photos-in", Key=key, Body=b"hello")
        assert local.http.post(f"{local.endpoint}/_yurt/flush?deadline=0.01").status_code == 504
        local.flush()
        stats = local.stats()
    assert {
        name: stats[name] for name in ("writes", "events", "duplicates", "held", "dropped", "posted", "given_up")
    } == {
        "writes": 2,
        "events": 2,
        "duplicates": 2,
        "held": 2,
        "dropped": 0,
        "posted": 4,
        "given_up": 0,
    }
    assert stats["pending"] == 0
    assert sum(stats["requests"].values()) == stats["requests"]["200"] == len(receiver.posts)


def test_the_admin_paths_are_no_bucket_and_not_for_web_pages(local: RunningBucket) -> None:
    assert local.http.get(f"{local.endpoint}/_yurt/").status_code == 404
    assert local.http.post(f"{local.endpoint}/_yurt/flush?deadline=soon").status_code == 400
    foreign = local.http.get(f"{local.endpoint}/_yurt/stats", headers={"origin": "https://example.com"})
    assert foreign.status_code == 403


def test_no_answer_invites_other_origins(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"})
    assert "access-control-allow-origin" not in local.http.get(url, headers={"origin": "https://example.com"}).headers


@pytest.mark.parametrize("host", ["evil.example:9000", "127.0.0.1.evil.example", "169.254.169.254", "[fe80::1]", ""])
def test_a_name_that_only_resolves_to_this_machine_is_refused(local: RunningBucket, host: str) -> None:
    for path in ("/photos-in/a", "/_yurt/stats"):
        answer = local.http.get(f"{local.endpoint}{path}", headers={"host": host})
        assert (answer.status_code, "loopback" in answer.text) == (403, True)


def test_a_form_that_a_foreign_page_posts_stores_nothing(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    signed = s3.generate_presigned_post(bucket, "c")["fields"]
    for origin, fields in (
        ("https://evil.example", signed),
        ("null", signed),
        ("", {"key": "c"}),
        ("", {**signed, "policy": "e30="}),
    ):
        page = {"origin": origin} if origin else {}
        files = {"file": b"hello"}
        assert local.http.post(f"{local.endpoint}/{bucket}", data=fields, files=files, headers=page).status_code == 403
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_an_unsigned_header_is_refused_unless_a_fault_has_it_taken(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="private", Body=b"secret")
    url, copying = local.url("PUT", bucket, "mine"), {"x-amz-copy-source": f"/{bucket}/private"}
    assert local.http.put(url, headers=copying).status_code == 403
    local.fault(method="PUT", bucket=bucket, effect="unsigned-headers")
    assert local.http.put(url, headers=copying).status_code == 200
    assert s3.get_object(Bucket=bucket, Key="mine")["Body"].read() == b"secret"
    assert local.http.put(url, headers=copying).status_code == 403


def test_an_error_is_worded_as_s3_words_it(local: RunningBucket) -> None:
    answer = local.http.get(f"{local.endpoint}/photos-in/%ff")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/xml")
    assert "<Code>InvalidURI</Code>" in answer.text


def test_stats_are_json(local: RunningBucket) -> None:
    assert isinstance(json.loads(local.http.get(f"{local.endpoint}/_yurt/stats").text), dict)


def test_a_presigned_url_is_refused_when_its_time_is_over(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a"}, ExpiresIn=60)
    assert local.http.put(url, content=b"in time").status_code == 200
    signed = parse_qs(urlsplit(url).query)["X-Amz-Date"][0]
    before = (datetime.now(UTC) - timedelta(seconds=62)).strftime("%Y%m%dT%H%M%SZ")
    late = local.http.put(url.replace(signed, before), content=b"too late")
    assert (late.status_code, "AccessDenied" in late.text) == (403, True)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"in time"
