"""Pages of a listing, and which of them can be believed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from webhook.events import ListedObject
from webhook.storage import ListingPage, ObjectHead, StoreError

SOURCE = "sweep"
"""Of the hints that sweeps give."""


class ListingStore(Protocol):
    """The store, as far as sweeps need it: a ``webhook.storage.Store``, or a simulated one."""

    async def list_page(
        self, bucket: str, prefix: str, *, after: str = "", most: int = 1000, modified_since: datetime | None = None
    ) -> ListingPage:
        """Objects whose keys come after one, in the order of their bytes. Raises StoreError."""

    async def head(self, bucket: str, key: str) -> ObjectHead | None:
        """One object, or None where there is none. Raises StoreError."""

    async def read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str] | None:
        """Content and ETag of a small object, or None where there is none. Raises StoreError."""


class UntrustedListing(StoreError):
    """What the store listed cannot be right."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=True)


class QueryIgnored(Exception):
    """The store does not know how to list what changed since a time."""


def checked(page: ListingPage, prefix: str, after: str) -> list[ListedObject]:
    """The page's objects, but for those whose keys PostgreSQL cannot hold. Raises UntrustedListing."""
    objects, last = [], after
    for item in page.objects:
        # Code points have the order of their bytes in UTF-8.
        if item.key <= last or not item.key.startswith(prefix):
            raise UntrustedListing(f"the listing is not in order: {item.key!r} comes after {last!r}")
        last = item.key
        if "\0" not in item.key:
            objects.append(item)
    if page.more and not objects:
        raise UntrustedListing(f"the listing makes no progress after {after!r}")
    return objects


def check_query(page: ListingPage, since: datetime) -> None:
    """Whether the store listed only what was written since a time. Raises QueryIgnored."""
    if any(item.modified < since - timedelta(seconds=1) for item in page.objects):
        raise QueryIgnored
