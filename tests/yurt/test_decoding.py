"""JSON becomes typed values, and what does not fit is refused without being shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from yurt.decoding import DecodingError, decode_json


@dataclass(frozen=True, slots=True)
class Coin:
    """A part of `Purse`."""

    worth: int
    metal: Literal["gold", "silver"] = "gold"


@dataclass(frozen=True, slots=True)
class Purse:
    """Has a field of each kind."""

    owner: str
    weight: float
    open: bool
    coins: tuple[Coin, ...]
    first: Coin | None
    labels: Mapping[str, Any] | None
    at: datetime | None = None


WHOLE = (
    '{"owner": "a", "weight": 2, "open": true, "coins": [{"worth": 1, "more": 3}, {"worth": 2, "metal": "silver"}],'
    ' "first": null, "labels": {"a": [1]}, "at": "2026-01-01T00:00:00Z", "unknown": {}}'
)


def test_known_fields_are_read_and_unknown_ones_left_out() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    purse = decode_json(Purse, WHOLE)
    assert purse == Purse("a", 2.0, True, (Coin(1), Coin(2, "silver")), None, {"a": [1]}, at)
    assert isinstance(purse.weight, float)
    assert decode_json(Purse, WHOLE.replace(', "at": "2026-01-01T00:00:00Z"', "")).at is None


@pytest.mark.parametrize(
    ("part", "instead", "fault"),
    [
        ('"owner": "a"', '"owner": 5', "owner is of another type"),
        ('"owner": "a", ', "", "owner is missing"),
        ('"weight": 2', '"weight": true', "weight is of another type"),
        ('"open": true', '"open": 1', "open is of another type"),
        ('"worth": 1', '"worth": "secret"', "worth is of another type"),
        ('"worth": 1', '"worth": true', "worth is of another type"),
        ('"silver"', '"secret"', "metal has a value that this version does not know"),
        ('"silver"', '["secret"]', "metal has a value that this version does not know"),
        ('"first": null', '"first": []', "first is of another type"),
        ('"labels": {"a": [1]}', '"labels": []', "labels is of another type"),
        ("00:00:00Z", "00:00:00", "at has no time zone"),
        ("2026-01", "secret", "at is no time"),
        ("{", "", "it is no JSON"),
    ],
)
def test_what_does_not_fit_is_named_and_not_shown(part: str, instead: str, fault: str) -> None:
    with pytest.raises(DecodingError, match=fault) as refused:
        decode_json(Purse, WHOLE.replace(part, instead, 1))
    assert "secret" not in str(refused.value)


def test_a_document_that_is_nested_without_end_is_no_json() -> None:
    with pytest.raises(DecodingError, match="no JSON"):
        decode_json(Purse, "[" * 100_000)
