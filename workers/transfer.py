"""Downloads an input into a file and uploads outputs from open files, by presigned URLs, with a limit on everything.

The meaning of a store's response is decided by pure functions: `interpret_download`, `compare_with_earlier` and
`interpret_upload`.
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

import httpx

from workers import tls
from workers.bounded_read import BodyTooLong, read_bounded
from workers.disk_space import require_space
from workers.headers import content_length, http_date, plain_etag, retry_after_seconds
from workers.outgoing import PAST_PROXIES, why_unreachable
from workers.protocol import Download, Expected, Upload, Version
from workers.retry import Backoff, NetworkFault

MAX_UPLOAD_BYTES = 5 << 30
"""One PUT carries at most 5 GiB: S3 and Tigris alike."""
CHUNK_BYTES = 1 << 20
_ERROR_BYTES = 64 << 10
_ERROR_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>")
_ERROR_TEXT = re.compile(rb"<Message>([^<]{1,2000})")
_UNUSABLE_KEY = frozenset(
    f"KMS.{name}"
    for name in (
        "AccessDeniedException",
        "DisabledException",
        "IncorrectKeyException",
        "InvalidCiphertextException",
        "InvalidKeyUsageException",
        "InvalidStateException",
        "KMSInvalidStateException",
        "NotFoundException",
    )
) | {"InvalidKmsKeyId"}
"""Codes of a key that cannot be used until a person does something; others of KMS, such as throttling, pass.

S3 puts ``KMS.`` before the names in the KMS API reference, "Decrypt"; Ceph says ``InvalidKmsKeyId``.
"""
_NO_RIGHT_TO_KEY = ("kms:decrypt", "the ciphertext refers to a customer master key")
"""In the text of a plain AccessDenied, where the object may be read and its key may not be used."""
_CUSTOMER_KEY = "server side encryption"
"""In the text of the InvalidRequest that AWS, MinIO and Ceph answer without the customer's key (SSE-C)."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""408 is how Tigris sheds load (``RequestCanceled``)."""


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """How long a transfer may take, and how often it is repeated."""

    connect_seconds: float = 10.0
    stall_seconds: float = 20.0
    """Without a single byte."""
    total_seconds: float = 120.0
    """For one transfer with all its repetitions; added to it is the time that its bytes take at the lowest rate."""
    lowest_bytes_per_second: float = 256 << 10
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=4))

    def seconds(self, size_bytes: int) -> float:
        """Time limit for a transfer of ``size_bytes``."""
        return self.total_seconds + size_bytes / self.lowest_bytes_per_second


class StoreFault(NetworkFault):
    """The transfer failed. ``str()`` is a sentence for the person who uploaded the file."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "store",
        transient: bool = False,
        retry: bool = True,
        after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message, transient=transient, after_seconds=after_seconds)
        self.reason = reason
        self.retry = retry
        """Whether another attempt, with another lease, can help."""


class ConditionFailed(StoreFault):
    """A PUT's condition does not hold (412): the output there is another than the control plane knew of."""


class UrlExpired(StoreFault):
    """A PUT was refused (403): its URL may have expired."""


class NoDownload(enum.Enum):
    """Why nothing was downloaded."""

    UNCHANGED = "unchanged"
    """The store answered 304."""
    IN_MANIFEST = "in manifest"
    """The content is the one that an earlier result's manifest names."""
    ABSENT = "absent"
    """The store answered 404."""


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """The parts of a store's response that decide what it means."""

    status: int
    etag: str | None = None
    modified: datetime | None = None
    size_bytes: int | None = None
    """Content-Length."""
    code: str = ""
    """The store's error code: ``NoSuchKey``, ``SlowDown`` …"""
    text: str = ""
    """The store's words on the error, which may name accounts and keys: to be looked at, never shown."""
    retry_after_seconds: float = 0.0

    @classmethod
    async def of(cls, response: httpx.Response) -> Self:
        """Read the headers of ``response``, and the body if it is an error."""
        code, text = await _error(response)
        return cls(
            status=response.status_code,
            etag=plain_etag(response.headers.get("etag")),
            modified=http_date(response.headers.get("last-modified")),
            size_bytes=content_length(response.headers.get("content-length")),
            code=code,
            text=text,
            retry_after_seconds=retry_after_seconds(response.headers),
        )

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


# ── what a response means ───────────────────────────────────────────────────────────────────────────────────


def interpret_download(
    response: StoreResponse, expected: Expected, limit_bytes: int, known_etag: str | None = None
) -> Version | NoDownload | StoreFault:
    """Decide what the response to a GET means: a version to download, a reason not to, or a fault.

    Args:
        response: The store's response.
        expected: What the control plane knows of the content.
        limit_bytes: The longest input that the pipeline takes.
        known_etag: What ``If-None-Match`` named: a 304 without an ETag of its own means this one.
    """
    if response.status in (200, 304):
        return _interpret_content(response, expected, limit_bytes, known_etag)
    if response.status == 404 and response.code != "NoSuchBucket":
        return NoDownload.ABSENT
    if response.code == "InvalidObjectState":
        return StoreFault(
            "The file is in an archive tier: restore it or copy it to the STANDARD tier, then redrive it.",
            reason="archived",
            retry=False,
        )
    return _encrypted(response) or _refusal(response, "download")


