from __future__ import annotations

from typing import Any

import pytest

from infra.local.notifications import NotificationsError, NotificationTarget, WebhookAuth, key_pattern, patched

GIVEN: dict[str, Any] = {
    "enabled": True,
    "web_hook": "https://example.com/hook",
    "filter": 'WHERE `key` REGEXP "^images"',
    "auth": {"token": "s3cret"},
}


def patched_to(patch: object, before: NotificationTarget | None = None) -> NotificationTarget:
    after = patched(before, patch)
    assert after is not None
    return after


def test_what_is_set_is_read_back_masked() -> None:
    seen = patched_to(GIVEN).masked()
    assert seen == {**GIVEN, "auth": {"token": "********"}}


def test_an_empty_object_clears() -> None:
    assert patched(patched_to(GIVEN), {}) is None


def test_a_patch_changes_what_it_names_and_keeps_the_rest() -> None:
    after = patched_to({"enabled": False}, patched_to(GIVEN))
    assert (after.enabled, after.url, after.filter) == (False, GIVEN["web_hook"], GIVEN["filter"])
    assert after.auth == WebhookAuth(token="s3cret")


def test_another_kind_of_auth_replaces_the_first() -> None:
    after = patched_to({"auth": {"basic_user": "u", "basic_pass": "p"}}, patched_to(GIVEN))
    assert after.auth == WebhookAuth(basic_user="u", basic_pass="p")
    assert after.masked()["auth"] == {"basic_user": "u", "basic_pass": "********"}


def test_the_two_kinds_of_auth_become_the_header_that_tigris_sends() -> None:
    assert WebhookAuth(token="t").header() == "Bearer t"
    assert WebhookAuth(basic_user="user", basic_pass="pä:ss").header() == "Basic dXNlcjpww6Q6c3M="


def test_secrets_are_in_no_representation() -> None:
    assert "s3cret" not in repr(patched_to(GIVEN))
    assert "hunter2" not in repr(WebhookAuth(basic_user="u", basic_pass="hunter2"))


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ([], "object"),
        ({"enabled": True}, "web_hook"),
        ({**GIVEN, "webhook": "https://x"}, "webhook"),
        ({**GIVEN, "web_hook": "no url"}, "web_hook"),
        ({**GIVEN, "web_hook": "https://u:p@example.com/"}, "credentials"),
        ({**GIVEN, "auth": {}}, "either token"),
        ({**GIVEN, "auth": {"token": "s3cret", "basic_user": "u", "basic_pass": "p"}}, "either token"),
        ({**GIVEN, "auth": {"basic_user": "u"}}, "either token"),
        ({**GIVEN, "auth": {"token": "s3cret\nx: y"}}, "token"),
        ({**GIVEN, "filter": "WHERE `Event-Type` = 'x'"}, "filter"),
        ({**GIVEN, "filter": 'WHERE `key` REGEXP "("'}, "regular expression"),
        ({**GIVEN, "filter": "x" * 1001}, "filter"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_without_its_secret(patch: object, reason: str) -> None:
    with pytest.raises(NotificationsError, match=reason) as refused:
        patched(None, patch)
    assert "s3cret" not in str(refused.value)


def test_a_filter_lets_through_the_keys_in_which_its_pattern_is_found() -> None:
    pattern = key_pattern('  where `key` regexp "^(raw|up[.])/"  ')
    assert pattern is not None
    assert [bool(pattern.search(key)) for key in ("raw/1", "up./1", "upx/1", "x/raw/1")] == [
        True,
        True,
        False,
        False,
    ]
    assert key_pattern(" ") is None
