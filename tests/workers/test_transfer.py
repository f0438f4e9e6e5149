from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.stream_server import stream_server
from workers.protocol import Download, Expected, Upload, Version
from workers.retry import Backoff
from workers.transfer import (
    ConditionFailed,
    NoDownload,
    StoreFault,
    StoreResponse,
    TransferClient,
    TransferLimits,
    UrlExpired,
    compare_with_earlier,
    interpret_download,
    interpret_upload,
)

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

HASTY = TransferLimits(connect_seconds=5, stall_seconds=0.3, backoff=Backoff(attempts=4, first_seconds=0.001))
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
LATER = NOON + timedelta(seconds=1)
NEARLY = NOON.replace(microsecond=700_000)
NO_ZONE = LATER.replace(tzinfo=None)
KNOWN = Expected(etag="known", modified=LATER)
LIMIT = 1_000
DATE = "Last-Modified: Wed, 04 Mar 2026 12:00:00 GMT\r\n"
GOOD = f'HTTP/1.1 200 OK\r\nETag: "e1"\r\n{DATE}Content-Length: 5\r\n\r\nhello'
Reason = tuple[str, bool, bool]
"""Reason, whether the same request may succeed, whether another lease can help."""

# ── what a response means ──────────────────────────────────────────────────────────────────────────────────

NEWS = Expected(etag="e2", modified=LATER)
"""Newer content than the answers below carry."""
SAME = Expected(etag="e1", modified=LATER)
NONE = Expected()
BELIEVED = Expected(etag="e2", modified=LATER, after=LATER, believed=True)
BEHIND: Reason = ("replica-behind", True, True)
BUSY: Reason = ("store", True, True)
REFUSED: Reason = ("store", False, True)
ENCRYPTED: Reason = ("encrypted", False, False)
SSE_C = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided."
KMS_KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234"
NO_DECRYPT = f"User: arn:aws:iam::111122223333:user/yurt is not authorized to perform: kms:Decrypt on {KMS_KEY}"


def e1(size: int | None = 5, modified: datetime | None = NOON) -> Version:
    return Version(etag="e1", modified=modified, size=size)


ENCRYPTED = ("encrypted", False, False)
SSE_C = "stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
NO_DECRYPT = "is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/1234"

