"""Listing and reading a real local bucket over HTTP."""

from __future__ import annotations

import pytest

from infra.demo.results import ResultsError, listing, read
from infra.interrupts import Interrupted, Interrupts
from tests.infra.demo.fixtures import etag
from tests.infra.local.running import RunningBucket


def test_objects_are_listed_and_read_with_type_and_metadata(local: RunningBucket) -> None:
    s3 = local.s3()
    bucket = local.new_bucket(s3)
    s3.put_object(
        Bucket=bucket, Key="results/a b.webp", Body=b"picture", ContentType="image/webp", Metadata={"Yurt-Token": "41"}
    )
    s3.put_object(Bucket=bucket, Key="other", Body=b"other")
    assert listing(s3, bucket, "results/") == {"results/a b.webp": etag(b"picture")}
    [stored] = read(s3, bucket, ["results/a b.webp"], Interrupts()).values()
    assert (stored.etag, stored.content, stored.content_type) == (etag(b"picture"), b"picture", "image/webp")
    assert stored.metadata == {"yurt-token": "41"}


def test_an_interrupt_ends_reading(local: RunningBucket) -> None:
    interrupts = Interrupts()
    interrupts.count = 1
    with pytest.raises(Interrupted):
        read(local.s3(), "photos-in", ["a.jpg"], interrupts)


def test_a_bucket_that_cannot_be_read_is_named(local: RunningBucket) -> None:
    with pytest.raises(ResultsError, match="no-such-bucket cannot be read"):
        listing(local.s3(), "no-such-bucket")
    with pytest.raises(ResultsError, match="photos-in cannot be read"):
        read(local.s3(), "photos-in", ["missing.jpg"], Interrupts())
