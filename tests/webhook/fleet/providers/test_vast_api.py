"""Errors of Vast.ai are told apart by their codes, and a daily quota by when it is reset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from webhook.fleet.providers import OfferGone, ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.http_api import ApiAnswer
from webhook.fleet.providers.vast_api import code_of, failure, seconds_until_reset, succeeded

EVENING = datetime(2026, 5, 1, 23, 0, 0, tzinfo=UTC)


def answered(status: int, value: Any = None, headers: Mapping[str, str] | None = None) -> ApiAnswer:
    return ApiAnswer("Vast.ai", status, value, str(value), headers or {})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "auth_error", ProviderRefused),
        (404, "no_such_ask", OfferGone),
        (410, "no_such_ask", OfferGone),
        (429, "search_quota_exceeded", ProviderBusy),
        (429, "", ProviderBusy),
        (404, "no_such_user", ProviderRefused),
        (403, "", ProviderRefused),
        (400, "invalid_args", ProviderRefused),
        (502, "", ProviderError),
    ],
)
def test_each_code_stands_for_an_error(status: int, code: str, kind: type[ProviderError]) -> None:
    assert type(failure(answered(status, {"success": False, "error": code}), "does not")) is kind


def test_an_error_may_come_with_a_status_of_success() -> None:
    answer = answered(200, {"success": False, "error": "other", "msg": "no"})
    assert not succeeded(answer)
    assert type(failure(answer, "does not")) is ProviderError
    assert succeeded(answered(200, {"offers": []}))
    assert code_of(answered(500, {"error": {"code": 1}})) == ""


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 3_600),
        ("soon", 3_600),
        ("7200", 7_200),
        ("1", 60),
        ("999999", 86_400),
        (str(int(EVENING.timestamp()) + 1_800), 1_800),
        (str(int(EVENING.timestamp()) - 1_800), 60),
    ],
)
def test_a_quota_is_used_up_until_it_is_reset(said: str | None, seconds: float) -> None:
    headers = {} if said is None else {"x-ratelimit-reset": said}
    assert seconds_until_reset(headers, EVENING) == seconds