DOWNLOADS: list[tuple[str, StoreResponse, Expected, Version | NoDownload | Reason]] = [
    ("content", StoreResponse(200, "e1", NOON, 5), NONE, e1()),
    ("no Last-Modified", StoreResponse(200, "e1", None, 5), NEWS, e1(modified=None)),
    ("no ETag", StoreResponse(200, None, NOON, 5), NONE, REFUSED),
    ("no length", StoreResponse(200, "e1", NOON), NONE, e1(None)),
    ("as long as allowed", StoreResponse(200, "e1", NOON, LIMIT), NONE, e1(LIMIT)),
    ("too long", StoreResponse(200, "e1", NOON, LIMIT + 1), NONE, ("too-large", False, False)),
    ("as announced", StoreResponse(200, "e1", LATER, 5), SAME, e1(modified=LATER)),
    ("as announced once, but older than what came since", StoreResponse(200, "e1", NOON, 5), SAME, BEHIND),
    ("older, and no replica can be behind", StoreResponse(200, "e1", NOON, 5), BELIEVED, e1()),
    ("of the same second as the last result", StoreResponse(200, "e1", NOON, 5), Expected(after=NEARLY), BEHIND),
    ("after the last result", StoreResponse(200, "e1", LATER, 5), Expected(after=NOON), e1(modified=LATER)),
    ("the content of the last result", StoreResponse(304, "e1", NOON), Expected(after=NOON), NoDownload.UNCHANGED),
    ("newer", StoreResponse(200, "e1", LATER, 5), Expected(etag="e0", modified=NOON), e1(modified=LATER)),
    ("of the same second", StoreResponse(200, "e1", NOON, 5), Expected(etag="e2", modified=NEARLY), e1()),
    ("announced without a date", StoreResponse(200, "e1", NOON, 5), Expected(etag="e2"), e1()),
    ("announced without an ETag", StoreResponse(200, "e1", NOON, 5), Expected(modified=LATER), BEHIND),
    ("without a zone", StoreResponse(200, "e1", NOON, 5), Expected(etag="e2", modified=NO_ZONE), BEHIND),
    ("behind", StoreResponse(200, "e1", NOON, 5), NEWS, BEHIND),
    ("behind with a long file", StoreResponse(200, "e1", NOON, LIMIT + 1), NEWS, BEHIND),
    ("unchanged", StoreResponse(304, "e1", NOON), NONE, NoDownload.UNCHANGED),
    ("unchanged, without headers", StoreResponse(304), NEWS, NoDownload.UNCHANGED),
    ("unchanged since announced", StoreResponse(304, "e1", LATER), SAME, NoDownload.UNCHANGED),
    ("unchanged says one behind", StoreResponse(304, "e1", NOON), NEWS, BEHIND),
    ("unchanged without ETag, behind", StoreResponse(304, None, NOON), NEWS, BEHIND),
    ("unchanged without ETag", StoreResponse(304, None, LATER), KNOWN, NoDownload.UNCHANGED),
    ("absent", StoreResponse(404, code="NoSuchKey"), NONE, NoDownload.ABSENT),
    ("absent, without a body", StoreResponse(404), NONE, NoDownload.ABSENT),
    ("no such bucket", StoreResponse(404, code="NoSuchBucket"), NONE, REFUSED),
    ("archived", StoreResponse(403, code="InvalidObjectState"), NONE, ("archived", False, False)),
    ("SSE-C", StoreResponse(400, code="InvalidRequest", text=f"The object was {SSE_C}"), NONE, ENCRYPTED),
    ("invalid otherwise", StoreResponse(400, code="InvalidRequest", text="The range is wrong."), NONE, REFUSED),
    ("a key disabled", StoreResponse(400, code="KMS.DisabledException"), NONE, ENCRYPTED),
    ("a key gone", StoreResponse(400, code="KMS.NotFoundException"), NONE, ENCRYPTED),
    ("a key to be deleted", StoreResponse(400, code="KMS.KMSInvalidStateException"), NONE, ENCRYPTED),
    ("a key of Ceph", StoreResponse(400, code="InvalidKmsKeyId"), NONE, ENCRYPTED),
    ("a key not allowed", StoreResponse(403, code="AccessDenied", text=f"x {NO_DECRYPT} y"), NONE, ENCRYPTED),
    ("KMS busy", StoreResponse(503, code="KMS.ThrottlingException"), NONE, BUSY),
    ("KMS failing", StoreResponse(400, code="KMS.KeyUnavailableException"), NONE, REFUSED),
    ("denied", StoreResponse(403, code="AccessDenied", text="Access Denied"), NONE, REFUSED),
    ("SSE-C", StoreResponse(400, code="InvalidRequest", text=SSE_C), NONE, ENCRYPTED),
    ("invalid otherwise", StoreResponse(400, code="InvalidRequest", text="The range is wrong."), NONE, REFUSED),
    ("a key disabled", StoreResponse(400, code="KMS.DisabledException"), NONE, ENCRYPTED),
    ("a key gone", StoreResponse(400, code="KMS.NotFoundException"), NONE, ENCRYPTED),
    ("a key to be deleted", StoreResponse(400, code="KMS.KMSInvalidStateException"), NONE, ENCRYPTED),
    ("a key of Ceph", StoreResponse(400, code="InvalidKmsKeyId"), NONE, ENCRYPTED),
    ("a key not allowed", StoreResponse(403, code="AccessDenied", text=NO_DECRYPT), NONE, ENCRYPTED),
    ("KMS busy", StoreResponse(503, code="KMS.ThrottlingException"), NONE, BUSY),
    ("KMS failing", StoreResponse(400, code="KMS.KeyUnavailableException"), NONE, REFUSED),
    ("denied", StoreResponse(403, code="AccessDenied", text="Access Denied"), NONE, REFUSED),
    ("expired", StoreResponse(403, code="AccessDenied"), NONE, REFUSED),
    ("load shedding", StoreResponse(408, code="RequestCanceled"), NONE, BUSY),
    ("condition", StoreResponse(412), NONE, REFUSED),
    ("too many", StoreResponse(429), NONE, BUSY),
    ("internal error", StoreResponse(500), NONE, BUSY),
    ("bad gateway", StoreResponse(502), NONE, BUSY),
    ("slow down", StoreResponse(503, code="SlowDown"), NONE, BUSY),
    ("gateway timeout", StoreResponse(504), NONE, BUSY),
    ("not implemented", StoreResponse(501), NONE, REFUSED),
    ("a redirect", StoreResponse(307), NONE, REFUSED),
    ("part of the content", StoreResponse(206, "e1", NOON, 5), NONE, REFUSED),
]


