"""Presigns uploads: a PUT or a browser's form for one file, bound to its type and length; parts of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from webhook.ledger.uploads import PartedUpload
from webhook.storage import ObjectMissing, ObjectStore

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1 << 20
MAX_BYTES = 5 << 40
"""Largest object of S3."""
MAX_PUT_BYTES = 5 << 30
"""Most that one PUT carries."""
PART_BYTES = 16 * MIB
MAX_PARTS = 10_000
_INLINE = ("image/", "video/", "audio/")
"""What a browser may show where it opens the object itself."""
_SCRIPTED = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class NewUpload:
    """One file that is to be uploaded."""

    bucket: str
    key: str
    size: int
    content_type: str
    create_only: bool
    """Send ``If-None-Match: *``: an object that is there is not replaced."""

    @property
    def kept_headers(self) -> dict[str, str]:
        """Headers that stay with the object."""
        headers = {"content-type": self.content_type}
        if not self.content_type.startswith(_INLINE) or self.content_type == _SCRIPTED:
            # Markup with scripts must not run in the origin of the bucket, which other files share.
            headers["content-disposition"] = "attachment"
        return headers


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A URL with the headers, or the fields of a form, that go with it."""

    url: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that the store has."""

    number: int
    size: int
    etag: str


class PartsWrong(Exception):
    """A file cannot be completed: parts are missing or have other sizes. The message names them."""


def put(store: ObjectStore, upload: NewUpload, expires_seconds: int) -> SignedRequest:
    """Presign a PUT. HTTP clients set the length themselves, so it is signed and not among the headers."""
    headers = dict(upload.kept_headers)
    if upload.create_only:
        headers["if-none-match"] = "*"
    url = store.put_presigner.url(
        "PUT", upload.bucket, upload.key, expires_seconds=expires_seconds,
        headers={**headers, "content-length": str(upload.size)},
    )  # fmt: skip
    return SignedRequest(url, headers)


def form(store: ObjectStore, upload: NewUpload, expires_seconds: int) -> SignedRequest:
    """Sign a browser's form. It knows no condition: only for keys that no other upload has."""
    url, fields = store.put_presigner.form(
        upload.bucket, upload.key, expires_seconds=expires_seconds, size=upload.size, fields=upload.kept_headers
    )
    return SignedRequest(url, fields)


def part_bytes(size: int) -> int:
    """Size of each part but the last, in whole MiB: 16 MiB, or more where there would be more than 10,000 parts."""
    fewest = -(-size // MAX_PARTS)
    return max(PART_BYTES, -(-fewest // MIB) * MIB)


async def begin(store: ObjectStore, upload: NewUpload) -> str:
    """Begin a multipart upload. Returns the store's name of it. Raises StoreError."""
    kept = upload.kept_headers

    def create(s3: S3Client) -> str:
        disposition = {"ContentDisposition": kept["content-disposition"]} if "content-disposition" in kept else {}
        begun = s3.create_multipart_upload(
            Bucket=upload.bucket,
            Key=upload.key,
            ContentType=upload.content_type,
            **disposition,  # type: ignore[arg-type]
        )
        return begun["UploadId"]

    return await store.call(create)


def part(store: ObjectStore, upload: PartedUpload, number: int, expires_seconds: int) -> str:
    """Presign the PUT of one part, bound to its length."""
    return store.put_presigner.url(
        "PUT", upload.bucket, upload.key, expires_seconds=expires_seconds,
        headers={"content-length": str(upload.size_of(number))},
        query={"partNumber": str(number), "uploadId": upload.store_id},
    )  # fmt: skip


async def parts(store: ObjectStore, upload: PartedUpload) -> list[StoredPart]:
    """List the parts that the store has. Raises ObjectMissing, StoreError."""
    return await store.call(partial(_listed, upload))


def _listed(upload: PartedUpload, s3: S3Client) -> list[StoredPart]:
    pages = s3.get_paginator("list_parts").paginate(Bucket=upload.bucket, Key=upload.key, UploadId=upload.store_id)
    return [
        StoredPart(entry["PartNumber"], entry["Size"], entry["ETag"])
        for page in pages
        for entry in page.get("Parts", [])
    ]


async def complete(store: ObjectStore, upload: PartedUpload) -> str:
    """Put the parts together. Returns the object's ETag.

    A completion whose answer was lost is found out. Raises PartsWrong, ObjectMissing where the store does not know the
    upload, PreconditionFailed where an object is in the way, StoreError.
    """
    try:
        stored = await parts(store, upload)
        _check(upload, stored)
        return await store.call(partial(_completed, upload, stored))
    except ObjectMissing:
        head = await store.head(upload.bucket, upload.key, consistent=True)
        # An ETag of parts ends in their number.
        if head is None or head.size != upload.bytes or not head.etag.endswith(f"-{upload.parts}"):
            raise
        return head.etag


def _check(upload: PartedUpload, stored: Sequence[StoredPart]) -> None:
    sizes = {part.number: part.size for part in stored}
    missing = [number for number in range(1, upload.parts + 1) if number not in sizes]
    wrong = [number for number, size in sizes.items() if number > upload.parts or size != upload.size_of(number)]
    if missing:
        raise PartsWrong(f"{len(missing)} of {upload.parts} parts are missing: {_few(missing)}. Upload them first")
    if wrong:
        raise PartsWrong(f"parts have another size than was said: {_few(wrong)}. Upload them again")


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown} …" if len(numbers) > 10 else shown


def _completed(upload: PartedUpload, stored: Sequence[StoredPart], s3: S3Client) -> str:
    condition = {"IfNoneMatch": "*"} if upload.create_only else {}
    done = s3.complete_multipart_upload(
        Bucket=upload.bucket,
        Key=upload.key,
        UploadId=upload.store_id,
        MultipartUpload={"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in stored]},
        **condition,  # type: ignore[arg-type]
    )
    return done["ETag"].strip('"')


async def abort(store: ObjectStore, upload: PartedUpload) -> None:
    """Give up a multipart upload: the store forgets its parts. Raises StoreError."""

    def aborted(s3: S3Client) -> None:
        s3.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.store_id)

    try:
        await store.call(aborted)
    except ObjectMissing:  # it was aborted before
        return
