from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from webhook.api.filters import Choice, Filter
from webhook.ledger.cursor import Cursor

CURSOR = Cursor(datetime(2026, 1, 1, tzinfo=UTC), 7)


def test_a_filter_selects_by_what_is_given_and_pages_by_the_cursor() -> None:
    chosen = Filter(older_seconds=5, after=str(CURSOR))
    assert chosen.filters() == {"older_seconds": 5}
    assert chosen.cursor == CURSOR
    assert Filter().filters() == {}
    assert Filter().cursor is None


@pytest.mark.parametrize(
    "fields",
    [
        {"older": 5},
        {"older_seconds": -1},
        {"older_seconds": float("nan")},
        {"newer_seconds": float("inf")},
        {"after": "yesterday"},
        {"after": f"{CURSOR}\n"},
    ],
)
def test_a_typo_or_an_impossible_value_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Filter.model_validate(fields)


@pytest.mark.parametrize("fields", [{"all": True}, {"ids": [1]}, {"older_seconds": 5}, {"all": True, "dry_run": True}])
def test_a_choice_names_rows_or_says_all(fields: dict[str, Any]) -> None:
    assert Choice.model_validate(fields).all == ("all" in fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dry_run": True},
        {"after": str(CURSOR)},
        {"all": True, "ids": [1]},
        {"all": True, "older_seconds": 5},
        {"ids": []},
        {"ids": [0]},
        {"ids": [2**63]},
        {"ids": [1] * 1001},
    ],
)
def test_a_choice_of_nothing_or_of_both_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Choice.model_validate(fields)
