from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config as BotoConfig
from types_boto3_s3.client import S3Client

from infra.cors import CorsError, CorsPlan, CorsRule, apply_cors, plan_cors, wanted_rules
from tests.infra.local.running import RunningBucket
from webhook.config import Config

APP = "https://app.example.com"
OTHERS = CorsRule(("https://other.example",), ("GET",), name="theirs")


def config(output: str = "s3://photos-out/") -> Config:
    return Config.model_validate({"pipelines": {"photos": {"input": "s3://photos-in/", "output": output}}})


def put(s3: Any, bucket: str, *rules: CorsRule) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule.to_s3() for rule in rules]})


def test_pages_upload_into_inputs_and_read_from_outputs() -> None:
    rules = wanted_rules(config(), [APP, APP + "/"])
    assert {bucket: (rule.origins, rule.methods) for bucket, rule in rules.items()} == {
        "photos-in": ((APP,), ("GET", "HEAD", "POST", "PUT")),
        "photos-out": ((APP,), ("GET", "HEAD")),
    }
    assert rules["photos-out"].exposed == ("ETag",)


def test_a_bucket_that_is_both_has_one_rule() -> None:
    pipelines = {"p": {"input": "s3://both/in/", "output": "s3://both/out/"}}
    [(bucket, rule)] = wanted_rules(Config.model_validate({"pipelines": pipelines}), [APP]).items()
    assert (bucket, rule.methods) == ("both", ("GET", "HEAD", "POST", "PUT"))


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173", "http://localhost:*", "https://*.example.com", "*"])
def test_origins(origin: str) -> None:
    assert wanted_rules(config(), [origin])["photos-in"].origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    ["app.example.com", f"{APP}/path", "", "null", "file://x", "https://a b", "https://*.*.example", "HTTPS://A"],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(CorsError, match="is no origin: write scheme, host and port"):
        wanted_rules(config(), [origin])


def test_rules_of_others_are_kept_before_ours_and_ours_is_replaced(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    put(s3, bucket, OTHERS)
    wanted = wanted_rules(config(), [APP])["photos-in"]
    first = plan_cors(s3, bucket, wanted)
    assert [line.split() for line in first.describe()] == [
        ["keep", "GET", "from", "https://other.example"],
        ["add", "GET,", "HEAD,", "POST,", "PUT", "from", APP],
    ]
    apply_cors(s3, first)
    assert plan_cors(s3, bucket, wanted).is_set
    moved = replace(wanted, origins=("https://new.example",))
    second = plan_cors(s3, bucket, moved)
    assert not second.is_set
    assert [line.split() for line in second.describe()] == [
        ["keep", "GET", "from", "https://other.example"],
        ["add", "GET,", "HEAD,", "POST,", "PUT", "from", "https://new.example"],
        ["remove", "GET,", "HEAD,", "POST,", "PUT", "from", APP],
    ]
    apply_cors(s3, second)
    found = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert [rule["AllowedOrigins"] for rule in found] == [["https://other.example"], ["https://new.example"]]


def test_a_rule_that_is_there_under_no_id_is_not_added_again() -> None:
    class ForgetfulStore:
        def get_bucket_cors(self, **_: Any) -> dict[str, Any]:
            return {"CORSRules": [{name: value for name, value in wanted.to_s3().items() if name != "ID"}]}

    wanted = wanted_rules(config(), [APP])["photos-in"]
    assert plan_cors(ForgetfulStore(), "photos-in", wanted).is_set


def test_too_many_rules_are_refused(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    put(s3, bucket, *(CorsRule((f"https://{n}.example",), ("GET",)) for n in range(100)))
    with pytest.raises(CorsError, match="has 100 CORS rules"):
        plan_cors(s3, bucket, wanted_rules(config(), [APP])["photos-in"])


def test_errors_are_sentences(local: RunningBucket, s3: S3Client) -> None:
    with pytest.raises(CorsError, match=r"the CORS rules of no-such-bucket cannot be read: .*NoSuchBucket"):
        plan_cors(s3, "no-such-bucket", OTHERS)
    with pytest.raises(CorsError, match="cannot be set"):
        apply_cors(s3, CorsPlan("no-such-bucket", (), (OTHERS,)))
    nowhere = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="auto",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=BotoConfig(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(CorsError, match=r"cannot be read: .*127\.0\.0\.1:9"):
        plan_cors(nowhere, "photos-in", OTHERS)


def test_the_rule_on_the_page_is_the_one_that_is_set() -> None:
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    [written] = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert json.loads(written)["CORSRules"] == [wanted_rules(config(), [APP])["photos-in"].to_s3()]
