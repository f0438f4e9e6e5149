"""What a bucket's notifications are to be, and what is found where they cannot be compared."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from infra.tigris import Basic, Bearer, SetupError
from tests.webhook.plane import configured, pipeline
from webhook.cli.bucket_notifications import (
    notification_findings,
    notification_plans,
    notification_secret,
    tigris_endpoint,
)
from webhook.secret_settings import Secrets


def credentials(
    webhook: str = "a-long-secret", key: str = "tsec_x", endpoint: str = "https://t3.storage.dev"
) -> Secrets:
    return Secrets(
        yurt_webhook_secrets=SecretStr(webhook),
        aws_access_key_id=SecretStr("tid_x"),
        aws_secret_access_key=SecretStr(key),
        aws_endpoint_url_s3=endpoint,
    )


def test_the_store_gets_the_first_secret_in_its_own_form() -> None:
    assert notification_secret(credentials("one,two")) == Bearer("one")
    assert notification_secret(credentials("user:password,two")) == Basic("user", "password")
    with pytest.raises(SetupError, match="YURT_WEBHOOK_SECRETS is not set"):
        notification_secret(credentials(""))


def test_the_keys_of_the_store_are_needed() -> None:
    assert tigris_endpoint(credentials()).endpoint == "https://t3.storage.dev"
    with pytest.raises(SetupError, match="AWS_SECRET_ACCESS_KEY are not set"):
        tigris_endpoint(credentials(key=""))


def test_a_bucket_that_two_pipelines_watch_has_one_plan() -> None:
    config = configured(
        {"one": pipeline(input="s3://photos/a/"), "two": pipeline(input="s3://photos/b/"), "three": pipeline("papers")}
    )
    plans = notification_plans(config, "https://yurt.example.com", Bearer("x"))
    assert [plan.bucket for plan in plans] == ["papers", "photos"]
    assert all(prefix in plans[1].filter for prefix in ("a/", "b/"))


def test_a_control_plane_that_no_store_can_reach_is_found() -> None:
    config = configured(server={"listen": "127.0.0.1:1"})
    found = {finding.subject: finding for finding in notification_findings(config, credentials())}
    assert "server.public_url is not set" in found["bucket notifications"].message
    assert "no control plane answers" in found["control plane"].message


def test_another_store_than_tigris_is_told_as_not_compared() -> None:
    config = configured(server={"listen": "127.0.0.1:1", "public_url": "http://127.0.0.1:1"})
    elsewhere = credentials(endpoint="http://127.0.0.1:1")
    found = {finding.subject: finding for finding in notification_findings(config, elsewhere)}
    assert found["notifications of inbox"].level == "warning"
    assert "not known" in found["notifications of inbox"].message
