"""The settings of the local bucket: its buckets and webhooks, how events are posted, and what disturbs them.

``python -m infra.local`` makes them from its command line; code that runs the bucket in its own process makes them
directly.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.notifications import NotificationTarget
from infra.local.signatures import AcceptedKeys

TOKEN_PREFIX = "YURT_NOTIFY_TOKEN"  # noqa: S105 - the name of a variable
"""Variable with the bearer token of every webhook. ``…_PHOTOS_IN`` is for the bucket ``photos-in`` alone."""


@dataclass(frozen=True, slots=True)
class Disorder:
    """What the hub does to its events between a change and its announcement. Shares are from 0 to 1."""

    duplicate_share: float = 0.0
    reorder_share: float = 0.0
    drop_share: float = 0.0
    hold_share: float = 0.0
    hold_seconds: float = 2.0
    seed: int = 0
    region_delay_seconds: dict[str, float] = field(default_factory=dict)
    """By region: how much later than its commit a write that names the region reaches the hub."""
    drop_superseded: bool = False
    """Never announce a late change that is older than the newest change of its key that the hub has announced."""


@dataclass(frozen=True, slots=True)
class Posting:
    """How events are posted to a webhook."""

    batch: int = 10
    """Most events in one request."""
    linger_seconds: float = 0.0
    """How long a batch that is not full waits for further events."""
    timeout_seconds: float = 10.0
    retries: int | None = 3
    """After the first attempt; then the events count as sent, and are lost. None: no limit."""
    backoff_seconds: float = 0.5
    """Before the first retry, doubled with each up to ``max_backoff_seconds``."""
    max_backoff_seconds: float = 30.0
    stamps: bool = False
    """Send ``object.versionstamp`` and ``object.lastModified`` as well. Tigris does not."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Everything that a local bucket is started with."""

    buckets: tuple[str, ...] = ()
    notify: dict[str, NotificationTarget] = field(default_factory=dict)
    """Webhooks, by bucket."""
    keys: AcceptedKeys = field(default_factory=AcceptedKeys)
    """Who may use the bucket."""
    listen: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    max_body_bytes: int = 256 * 1024 * 1024
    folder: Path | None = None
    """Where objects are kept between runs. None: in memory alone."""
    disorder: Disorder = field(default_factory=Disorder)
    posting: Posting = field(default_factory=Posting)


def token_for(bucket: str) -> str | None:
    """The bearer token for a bucket's webhook, from the environment: the bucket's own, or the one for all buckets."""
    own = f"{TOKEN_PREFIX}_{re.sub('[^A-Z0-9]', '_', bucket.upper())}"
    return os.environ.get(own) or os.environ.get(TOKEN_PREFIX)
