"""The notification hub of the bucket: gives every change its place in the order of events and queues its event.

One region of a global bucket is its hub. A change made there reaches the hub at once; a change made in another region
only after it was replicated, so its event carries a late versionstamp and an early Last-Modified. Between the hub and
the webhook events are duplicated, reordered, held back and lost, as the disorder asks for.

Everything here runs on one event loop, so there are no locks; changes have to arrive in the order of their commits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from infra.local.counts import Counts
from infra.local.delivery import Delivery, client
from infra.local.disorder import fate
from infra.local.notifications import NotificationTarget, key_pattern
from infra.local.options import Disorder, Posting
from infra.local.payload import Change, HubEvent

MAX_PENDING = 200_000
"""Most events and copies that one bucket queues. Further ones are discarded and counted, to bound memory."""


class NotificationHub:
    """Orders and announces changes. To be made inside a running event loop, and closed."""

    def __init__(self, disorder: Disorder, posting: Posting) -> None:
        self.counts = Counts()
        self._disorder = disorder
        self._posting = posting
        self._client = client(posting)
        self._notifications: dict[str, NotificationTarget] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._newest: dict[tuple[str, str], datetime] = {}
        self._commit_version = 0
        self._loop = asyncio.get_running_loop()

    def notifications(self, bucket: str) -> NotificationTarget | None:
        """A bucket's notification configuration."""
        return self._notifications.get(bucket)

    def configure(self, bucket: str, notifications: NotificationTarget | None) -> None:
        """Set or clear a bucket's webhook. Queued events go to the new webhook; clearing discards them."""
        if notifications is None:
            self._notifications.pop(bucket, None)
            if bucket in self._deliveries:
                self._deliveries[bucket].clear()
            return
        self._notifications[bucket] = notifications
        if bucket not in self._deliveries:
            self._deliveries[bucket] = Delivery(notifications, self._posting, self.counts, self._client, MAX_PENDING)
        self._deliveries[bucket].notifications = notifications

    def enter(self, changes: Sequence[Change], region: str | None = None) -> None:
        """Enter the changes of one commit: at once, or when another region's replication has ended."""
        self.counts.writes += len(changes)
        delay_seconds = self._disorder.region_delay_seconds.get(region, 0.0) if region else 0.0
        if delay_seconds:
            self.counts.late += len(changes)
            self._loop.call_later(delay_seconds, self._arrive, changes)
        else:
            self._commit(changes)

    @property
    def pending(self) -> int:
        """Changes and events that are neither posted nor lost."""
        return self.counts.late + sum(delivery.pending for delivery in self._deliveries.values())

    async def drained(self) -> None:
        """Wait until no change and no event is pending."""
        while self.pending:  # noqa: ASYNC110 - many places settle events, and none of them has to know
            await asyncio.sleep(0.005)

    def stats(self) -> dict[str, object]:
        """The counts, and the number of pending events."""
        return asdict(self.counts) | {"pending": self.pending}

    async def close(self) -> None:
        """Stop posting. Pending events are discarded."""
        for delivery in self._deliveries.values():
            await delivery.close()
        await self._client.aclose()

    def _arrive(self, changes: Sequence[Change]) -> None:
        self.counts.late -= len(changes)
        self._commit([change for change in changes if not self._is_superseded(change)])

    def _is_superseded(self, change: Change) -> bool:
        newest = self._newest.get((change.bucket, change.key))
        if newest is None or newest <= change.modified:
            return False
        self.counts.superseded += 1
        return True

    def _commit(self, changes: Sequence[Change]) -> None:
        # From the clock, so that after a restart the versionstamps are still greater than those in a ledger.
        self._commit_version = max(self._commit_version + 1, time.time_ns() // 1000)
        received_at = datetime.now(UTC)
        for order, change in enumerate(changes):
            if self._disorder.drop_superseded:
                self._newest[change.bucket, change.key] = change.modified
            self._announce(HubEvent(change, self._commit_version.to_bytes(8) + order.to_bytes(2), received_at))

    def _announce(self, event: HubEvent) -> None:
        notifications = self._notifications.get(event.change.bucket)
        if notifications is None or not notifications.enabled or not _passes(notifications.filter, event):
            self.counts.unannounced += 1
        else:
            self.counts.events += 1
            self._send(event, self._deliveries[event.change.bucket])

    def _send(self, event: HubEvent, delivery: Delivery) -> None:
        decision = fate(self._disorder, self.counts.events)
        if decision.dropped:
            self.counts.dropped += 1
            return
        self.counts.reordered += decision.reordered
        self.counts.held += decision.held
        delivery.put(event, decision.wait_seconds)
        if decision.copy_wait_seconds is not None:
            self.counts.duplicates += 1
            delivery.put(event, decision.copy_wait_seconds)


def _passes(expression: str, event: HubEvent) -> bool:
    pattern = key_pattern(expression)
    return pattern is None or pattern.search(event.change.key) is not None
