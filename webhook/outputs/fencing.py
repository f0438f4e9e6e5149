"""Whether a lease may replace a published output: fencing tokens first, then the age of the content.

An output may be replaced by a lease with the same or a later fencing token. It may not be replaced by a result of older
content, which a lease has in hand when a region of the input's store served a copy that is behind.
"""

from __future__ import annotations

from datetime import datetime

from webhook.config import Pipeline
from webhook.ledger.ledger import LiveLease
from webhook.outputs import keys
from webhook.storage import ObjectHead


class LeaseNotLive(Exception):
    """The lease has ended, or a result with a later token is published already."""


class ReplicaBehind(Exception):
    """There is a result of newer content than what was fetched: a region of the input's store is behind."""


class AnotherPipelines(Exception):
    """An output of another pipeline is there: two pipelines have the same output place."""


def require_own(head: ObjectHead, pipeline: str) -> None:
    """Check that an output is of the pipeline with this name, or names none. Raises AnotherPipelines."""
    other = keys.pipeline_of(head.metadata)
    if other not in ("", pipeline):
        raise AnotherPipelines(
            f"An output of the pipeline {other} lies where that of {pipeline} belongs: give the two pipelines outputs "
            "of their own."
        )


def require_replaceable(
    head: ObjectHead, lease: LiveLease, pipeline: Pipeline, etag: str, modified: datetime | None
) -> None:
    """Check that a lease may replace an output with a result of an input with this ETag and Last-Modified.

    An output without a fencing token was written by another program under a name that belongs to Yurt: it may be
    replaced.

    Raises:
        LeaseNotLive: the output was written under a later token.
        ReplicaBehind: the output was made from newer content.

    """
    if keys.token_of(head.metadata) > lease.token:
        raise LeaseNotLive
    if _is_of_newer_content(head, etag, modified) and _is_recent(head, lease, pipeline):
        raise ReplicaBehind("there is a result of newer content already: a region of the store is behind")


def _is_of_newer_content(head: ObjectHead, etag: str, modified: datetime | None) -> bool:
    """Whether an output was made from content that may be newer than what this lease fetched."""
    published = keys.input_modified(head.metadata)
    if published is None or modified is None or keys.is_made_from(head.metadata, etag):
        return False
    return published >= modified  # HTTP gives whole seconds: of two contents of one second neither is known to be newer


def _is_recent(head: ObjectHead, lease: LiveLease, pipeline: Pipeline) -> bool:
    """Whether an output is so young that a region may not yet have had the content it was made from.

    After that time what was fetched is the truth, though its Last-Modified is older: a rename may keep an old one.
    """
    # Ages, each by a clock of its own: a database whose clock is behind the store's would find every output young.
    lag_seconds = pipeline.replica_lag_seconds
    return lag_seconds > 0 and head.age_seconds - max(0.0, lease.held_seconds) < lag_seconds