@pytest.mark.parametrize(
    ("answer", "expected", "meaning"), [row[1:] for row in DOWNLOADS], ids=[row[0] for row in DOWNLOADS]
)
def test_what_the_answer_to_a_get_means(
    answer: StoreResponse, expected: Expected, meaning: Version | NoDownload | Reason
) -> None:
    verdict = interpret_download(answer, expected, LIMIT, "known")
    if isinstance(verdict, StoreFault):
        assert (verdict.reason, verdict.transient, verdict.retry) == meaning
    else:
        assert verdict == meaning


@pytest.mark.parametrize(
    ("answer", "kind", "transient"),
    [
        (StoreResponse(412), ConditionFailed, False),
        (StoreResponse(404, code="NoSuchKey"), ConditionFailed, False),
        (StoreResponse(403, code="AccessDenied"), UrlExpired, False),
        (StoreResponse(409, code="ConditionalRequestConflict"), StoreFault, True),
        (StoreResponse(503), StoreFault, True),
        (StoreResponse(408), StoreFault, True),
        (StoreResponse(400, code="BadDigest"), StoreFault, False),
        (StoreResponse(200), StoreFault, False),
    ],
)
def test_what_the_answer_to_a_put_means(answer: StoreResponse, kind: type[StoreFault], transient: bool) -> None:
    verdict = interpret_upload(answer)
    assert isinstance(verdict, StoreFault)
    assert (type(verdict), verdict.transient, verdict.retry) == (kind, transient, True)


def test_an_accepted_put_gives_its_etag() -> None:
    assert interpret_upload(StoreResponse(200, "e1")) == "e1"


def test_a_refusal_waits_as_long_as_the_store_asks() -> None:
    verdict = interpret_download(StoreResponse(503, retry_after_seconds=9), Expected(), LIMIT)
    assert isinstance(verdict, StoreFault)
    assert verdict.after_seconds == 9


EARLIER = Version(etag="e0", modified=NOON)


@pytest.mark.parametrize(
    ("fetched", "earlier", "expected", "meaning"),
    [
        (e1(), None, NONE, e1()),
        (e1(), e1(), NONE, NoDownload.IN_MANIFEST),
        (e1(modified=LATER), EARLIER, NONE, e1(modified=LATER)),
        (e1(), EARLIER, NONE, BEHIND),
        (e1(), EARLIER, BELIEVED, e1()),
    ],
    ids=["no earlier result", "the same content", "newer", "of the same second", "no replica can be behind"],
)
def test_what_content_means_beside_that_of_an_earlier_result(
    fetched: Version, earlier: Version | None, expected: Expected, meaning: Version | NoDownload | Reason
) -> None:
    verdict = compare_with_earlier(fetched, earlier, expected)
    if isinstance(verdict, StoreFault):
        assert (verdict.reason, verdict.transient, verdict.retry) == meaning
    else:
        assert verdict == meaning


# ── over the wire ──────────────────────────────────────────────────────────────────────────────────────────


class Script:
    """A store that answers each connection with the next of its answers: bytes, ``CLOSE`` or ``HANG``."""

    CLOSE = "close"
    HANG = "hang"

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if length := re.search(r"(?i)content-length: (\d+)", head):
                head += (await reader.readexactly(int(length[1]))).decode()
            self.requests.append(head)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if answer != self.CLOSE:
                writer.write(answer.removesuffix(self.HANG).encode())
                await writer.drain()
            if answer.endswith(self.HANG):
                await reader.read()  # until the client gives up


