from __future__ import annotations

from typing import Any

import pytest
from types_boto3_s3.client import S3Client

from infra.lifecycle import ABANDONED_DAYS, RULE_ID, LifecycleError, apply_lifecycle, input_buckets, plan_lifecycle
from tests.infra.local.running import RunningBucket
from webhook.config import Config

THEIRS: dict[str, Any] = {
    "ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 30},
}  # fmt: skip
SAME: dict[str, Any] = {
    "ID": "same", "Status": "Enabled", "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
}  # fmt: skip


def put(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*rules]})


def rules_of(s3: Any, bucket: str) -> dict[str, Any]:
    return {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}


def test_files_are_uploaded_into_inputs() -> None:
    pipelines = {name: {"input": "s3://photos-in/", "output": f"s3://{name}-out/"} for name in ("a", "b")}
    assert input_buckets(Config.model_validate({"pipelines": pipelines})) == ["photos-in"]


def test_our_rule_is_added_beside_others_once(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    put(s3, bucket, THEIRS)
    plan = plan_lifecycle(s3, bucket)
    assert not plan.is_set
    assert plan.describe() == "abandoned multipart uploads are removed after 7 days, beside 1 other rules, which stay"
    apply_lifecycle(s3, plan)
    rules = rules_of(s3, bucket)
    assert set(rules) == {"theirs", RULE_ID}
    assert rules["theirs"]["Expiration"] == {"Days": 30}
    assert rules[RULE_ID]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": ABANDONED_DAYS}
    assert plan_lifecycle(s3, bucket).is_set


@pytest.mark.parametrize("wrong", [{"Status": "Disabled"}, {"Filter": {"Prefix": "a/"}}])
def test_a_rule_that_does_the_same_is_enough_and_another_is_not(
    local: RunningBucket, s3: S3Client, wrong: dict[str, Any]
) -> None:
    bucket = local.new_bucket(s3)
    put(s3, bucket, {**SAME, **wrong})
    assert not plan_lifecycle(s3, bucket).is_set
    put(s3, bucket, SAME)
    plan = plan_lifecycle(s3, bucket)
    assert plan.is_set
    assert plan.describe().startswith("abandoned multipart uploads are removed after 2 days")


def test_a_bucket_that_is_not_there_is_said(s3: S3Client) -> None:
    with pytest.raises(LifecycleError, match=r"cannot be read: .* The access key has to administer the bucket"):
        plan_lifecycle(s3, "nowhere-at-all")