def compare_with_earlier(
    fetched: Version, earlier: Version | None, expected: Expected
) -> Version | NoDownload | StoreFault:
    """Decide what content means beside the content that an earlier result was made from.

    Without this, a worker that finds a manifest unknown to the ledger would handle the same content again, or replace
    its result by one of older content.
    """
    if earlier is None:
        return fetched
    if fetched.etag == earlier.etag:
        return NoDownload.IN_MANIFEST
    response = StoreResponse(200, fetched.etag, fetched.modified)
    behind = _behind(response, Expected(after=earlier.modified, believed=expected.believed))
    return _replica_behind() if behind else fetched


def interpret_upload(response: StoreResponse) -> str | StoreFault:
    """Decide what the response to a PUT means: the new ETag, or a fault."""
    if response.status in (200, 201, 204):
        return response.etag or StoreFault("The store named no ETag for an output that it accepted.")
    if response.status in (404, 412):  # 404: what the condition names was deleted
        return ConditionFailed("What was known of an earlier result does not hold any more.")
    if response.status == 403:
        return UrlExpired(f"The store refused an output: {response}.")
    if response.status == 409:  # ConditionalRequestConflict: two writers at once, S3 says to try again
        return StoreFault(f"The store refused an output: {response}.", transient=True)
    return _refusal(response, "upload")


def _interpret_content(
    response: StoreResponse, expected: Expected, limit_bytes: int, known_etag: str | None
) -> Version | NoDownload | StoreFault:
    etag = response.etag or (known_etag if response.status == 304 else None)
    if _behind(response, expected):
        return _replica_behind(response.retry_after_seconds)
    if response.status == 304:
        return NoDownload.UNCHANGED
    if etag is None:
        return StoreFault("The store named no ETag for the file, so its version is unknown.")
    if response.size_bytes is not None and response.size_bytes > limit_bytes:
        return too_large(limit_bytes)
    return Version(etag=etag, modified=response.modified, size=response.size_bytes)


def _behind(response: StoreResponse, expected: Expected) -> bool:
    """Whether the content is, or may be, older than content that is known to exist.

    HTTP gives whole seconds: an announced fraction of a second must not make the announced content itself look older,
    and of two contents of one second it cannot be told which is the newer.
    """
    if expected.believed or response.modified is None:
        return False
    if expected.modified and response.modified < _in_whole_seconds(expected.modified):
        return True
    other_content = response.status != 304  # a 304 is the content of the last result itself, however old
    return other_content and expected.after is not None and response.modified <= _in_whole_seconds(expected.after)


def _in_whole_seconds(moment: datetime) -> datetime:
    return moment.replace(tzinfo=moment.tzinfo or UTC, microsecond=0)


def _replica_behind(after_seconds: float = 0.0) -> StoreFault:
    return StoreFault(
        "The store serves content that may be older than what is known to exist: a replica is behind.",
        reason="replica-behind",
        transient=True,
        after_seconds=after_seconds,
    )


def _encrypted(response: StoreResponse) -> StoreFault | None:
    """The fault of an object that the store can decrypt with no key that it may use; None for another refusal."""
    text = response.text.lower()
    if response.code == "InvalidRequest" and _CUSTOMER_KEY in text:
        why = "with its uploader's own key (SSE-C), which Yurt does not have: upload it without one"
    elif response.code in _UNUSABLE_KEY:
        why = f"with a KMS key that cannot be used ({response.code}): mend the key, then redrive the file"
    elif response.code == "AccessDenied" and any(words in text for words in _NO_RIGHT_TO_KEY):
        why = "with a KMS key that Yurt may not use: allow it kms:Decrypt, then redrive the file"
    else:
        return None
    return StoreFault(f"The file is encrypted {why}.", reason="encrypted", retry=False)


def _refusal(response: StoreResponse, action: str) -> StoreFault:
    return StoreFault(
        f"The store answered the {action} with {response}.",
        transient=response.status in _BUSY,
        after_seconds=response.retry_after_seconds,
    )


def too_large(limit_bytes: int) -> StoreFault:
    """The error for an input over the pipeline's limit."""
    message = f"The file is larger than the {limit_bytes} bytes that this pipeline takes."
    return StoreFault(message, reason="too-large", retry=False)


# ── moving bytes ────────────────────────────────────────────────────────────────────────────────────────────


