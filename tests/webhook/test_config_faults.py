"""Faults of a model in words."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webhook.config_faults import in_words


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Kettle(_Strict):
    """An entry of a mapping."""

    litres: float = 1


class GasStove(_Strict):
    """One kind of an entry that says itself which kind it is."""

    kind: Literal["gas"]
    burners: int = 4


class WoodStove(_Strict):
    """Another kind."""

    kind: Literal["wood"]
    logs: int = 2


class Kitchen(_Strict):
    """A model with a section, an optional one and a mapping of them."""

    stove_watts: int = 0
    spare: Kettle | None = None
    kettles: dict[str, Kettle] = {}
    stoves: dict[str, Annotated[GasStove | WoodStove, Field(discriminator="kind")]] = {}


def words(**fields: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Kitchen.model_validate(fields)
    return in_words(caught.value, Kitchen, "house")


def test_the_nearest_name_is_suggested_at_every_depth() -> None:
    assert words(stove=1) == "  house.stove: there is no such setting. Did you mean `stove_watts`?"
    assert words(spare={"liters": 2}) == "  house.spare.liters: there is no such setting. Did you mean `litres`?"
    assert "`litres`" in words(kettles={"red": {"litre": 2}})


def test_where_nothing_is_near_the_known_ones_are_listed() -> None:
    assert words(xyz=1) == "  house.xyz: there is no such setting; there are: kettles, spare, stove_watts, stoves"


def test_a_value_is_never_shown() -> None:
    assert "hidden" not in words(stove_watts="hidden", spare={"litres": "hidden"})


def test_a_fault_of_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_STOVE_WATTS", "hot")
    with pytest.raises(ValidationError) as caught:
        Kitchen.model_validate({"stove_watts": "hot"})
    assert in_words(caught.value, Kitchen).startswith("  stove_watts (which YURT_STOVE_WATTS sets): ")


def test_of_several_kinds_the_one_that_is_named_is_spoken_of() -> None:
    assert words(stoves={"wood": {"kind": "gas", "burner": 1}}) == (
        "  house.stoves.wood.burner: there is no such setting. Did you mean `burners`?"
    )
    assert words(stoves={"wood": {"kind": "wood", "logs": "many"}}).startswith("  house.stoves.wood.logs: Input should")


def test_a_kind_that_is_unknown_or_missing_is_asked_for() -> None:
    asked = "  house.stoves.old.kind: has to be one of gas, wood"
    assert words(stoves={"old": {"kind": "oil"}}) == asked
    assert words(stoves={"old": {"burners": 1}}) == asked
