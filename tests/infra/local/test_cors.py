"""CORS of the local bucket over HTTP, as a browser asks."""

from __future__ import annotations

import httpx
import pytest
from types_boto3_s3.client import S3Client

from tests.infra.local.running import RunningBucket

PAGE = "http://localhost:5173"
RULES = [
    {
        "AllowedOrigins": ["http://localhost:*", "https://app.example.com"],
        "AllowedMethods": ["PUT", "GET"],
        "AllowedHeaders": ["content-*", "X-Amz-Meta-Colour"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 600,
    },
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]


@pytest.fixture
def bucket(local: RunningBucket, s3: S3Client) -> str:
    name = local.new_bucket(s3)
    s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": RULES})  # type: ignore[typeddict-item]
    s3.put_object(Bucket=name, Key="a", Body=b"abc")
    return name


def preflight(local: RunningBucket, path: str, **asked: str) -> httpx.Response:
    names = {"origin": "origin", "method": "access-control-request-method", "headers": "access-control-request-headers"}
    return local.http.options(local.endpoint + path, headers={names[name]: value for name, value in asked.items()})


def test_an_allowed_upload_is_allowed_with_what_a_browser_checks(local: RunningBucket, bucket: str) -> None:
    answer = preflight(local, f"/{bucket}/new", origin=PAGE, method="PUT", headers="Content-Type, x-amz-meta-colour")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "content-type, x-amz-meta-colour"
    assert answer.headers["access-control-max-age"] == "600"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "asked",
    [
        {"origin": "http://localhost.evil.example:80", "method": "PUT"},
        {"origin": "https://localhost:5173", "method": "PUT"},
        {"origin": "null", "method": "PUT"},
        {"origin": PAGE, "method": "DELETE"},
        {"origin": PAGE, "method": "PUT", "headers": "content-type, authorization"},
        {"origin": "https://app.example.com.evil.example", "method": "GET"},
    ],
)
def test_anything_else_is_refused(local: RunningBucket, bucket: str, asked: dict[str, str]) -> None:
    answer = preflight(local, f"/{bucket}/new", **asked)
    assert answer.status_code == 403
    assert "AccessForbidden" in answer.text
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(("asked", "missing"), [({"method": "PUT"}, "Origin"), ({"origin": PAGE}, "Request-Method")])
def test_a_question_without_its_parts_is_a_bad_request(
    local: RunningBucket, bucket: str, asked: dict[str, str], missing: str
) -> None:
    answer = preflight(local, f"/{bucket}/new", **asked)
    assert answer.status_code == 400
    assert missing in answer.text


def test_any_origin_is_answered_with_a_star(local: RunningBucket, bucket: str) -> None:
    answer = local.http.head(local.url("HEAD", bucket, "a"), headers={"origin": "https://anyone.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("path", "status"), [("a", 200), ("missing", 404)])
def test_a_page_may_read_answers_and_errors(local: RunningBucket, bucket: str, path: str, status: int) -> None:
    answer = local.http.get(local.url("GET", bucket, path), headers={"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == "ETag"


def test_a_page_of_another_origin_is_refused_and_gets_no_header(local: RunningBucket, bucket: str) -> None:
    answer = local.http.get(local.url("GET", bucket, "a"), headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "vary" not in answer.headers


@pytest.mark.parametrize("path", ["/no-such-bucket/a", "/_yurt/stats"])
def test_without_rules_nothing_is_allowed(local: RunningBucket, path: str) -> None:
    answer = preflight(local, path, origin=PAGE, method="GET")
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_removed_rules_allow_nothing(local: RunningBucket, s3: S3Client, bucket: str) -> None:
    s3.delete_bucket_cors(Bucket=bucket)
    assert preflight(local, f"/{bucket}/new", origin=PAGE, method="PUT").status_code == 403


def test_a_form_with_a_signed_policy_is_answered_to_its_page(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    rule = {"AllowedOrigins": ["http://localhost:*"], "AllowedMethods": ["POST"], "ExposeHeaders": ["ETag"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]
    form = s3.generate_presigned_post(bucket, "uploads/a.jpg")
    answer = local.http.post(
        f"{local.endpoint}/{bucket}", data=form["fields"], files={"file": b"abc"}, headers={"origin": PAGE}
    )
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert s3.get_object(Bucket=bucket, Key="uploads/a.jpg")["Body"].read() == b"abc"
