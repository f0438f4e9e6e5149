"""Files that are named by URL are downloaded whole before anything is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.local.running import RunningBucket
from webhook.models.fetched_urls import fetch, file_name, is_url
from webhook.models.local_files import NoModel


def test_a_file_is_fetched_under_its_name(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="hub/model one.onnx", Body=b"weights")
    counts: list[int] = []
    file = fetch(store.url("GET", bucket, "hub/model one.onnx"), tmp_path, counts.append)
    assert (file.name, file.read_bytes(), sum(counts)) == ("model one.onnx", b"weights", 7)
    with pytest.raises(NoModel, match="two URLs"):
        fetch(store.url("GET", bucket, "hub/model one.onnx"), tmp_path, counts.append)


def test_an_error_shows_no_query_since_it_may_be_secret(store: RunningBucket, tmp_path: Path) -> None:
    bucket = store.new_bucket(store.s3())
    with pytest.raises(NoModel, match="was answered 404") as caught:
        fetch(store.url("GET", bucket, "none.onnx"), tmp_path, lambda _: None)
    assert "Signature" not in str(caught.value)
    with pytest.raises(NoModel, match="cannot be fetched"):
        fetch("http://127.0.0.1:9/other.onnx?token=secret", tmp_path, lambda _: None)


def test_a_url_has_to_end_in_the_name_of_a_file() -> None:
    assert file_name("https://example.com/a/model.onnx?download=true") == "model.onnx"
    for url in ("https://example.com", "https://example.com/..", "https://example.com/a%0Ab"):
        with pytest.raises(NoModel, match="end in the name of a file"):
            file_name(url)
    assert is_url("https://example.com/x")
    assert not is_url("s3/x.onnx")
