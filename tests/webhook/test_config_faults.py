"""Faults of a model in words."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from webhook.config_faults import in_words


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Kettle(_Strict):
    """An entry of a mapping."""

    litres: float = 1


class Kitchen(_Strict):
    """A model with a section, an optional one and a mapping of them."""

    stove_watts: int = 0
    spare: Kettle | None = None
    kettles: dict[str, Kettle] = {}


def words(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Kitchen.model_validate(fields)
    return in_words(caught.value, Kitchen, "house")


def test_the_nearest_name_is_suggested_at_every_depth() -> None:
    assert words(stove=1) == "  house.stove: there is no such setting. Did you mean `stove_watts`?"
    assert words(spare={"liters": 2}) == "  house.spare.liters: there is no such setting. Did you mean `litres`?"
    assert "`litres`" in words(kettles={"red": {"litre": 2}})


def test_where_nothing_is_near_the_known_ones_are_listed() -> None:
    assert words(xyz=1) == "  house.xyz: there is no such setting; there are: kettles, spare, stove_watts"


def test_a_value_is_never_shown() -> None:
    assert "hidden" not in words(stove_watts="hidden", spare={"litres": "hidden"})


def test_a_fault_of_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_STOVE_WATTS", "hot")
    with pytest.raises(ValidationError) as caught:
        Kitchen.model_validate({"stove_watts": "hot"})
    assert in_words(caught.value, Kitchen).startswith("  stove_watts (which YURT_STOVE_WATTS sets): ")
