"""Publishes a model: uploads its files under its root, then its manifest, then makes that version the current one.

An upload that was interrupted goes on where it stopped: a file that is there is not sent again, nor is a part of a
multipart upload that the store has already. The version's own manifest is written after all its files, so that a
version either is there whole or is not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from webhook.models.local_files import Counted, LocalFile
from webhook.storage import StoreError
from workers.models import manifest
from workers.models.manifest import ModelManifest
from workers.outgoing import why_unreachable

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

PIECE_BYTES = 64 << 20
"""Of a multipart upload; longer files are sent in pieces, shorter ones whole."""
Answer = TypeVar("Answer")
_MOST_PIECES = 10_000
_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing does, or would do."""

    root: str
    send: tuple[LocalFile, ...]
    """Files that the bucket does not have."""
    present: tuple[LocalFile, ...]
    """Files that it has: nothing is sent for them."""
    is_current: bool
    """Whether that version is the current one already."""

    @property
    def send_bytes(self) -> int:
        """Bytes of the files to send."""
        return sum(file.size for file in self.send)


class ModelPublisher:
    """Publishes below one prefix of a bucket.

    Args:
        s3: Client of the store.
        bucket: Where the model goes.
        folder: Prefix of the model, with a slash at its end.
        piece_bytes: Of a multipart upload.

    """

    def __init__(self, s3: S3Client, bucket: str, folder: str, *, piece_bytes: int = PIECE_BYTES) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._folder = folder
        self._piece_bytes = piece_bytes

    def plan(self, listed: ModelManifest, files: Sequence[LocalFile]) -> Publication:
        """Compare the bucket with what is to be published. Writes nothing. Raises StoreError."""
        encoded = listed.encode()
        root = manifest.root_of(encoded)
        with store_errors():
            whole = self._size_of(self._key(root, manifest.FILE_NAME)) == len(encoded)
            there = {file.path for file in files if whole or self._size_of(self._key(root, file.path)) == file.size}
            current = read_manifest(self._s3, self._bucket, self._folder + manifest.FILE_NAME)
        return Publication(
            root,
            send=tuple(file for file in files if file.path not in there),
            present=tuple(file for file in files if file.path in there),
            is_current=current == encoded,
        )

    def publish(self, listed: ModelManifest, plan: Publication, counted: Counted) -> None:
        """Carry a plan out. ``counted`` is called from threads. Raises StoreError, ChangedMeanwhile, OSError."""
        encoded = listed.encode()
        with store_errors():
            for file in plan.send:
                self._send(self._key(plan.root, file.path), file, counted)
            for key in (self._key(plan.root, manifest.FILE_NAME), self._folder + manifest.FILE_NAME):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=encoded, ContentType=manifest.CONTENT_TYPE)

    def _key(self, root: str, path: str) -> str:
        return f"{self._folder}{root}/{path}"

    def _size_of(self, key: str) -> int | None:
        head = _if_there(partial(self._s3.head_object, Bucket=self._bucket, Key=key))
        return None if head is None else head["ContentLength"]

    def _send(self, key: str, file: LocalFile, counted: Counted) -> None:
        if file.size <= self._piece_bytes:
            content = b"".join(file.parts(max(file.size, 1)))
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)
            counted(file.size)
            return
        MultipartUpload(self._s3, self._bucket, key, file, self._piece_bytes).run(counted)


class MultipartUpload:
    """Uploads one file in pieces, of which those that an earlier run has sent are not sent again."""

    def __init__(self, s3: S3Client, bucket: str, key: str, file: LocalFile, piece_bytes: int) -> None:
        self._s3 = s3
        self._place = {"Bucket": bucket, "Key": key}
        self._file = file
        # A whole number of MiB, and no more pieces than S3 allows. The same in each run.
        self._piece_bytes = max(piece_bytes, math.ceil(file.size / _MOST_PIECES / (1 << 20)) << 20)

    def run(self, counted: Counted) -> None:
        """Send what is missing, and complete the upload."""
        upload, present = self._earlier() or (self._begun(), {})
        parts: list[CompletedPartTypeDef] = []
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            try:
                waiting: list[Future[CompletedPartTypeDef]] = []
                for number, piece in enumerate(self._file.parts(self._piece_bytes), 1):
                    # At most so many pieces are in memory at once.
                    while len(waiting) >= _CONNECTIONS:
                        parts.append(waiting.pop(0).result())
                    waiting.append(threads.submit(self._sent, upload, number, piece, present.get(number), counted))
                parts += [each.result() for each in waiting]
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        place: Any = self._place
        self._s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})

    def _begun(self) -> str:
        place: Any = self._place
        return self._s3.create_multipart_upload(**place)["UploadId"]

    def _earlier(self) -> tuple[str, dict[int, str]] | None:
        """The latest upload of this key that was not completed, and the ETags of its pieces."""
        found = self._s3.list_multipart_uploads(Bucket=self._place["Bucket"], Prefix=self._place["Key"])
        own = [one for one in found.get("Uploads", []) if one.get("Key") == self._place["Key"]]
        if not own:
            return None
        upload = max(own, key=lambda one: one["Initiated"])["UploadId"]
        return upload, dict(self._pieces(upload))

    def _pieces(self, upload: str) -> Iterator[tuple[int, str]]:
        place: Any = self._place
        for page in self._s3.get_paginator("list_parts").paginate(**place, UploadId=upload):
            for part in page.get("Parts", []):
                yield part["PartNumber"], part["ETag"]

    def _sent(
        self, upload: str, number: int, piece: bytes, present: str | None, counted: Counted
    ) -> CompletedPartTypeDef:
        etag = present
        if etag is None or etag.strip('"') != hashlib.md5(piece, usedforsecurity=False).hexdigest():
            place: Any = self._place
            etag = self._s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=piece)["ETag"]
        counted(len(piece))
        return {"PartNumber": number, "ETag": etag}


def read_manifest(s3: S3Client, bucket: str, key: str) -> bytes | None:
    """An encoded manifest; None where there is no such object. Raises errors of the SDK."""
    found = _if_there(partial(s3.get_object, Bucket=bucket, Key=key))
    return None if found is None else found["Body"].read(manifest.MAX_BYTES + 1)


def _if_there(call: Callable[[], Answer]) -> Answer | None:
    """The answer of the store; None where it says that there is no such object."""
    try:
        return call()
    except ClientError as error:
        if _status(error) == 404:
            return None
        raise


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Turn errors of the SDK into StoreError."""
    try:
        yield
    except ClientError as error:
        code, status = error.response.get("Error", {}).get("Code", ""), _status(error)
        hint = ": check the keys and their rights" if status in (401, 403) else ""
        raise StoreError(f"the store answered {status} {code}{hint}", retry=status >= 500, status=status) from None
    except BotoCoreError as error:
        raise StoreError(f"the store does not answer: {why_unreachable(error)}", retry=True) from None


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
