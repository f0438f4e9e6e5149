"""Amounts are written with all digits."""

from __future__ import annotations

from decimal import Decimal

import pytest

from webhook.usd import exact


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0", "0"),
        ("0E-20", "0"),
        ("1E+1", "10"),
        ("100", "100"),
        ("12.500", "12.5"),
        ("0.00003472222222222222", "0.00003472222222222222"),
        ("1E-9", "0.000000001"),
    ],
)
def test_an_amount_has_no_exponent_and_no_empty_digits(usd: str, text: str) -> None:
    assert exact(Decimal(usd)) == text
