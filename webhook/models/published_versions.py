"""Lists and removes the versions of a model that were published below one prefix of a bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from webhook.models.publish import read_manifest, store_errors
from workers.models import manifest
from workers.models.manifest import ModelManifest

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_ROOT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """One version of a model in its bucket."""

    root: str
    published: datetime | None
    """When its manifest was written; None: it has none, since publishing it was interrupted."""
    is_current: bool
    """Whether new leases get it."""


class PublishedVersions:
    """The versions below one prefix.

    Args:
        s3: Client of the store.
        bucket: Where the model is.
        folder: Prefix of the model, with a slash at its end.

    """

    def __init__(self, s3: S3Client, bucket: str, folder: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._folder = folder

    def all(self) -> list[PublishedVersion]:
        """Every version, the latest first. Raises StoreError."""
        with store_errors():
            current, dates = "", {}
            found = read_manifest(self._s3, self._bucket, self._folder + manifest.FILE_NAME)
            if found is not None:
                current = manifest.root_of(found)
            for root in self._roots():
                dates[root] = self._written(root)
        versions = [PublishedVersion(root, date, root == current) for root, date in dates.items()]
        return sorted(versions, key=lambda each: each.published.timestamp() if each.published else 0.0, reverse=True)

    def manifest(self, root: str) -> ModelManifest | None:
        """The manifest of a version; None where there is none. Raises StoreError, ValueError."""
        with store_errors():
            encoded = read_manifest(self._s3, self._bucket, f"{self._folder}{root}/{manifest.FILE_NAME}")
        return None if encoded is None else ModelManifest.decode(encoded)

    def keys(self, root: str) -> list[str]:
        """All keys of a version, its manifest first: without it the version is not there. Raises StoreError."""
        with store_errors():
            listed = list(self._keys(f"{self._folder}{root}/"))
        own = f"{self._folder}{root}/{manifest.FILE_NAME}"
        return sorted(listed, key=lambda key: (key != own, key))

    def remove(self, keys: list[str]) -> None:
        """Delete these keys, in their order. Raises StoreError."""
        with store_errors():
            for key in keys:
                self._s3.delete_object(Bucket=self._bucket, Key=key)

    def _roots(self) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._folder, Delimiter="/"
        )
        for page in pages:
            for each in page.get("CommonPrefixes", []):
                name = each.get("Prefix", "").removeprefix(self._folder).rstrip("/")
                if _ROOT.fullmatch(name):
                    yield name

    def _keys(self, prefix: str) -> Iterator[str]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            for each in page.get("Contents", []):
                yield each["Key"]

    def _written(self, root: str) -> datetime | None:
        prefix = f"{self._folder}{root}/{manifest.FILE_NAME}"
        found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1).get("Contents", [])
        return found[0]["LastModified"] if found and found[0]["Key"] == prefix else None