class TransferClient:
    """Transfers by presigned URLs. One connection pool; close with ``aclose``."""

    def __init__(self, limits: TransferLimits | None = None, *, connections: int = 64) -> None:
        self._limits = limits or TransferLimits()
        stall = self._limits.stall_seconds
        self._http = httpx.AsyncClient(
            verify=tls.context(),
            mounts=PAST_PROXIES,
            # Stores compress nothing by themselves, and what is stored compressed is handed on as it is.
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=30.0),
            timeout=httpx.Timeout(stall, connect=self._limits.connect_seconds, pool=None),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def download(
        self,
        source: Download,
        expected: Expected,
        path: Path,
        *,
        limit_bytes: int,
        earlier: Awaitable[Version | None] | None = None,
    ) -> Version | NoDownload:
        """Write the object at ``source`` to ``path``, and return its version, with the size that arrived.

        ``earlier`` gives the version that an earlier result was made from. Before the first byte is read the content is
        compared with it: the same content is not downloaded, and content that may be older is refused.

        Raises `StoreFault`, and OSError when the disk is full.
        """
        download = self._limits.backoff.retrying()
        # Read at the same time as the input is requested, and once for all repetitions.
        reading = asyncio.ensure_future(earlier) if earlier else None
        try:
            async with asyncio.timeout(self._limits.seconds(limit_bytes)):
                return await download(self._get, source, expected, path, limit_bytes, reading)
        except TimeoutError:
            raise StoreFault("The download took too long.") from None
        finally:
            if reading:
                reading.cancel()

    async def read(self, source: Download, *, limit_bytes: int) -> tuple[bytes, str] | None:
        """Return a small object's content and ETag; None when it is absent, longer, or could not be read."""
        try:
            async with (
                asyncio.timeout(self._limits.total_seconds),
                self._http.stream("GET", source.url, headers=source.headers) as response,
            ):
                etag = plain_etag(response.headers.get("etag"))
                if response.status_code != 200 or not etag:
                    return None
                return await read_bounded(response.aiter_raw(CHUNK_BYTES), limit_bytes), etag
        except (BodyTooLong, httpx.TransportError, httpx.InvalidURL, TimeoutError):
            return None

    async def upload(self, target: Upload, content: BinaryIO, *, size_bytes: int) -> str:
        """Put the first ``size_bytes`` of ``content``, and return the ETag that the store gives it.

        Raises `StoreFault`; `ConditionFailed` on a 412 and `UrlExpired` on a 403, which another URL may cure.
        """
        upload = self._limits.backoff.retrying()
        try:
            async with asyncio.timeout(self._limits.seconds(size_bytes)):
                return await upload(self._put, target, content, size_bytes)
        except TimeoutError:
            raise StoreFault("An upload took too long.") from None

    async def _get(
        self,
        source: Download,
        expected: Expected,
        path: Path,
        limit_bytes: int,
        earlier: asyncio.Future[Version | None] | None,
    ) -> Version | NoDownload:
        known_etag = plain_etag({k.lower(): v for k, v in source.headers.items()}.get("if-none-match"))
        try:
            async with self._http.stream("GET", source.url, headers=source.headers) as response:
                summary = await StoreResponse.of(response)
                verdict = interpret_download(summary, expected, limit_bytes, known_etag)
                if isinstance(verdict, StoreFault):
                    raise verdict
                if isinstance(verdict, Version) and earlier:
                    verdict = compare_with_earlier(verdict, await asyncio.shield(earlier), expected)
                if isinstance(verdict, StoreFault):
                    raise verdict
                if isinstance(verdict, NoDownload):
                    return verdict
                require_space(path.parent, summary.size_bytes or 0)
                size = await _receive(response, path, limit_bytes)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _unreachable(error) from error
        if summary.size_bytes not in (None, size):
            raise StoreFault("The download ended early.", transient=True)
        return verdict.model_copy(update={"size": size})

    async def _put(self, target: Upload, content: BinaryIO, size_bytes: int) -> str:
        headers = {"Content-Length": str(size_bytes)} | target.headers
        try:
            async with self._http.stream(
                "PUT", target.url, headers=headers, content=_chunks(content, size_bytes)
            ) as response:
                verdict = interpret_upload(await StoreResponse.of(response))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _unreachable(error) from error
        if isinstance(verdict, StoreFault):
            raise verdict
        return verdict


async def _receive(response: httpx.Response, path: Path, limit_bytes: int) -> int:
    size = 0
    with _open(path) as file:
        async for chunk in response.aiter_raw(CHUNK_BYTES):
            size += len(chunk)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            await asyncio.to_thread(file.write, chunk)
    return size


async def _chunks(content: BinaryIO, size_bytes: int) -> AsyncIterator[bytes]:
    left = size_bytes
    content.seek(0)  # an upload may be repeated
    while left and (chunk := await asyncio.to_thread(content.read, min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _open(path: Path) -> BinaryIO:
    return path.open("wb")


async def _error(response: httpx.Response) -> tuple[str, str]:
    """Code and text of an error; both empty where the response is none."""
    if response.status_code < 400:
        return "", ""
    try:
        body = await read_bounded(response.aiter_raw(), _ERROR_BYTES)
    except BodyTooLong as error:
        body = error.beginning
    code, text = _ERROR_CODE.search(body), _ERROR_TEXT.search(body)
    return code[1].decode() if code else "", text[1].decode("utf-8", "replace") if text else ""


def _unreachable(error: Exception) -> StoreFault:
    transient = not isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return StoreFault(f"The store could not be reached: {why_unreachable(error)}.", transient=transient)
