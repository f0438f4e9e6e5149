"""The form of secrets that Yurt draws."""

from __future__ import annotations

import pytest

from webhook.ledger.secret_texts import is_well_formed, new_secret

PREFIX = "yurt_app_"


def test_each_text_is_another_and_well_formed() -> None:
    drawn = {new_secret(PREFIX) for _ in range(100)}
    assert len(drawn) == 100
    assert all(is_well_formed(secret, PREFIX) and len(secret) == len(PREFIX) + 49 for secret in drawn)


@pytest.mark.parametrize("position", range(len(PREFIX), len(PREFIX) + 49, 7))
def test_a_mistyped_text_is_told_apart(position: int) -> None:
    secret = new_secret(PREFIX)
    other = "a" if secret[position] != "a" else "b"
    assert not is_well_formed(secret[:position] + other + secret[position + 1 :], PREFIX)
    assert not is_well_formed(secret[:position] + secret[position + 1 :], PREFIX)
    assert not is_well_formed(secret, "yurt_bpp_")
