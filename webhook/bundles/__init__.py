"""Bundles of functions in the bucket: each one object, named by the SHA-256 of its bytes, so that it never changes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from webhook.config import ModelSettings, Place, ServerSettings
from webhook.storage import ObjectStore
from workers.protocol import BundleSource, Download

DEFAULT_FOLDER = "bundles/"
"""In the bucket of the first model, where no place is set."""
_GET_SECONDS = 3_600
_PUT_SECONDS = 900


class Bundles:
    """The bundles of one installation."""

    def __init__(
        self, settings: ServerSettings, models: Callable[[], Mapping[str, ModelSettings]], store: ObjectStore
    ) -> None:
        """``models`` gives those that are defined now."""
        self._settings = settings
        self._models = models
        self._store = store

    @property
    def place(self) -> Place | None:
        """Where bundles are, and below it calls and their values. None: neither a place nor a model is configured."""
        if self._settings.bundles is not None:
            prefix = self._settings.bundles.prefix.rstrip("/")
            return Place(bucket=self._settings.bundles.bucket, prefix=f"{prefix}/" if prefix else "")
        first = next(iter(self._models().values()), None)
        return None if first is None else Place(bucket=first.source.bucket, prefix=DEFAULT_FOLDER)

    async def size(self, root: str) -> int | None:
        """Return the bytes of a bundle; None where it is not in the bucket. Raises StoreError."""
        place = self.place
        head = await self._store.head(place.bucket, place.prefix + root) if place else None
        return None if head is None else head.size

    async def there(self, root: str) -> bool:
        """Whether a bundle is in the bucket. Raises StoreError."""
        return await self.size(root) is not None

    def presigned_put(self, root: str, size: int) -> Download:
        """Sign the upload of a bundle: with its length, and its digest, by which the store refuses other bytes."""
        place = self._placed()
        headers = {
            "content-type": "application/zip",
            "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(root)).decode(),
        }
        url = self._store.presigner.url(
            "PUT", place.bucket, place.prefix + root, expires_seconds=_PUT_SECONDS,
            headers={**headers, "content-length": str(size)},
        )  # fmt: skip
        return Download(url=url, headers=headers)

    def source(self, root: str, size: int) -> BundleSource:
        """Where a worker finds a bundle."""
        place = self._placed()
        url = self._store.presigner.url("GET", place.bucket, place.prefix + root, expires_seconds=_GET_SECONDS)
        return BundleSource(root=root, size=size, download=Download(url=url))

    def _placed(self) -> Place:
        place = self.place
        assert place is not None  # a bundle was found there, or its place was shown
        return place
