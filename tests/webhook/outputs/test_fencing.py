"""A lease may replace what is older than its own result, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webhook.config import Pipeline
from webhook.ledger.ledger import LiveLease
from webhook.outputs.fencing import LeaseNotLive, ReplicaBehind, require_replaceable
from webhook.storage import ObjectHead

LEASE = LiveLease(1, 40, 1, "a.jpg", {}, 120, 60)
FETCHED = datetime(2026, 5, 15, 10, 20, tzinfo=UTC)


def pipeline(replica_lag_seconds: float = 30) -> Pipeline:
    return Pipeline.model_validate(
        {"input": "s3://ups/", "output": "s3://outs/", "replica_lag_seconds": replica_lag_seconds}
    )


def head(token: int | None, modified: str = "", *, etag: str = "other", age_seconds: float = 5) -> ObjectHead:
    """A published output, written so long before the lease."""
    metadata = {} if token is None else {"yurt-token": str(token), "yurt-input-etag": etag}
    if modified:
        metadata["yurt-input-modified"] = modified
    return ObjectHead("w1", FETCHED, LEASE.held_seconds + age_seconds, 1, metadata)


def moment(seconds: int) -> str:
    return (FETCHED + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    "published",
    [
        head(None),
        head(39),
        head(40),
        head(39, moment(-1)),
        head(39, moment(60), etag="fetched"),
        head(39, moment(60), age_seconds=31),
        head(39, "not a date"),
    ],
    ids=[
        "of another program",
        "of an earlier token",
        "of this lease itself",
        "of older content",
        "of the very content that was fetched",
        "of newer content, but longer ago than a region may lag",
        "without a readable date",
    ],
)
def test_it_may_be_replaced(published: ObjectHead) -> None:
    require_replaceable(published, LEASE, pipeline(), "fetched", FETCHED)


def test_a_later_token_ends_the_lease() -> None:
    with pytest.raises(LeaseNotLive):
        require_replaceable(head(41), LEASE, pipeline(), "fetched", FETCHED)


@pytest.mark.parametrize("seconds", [0, 1, 60])
def test_a_result_of_newer_content_says_that_a_region_is_behind(seconds: int) -> None:
    """Also of the same second: HTTP gives whole seconds, so neither is known to be the newer."""
    with pytest.raises(ReplicaBehind):
        require_replaceable(head(39, moment(seconds)), LEASE, pipeline(), "fetched", FETCHED)


def test_a_strongly_consistent_store_is_never_behind() -> None:
    require_replaceable(head(39, moment(60)), LEASE, pipeline(0), "fetched", FETCHED)


def test_content_without_a_date_is_not_compared() -> None:
    require_replaceable(head(39, moment(60)), LEASE, pipeline(), "fetched", None)
