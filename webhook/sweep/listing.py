"""Validates pages of a bucket's listing before a sweep draws conclusions from them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from webhook.events import ListedObject
from webhook.storage import ListingPage, ObjectHead, StoreError

SOURCE = "sweep"
"""``ObjectEvent.source`` of events that sweeps record."""


class ListingStore(Protocol):
    """What sweeps call of the store: implemented by ``webhook.storage.ObjectStore`` and by a simulated store."""

    async def list_page(
        self, bucket: str, prefix: str, *, after: str = "", most: int = 1000, modified_since: datetime | None = None
    ) -> ListingPage:
        """List objects whose keys come after ``after``, in the order of their bytes. Raises StoreError."""

    async def head(self, bucket: str, key: str) -> ObjectHead | None:
        """Return an object's metadata, or None where there is none. Raises StoreError."""

    async def read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str] | None:
        """Return content and ETag of a small object, or None where there is none. Raises StoreError."""


class UntrustedListing(StoreError):
    """The store's listing contradicts itself or the ledger. The sweep tries the page again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=True)


class QueryIgnored(Exception):
    """The store ignored the query for objects written since a time."""


def checked(page: ListingPage, prefix: str, after: str) -> list[ListedObject]:
    """Return the page's objects, except those whose keys PostgreSQL cannot hold.

    Raises UntrustedListing where the keys are not in order or the listing makes no progress.
    """
    objects, last = [], after
    for item in page.objects:
        # Comparing strings compares code points, which have the order of their bytes in UTF-8.
        if item.key <= last or not item.key.startswith(prefix):
            raise UntrustedListing(f"the listing is not in order: {item.key!r} comes after {last!r}")
        last = item.key
        if "\0" not in item.key:
            objects.append(item)
    if page.more and not objects:
        raise UntrustedListing(f"the listing makes no progress after {after!r}")
    return objects


def check_query(page: ListingPage, since: datetime) -> None:
    """Check that the store listed only objects written since a time. Raises QueryIgnored."""
    # One second less: Last-Modified has whole seconds in some stores.
    if any(item.modified < since - timedelta(seconds=1) for item in page.objects):
        raise QueryIgnored
