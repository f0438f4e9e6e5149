"""Signatures that the library of Standard Webhooks verifies, and secrets that are refused without being shown."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from webhook.callbacks.signatures import CallbackSecretError, secrets_of, signed_headers


def secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def test_each_of_several_secrets_verifies_and_no_other() -> None:
    old, new, other = secret(), secret(), secret()
    headers = signed_headers("msg_1", datetime.now(UTC), '{"key": "ü"}'.encode(), [old, new])
    for known in (old, new):
        assert Webhook(known).verify('{"key": "ü"}', headers) == {"key": "ü"}
        with pytest.raises(WebhookVerificationError):
            Webhook(known).verify('{"key": "u"}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify('{"key": "ü"}', headers)


def test_a_secret_may_be_of_one_pipeline() -> None:
    of_all, of_photos = secret(), secret()
    setting = SecretStr(f" {of_all}, photos:{of_photos} ,")
    assert secrets_of(setting, "photos") == (of_all, of_photos)
    assert secrets_of(setting, "videos") == (of_all,)
    assert secrets_of(SecretStr(""), "photos") == ()


@pytest.mark.parametrize(
    "wrong", ["hunter2hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_???", "photos:hunter2hunter2", f"whsec_{'A' * 100}"]
)
def test_a_weak_secret_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(CallbackSecretError, match="YURT_CALLBACK_SECRETS: secret 2") as refused:
        secrets_of(SecretStr(f"{secret()},{wrong}"), "photos")
    assert wrong.partition("_")[2] in ("", *refused.value.args) or wrong not in str(refused.value)
