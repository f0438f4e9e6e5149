from __future__ import annotations

import pytest

from infra.local.options import LocalOptions, token_for


def test_by_default_the_bucket_is_orderly_and_on_loopback() -> None:
    options = LocalOptions()
    assert (options.listen, options.port) == ("127.0.0.1", 0)
    disorder = options.disorder
    assert not any((disorder.duplicate_share, disorder.reorder_share, disorder.drop_share, disorder.hold_share))


def test_a_buckets_own_token_goes_before_the_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_NOTIFY_TOKEN", "for-all")
    monkeypatch.setenv("YURT_NOTIFY_TOKEN_PHOTOS_IN", "its-own")
    assert token_for("photos-in") == "its-own"
    assert token_for("photos-out") == "for-all"
    monkeypatch.delenv("YURT_NOTIFY_TOKEN")
    assert token_for("photos-out") is None