@contextlib.asynccontextmanager
async def scripted(*answers: str, limits: TransferLimits = HASTY) -> AsyncIterator[tuple[Script, TransferClient]]:
    script, store = Script(*answers), TransferClient(limits)
    async with stream_server(script) as port:
        script.url = f"http://127.0.0.1:{port}/in/a?X-Amz-Signature=secret"
        try:
            yield script, store
        finally:
            await store.aclose()


async def fetch(
    script: Script, store: TransferClient, path: Path, expected: Expected | None = None
) -> Version | NoDownload:
    source = Download(url=script.url, headers={"If-None-Match": '"known"', "X-Tigris-Consistent": "true"})
    return await store.download(source, expected or Expected(), path, limit_bytes=LIMIT)


async def refused(script: Script, store: TransferClient, path: Path, expected: Expected | None = None) -> StoreFault:
    with pytest.raises(StoreFault) as raised:
        await fetch(script, store, path, expected)
    assert "secret" not in str(raised.value)
    return raised.value


def status(line: str, *headers: str, body: str = "") -> str:
    return "\r\n".join([f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", *headers, "", body])


async def test_a_download_arrives_whole(tmp_path: Path) -> None:
    async with scripted(GOOD) as (script, store):
        version = await fetch(script, store, tmp_path / "input")
    assert version == Version(etag="e1", modified=NOON, size=5)
    assert (tmp_path / "input").read_bytes() == b"hello"
    head = script.requests[0].lower()
    assert 'if-none-match: "known"' in head
    assert "x-tigris-consistent: true" in head
    assert "authorization" not in head
    assert "accept-encoding: identity" in head


@pytest.mark.parametrize(
    "trouble",
    [
        status("408 Request Timeout", body="<Error><Code>RequestCanceled</Code></Error>"),
        status("429 Too Many Requests"),
        status("500 Internal Server Error"),
        status("503 Slow Down", "Retry-After: 0"),
        Script.CLOSE,
        Script.HANG,
        f'HTTP/1.1 200 OK\r\nETag: "e1"\r\n{DATE}Content-Length: 5\r\n\r\nhel',
        f'HTTP/1.1 200 OK\r\nETag: "e1"\r\n{DATE}Content-Length: 5\r\n\r\nhel{Script.HANG}',
        f'HTTP/1.1 200 OK\r\nETag: "e1"\r\n{DATE}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n',
    ],
    ids=["408", "429", "500", "503", "closes", "hangs", "ends early", "stalls", "ends early, chunked"],
)
async def test_trouble_that_passes_is_outlived(trouble: str, tmp_path: Path) -> None:
    async with scripted(trouble, trouble, GOOD) as (script, store):
        assert await fetch(script, store, tmp_path / "input") == Version(etag="e1", modified=NOON, size=5)
        assert (tmp_path / "input").read_bytes() == b"hello"
        assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("line", "code", "text", "said"),
    [
        ("400 Bad Request", "InvalidRequest", SSE_C, "SSE-C"),
        ("400 Bad Request", "KMS.DisabledException", f"{KMS_KEY} is disabled.", "KMS.DisabledException"),
        ("403 Forbidden", "AccessDenied", NO_DECRYPT, "kms:Decrypt"),
    ],
)
async def test_what_the_store_cannot_decrypt_is_asked_for_once_and_told_in_words(
    line: str, code: str, text: str, said: str, tmp_path: Path
) -> None:
    xml = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>{text}</Message><RequestId>1</RequestId></Error>"
    async with scripted(status(line, body=xml)) as (script, store):
        fault = await refused(script, store, tmp_path / "input")
        assert (fault.reason, fault.retry, len(script.requests)) == ("encrypted", False, 1)
        assert said in fault.message
        assert "111122223333" not in fault.message


@pytest.mark.parametrize("trouble", [status("503 Slow Down"), Script.CLOSE, Script.HANG])
async def test_trouble_that_stays_fails(trouble: str, tmp_path: Path) -> None:
    async with scripted(trouble) as (script, store):
        fault = await refused(script, store, tmp_path / "input")
        assert (fault.reason, fault.retry) == ("store", True)
        assert len(script.requests) == 4


async def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    async with scripted(GOOD) as (script, store):
        script.url = "http://127.0.0.1:1/in/a?X-Amz-Signature=secret"
        fault = await refused(script, store, tmp_path / "input")
        assert "the connection is refused" in fault.message


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a?secret", "http://[/a?secret", "no url, secret"])
async def test_an_address_that_is_none(url: str, tmp_path: Path) -> None:
    async with scripted(GOOD) as (script, store):
        script.url = url
        assert (await refused(script, store, tmp_path / "input")).reason == "store"
        assert script.requests == []


async def test_a_slow_store_is_given_up_in_the_end(tmp_path: Path) -> None:
    slow = TransferLimits(stall_seconds=60, total_seconds=0.2, lowest_bytes_per_second=1e9)
    async with scripted(Script.HANG, limits=slow) as (script, store):
        fault = await refused(script, store, tmp_path / "input")
        assert fault.message == "The download took too long."


async def test_a_replica_that_catches_up(tmp_path: Path) -> None:
    newer = GOOD.replace("e1", "e2").replace("12:00:00", "12:00:01")
    async with scripted(GOOD, GOOD, newer) as (script, store):
        version = await fetch(script, store, tmp_path / "input", Expected(etag="e2", modified=LATER))
        assert version == Version(etag="e2", modified=LATER, size=5)


async def test_a_replica_that_stays_behind(tmp_path: Path) -> None:
    async with scripted(GOOD) as (script, store):
        fault = await refused(script, store, tmp_path / "input", Expected(etag="e2", modified=LATER))
        assert (fault.reason, fault.retry) == ("replica-behind", True)
        assert len(script.requests) == 4


async def test_a_length_beyond_the_limit_is_not_even_read(tmp_path: Path) -> None:
    long = f'HTTP/1.1 200 OK\r\nETag: "e1"\r\nContent-Length: {LIMIT + 1}\r\n\r\n{Script.HANG}'
    async with scripted(long) as (script, store):
        fault = await refused(script, store, tmp_path / "input")
        assert (fault.reason, fault.retry) == ("too-large", False)
        assert not (tmp_path / "input").exists()


async def test_content_without_a_length_is_cut_at_the_limit(tmp_path: Path) -> None:
    endless = f'HTTP/1.1 200 OK\r\nETag: "e1"\r\n\r\n{"x" * (2 << 20)}{Script.HANG}'
    async with scripted(endless) as (script, store):
        assert (await refused(script, store, tmp_path / "input")).reason == "too-large"
        assert (tmp_path / "input").stat().st_size <= LIMIT


async def test_what_was_written_before_is_gone_after_a_repetition(tmp_path: Path) -> None:
    longer = f'HTTP/1.1 200 OK\r\nETag: "e1"\r\nContent-Length: 900\r\n\r\n{"x" * 800}'
    async with scripted(longer, GOOD) as (script, store):
        await fetch(script, store, tmp_path / "input")
        assert (tmp_path / "input").read_bytes() == b"hello"


async def test_a_full_disk_is_no_fault_of_the_object() -> None:
    async with scripted(GOOD) as (script, store):
        with pytest.raises(OSError) as raised:
            await fetch(script, store, Path("/dev/full"))
        assert raised.value.errno == errno.ENOSPC


async def test_an_upload_sends_just_what_it_was_given() -> None:
    async with scripted(status("503 Slow Down"), status("200 OK", 'ETag: "e9"')) as (script, store):
        headers = {"content-type": "text/plain", "x-amz-meta-token": "5", "If-Match": '"e8"'}
        target = Upload(name="out", url=script.url, headers=headers)
        assert await store.upload(target, io.BytesIO(b"hello"), size_bytes=5) == "e9"
        for request in script.requests:
            assert request.startswith("PUT /in/a?X-Amz-Signature=secret HTTP/1.1\r\n")
            assert request.endswith("\r\n\r\nhello")
            sent = dict(line.split(": ", 1) for line in request.split("\r\n")[1:] if ": " in line)
            sent = {name.lower(): value for name, value in sent.items()}
            assert headers.items() <= {**sent, "If-Match": sent["if-match"]}.items()
            assert "transfer-encoding" not in sent


async def test_an_upload_that_hangs_fails() -> None:
    async with scripted(Script.HANG) as (script, store):
        with pytest.raises(StoreFault, match="ReadTimeout") as raised:
            await store.upload(Upload(name="out", url=script.url, headers={}), io.BytesIO(b"hello"), size_bytes=5)
        assert raised.value.retry
        assert len(script.requests) == 4


async def test_an_empty_upload() -> None:
    async with scripted(status("200 OK", 'ETag: "e9"')) as (script, store):
        target = Upload(name="out", url=script.url, headers={})
        assert await store.upload(target, io.BytesIO(), size_bytes=0) == "e9"
        assert "content-length: 0" in script.requests[0].lower()


# ── against S3 ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Client]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="photos")
    yield client
    server.stop()


def presigned(s3: S3Client, operation: str, **parameters: Any) -> str:
    return s3.generate_presigned_url(operation, Params={"Bucket": "photos", **parameters})


async def s3_fetch(s3: S3Client, path: Path, key: str, **parameters: str) -> Version | NoDownload:
    store = TransferClient(HASTY)
    headers = {"If-None-Match": parameters["IfNoneMatch"]} if parameters else {}
    try:
        source = Download(url=presigned(s3, "get_object", Key=key, **parameters), headers=headers)
        return await store.download(source, Expected(), path, limit_bytes=10 << 20)
    finally:
        await store.aclose()


async def test_s3_download(s3: S3Client, tmp_path: Path) -> None:
    data = bytes(range(256)) * 12_000
    put = s3.put_object(Bucket="photos", Key="a b+ü.jpg", Body=data)
    version = await s3_fetch(s3, tmp_path / "input", "a b+ü.jpg")
    assert isinstance(version, Version)
    assert (version.etag, version.size) == (put["ETag"].strip('"'), len(data))
    assert version.modified == s3.head_object(Bucket="photos", Key="a b+ü.jpg")["LastModified"]
    assert (tmp_path / "input").read_bytes() == data


async def test_s3_unchanged_and_absent(s3: S3Client, tmp_path: Path) -> None:
    put = s3.put_object(Bucket="photos", Key="same", Body=b"x")
    assert await s3_fetch(s3, tmp_path / "input", "same", IfNoneMatch=put["ETag"]) is NoDownload.UNCHANGED
    assert await s3_fetch(s3, tmp_path / "input", "gone") is NoDownload.ABSENT


async def test_s3_archived(s3: S3Client, tmp_path: Path) -> None:
    s3.put_object(Bucket="photos", Key="cold", Body=b"x", StorageClass="GLACIER")
    with pytest.raises(StoreFault, match="restore it") as raised:
        await s3_fetch(s3, tmp_path / "input", "cold")
    assert (raised.value.reason, raised.value.retry) == ("archived", False)


async def test_s3_upload_with_conditions(s3: S3Client) -> None:
    content = io.BytesIO(b"y" * (2 << 20))
    store = TransferClient(HASTY)
    url = presigned(s3, "put_object", Key="out", ContentType="image/webp", IfNoneMatch="*")
    target = Upload(name="out", url=url, headers={"content-type": "image/webp", "if-none-match": "*"})
    try:
        etag = await store.upload(target, content, size_bytes=2 << 20)
        with pytest.raises(ConditionFailed):
            await store.upload(target, content, size_bytes=2 << 20)
    finally:
        await store.aclose()
    head = s3.head_object(Bucket="photos", Key="out")
    assert (head["ETag"], head["ContentLength"], head["ContentType"]) == (f'"{etag}"', 2 << 20, "image/webp")
