"""The versions of a model that a bucket has, and their removal."""

from __future__ import annotations

from pathlib import Path

from tests.infra.local.running import RunningBucket
from tests.webhook.models.stored import FOLDER, published
from webhook.models.published_versions import PublishedVersions


def test_versions_are_listed_the_latest_first_and_one_is_current(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    versions = PublishedVersions(s3, bucket, FOLDER)
    assert versions.all() == []
    roots = [published(s3, bucket, tmp_path / "m", {"a": content}).root for content in (b"1", b"2")]
    s3.put_object(Bucket=bucket, Key=f"{FOLDER}{'0' * 64}/a", Body=b"interrupted")
    s3.put_object(Bucket=bucket, Key=f"{FOLDER}notes/a", Body=b"of a person")
    found = {each.root: each for each in versions.all()}
    assert set(found) == {*roots, "0" * 64}
    assert [root for root in found if found[root].is_current] == [roots[1]]
    assert found["0" * 64].published is None
    listed = versions.manifest(roots[0])
    assert listed is not None
    assert [file.path for file in listed.files] == ["a"]
    assert versions.manifest("0" * 64) is None


def test_a_version_is_removed_its_manifest_first(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    root = published(s3, bucket, tmp_path / "m", {"a": b"1", "b/c": b"2"}).root
    versions = PublishedVersions(s3, bucket, FOLDER)
    keys = versions.keys(root)
    assert keys == [f"{FOLDER}{root}/manifest.json", f"{FOLDER}{root}/a", f"{FOLDER}{root}/b/c"]
    versions.remove(keys)
    assert versions.keys(root) == []
