"""Places as cameras and programs write them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.handlers.photo.metadata.model import Position
from workers.handlers.photo.metadata.places import Angle, altitude, angle, fraction, numbers, place

EAST = Angle([Fraction(10)], "E")


def north(reference: str, *parts: float, is_signed: bool = False) -> float | None:
    found = place(Angle([Fraction(part) for part in parts], reference, is_signed=is_signed), EAST)
    return found.latitude if found else None


@pytest.mark.parametrize("reference", ["S", "s", "South", "SOUTH", " s ", "S\0", "south latitude"])
def test_words_for_the_south(reference: str) -> None:
    assert north(reference, 36, 48, 14.54) == -36.804039


@pytest.mark.parametrize("reference", ["N", "n", "North", "NORTH "])
def test_words_for_the_north(reference: str) -> None:
    assert north(reference, 36, 48, 14.54) == 36.804039


@pytest.mark.parametrize("reference", ["", " ", "\0", "?", "E", "W", "up"])
def test_a_side_of_the_earth_that_is_not_told_is_no_place(reference: str) -> None:
    assert north(reference, 36, 48, 14.54) is None


@pytest.mark.parametrize(("reference", "expected"), [("", -36.5), ("S", -36.5), ("N", -36.5)])
def test_a_sign_tells_it_too(reference: str, expected: float) -> None:
    assert north(reference, -36, 30, is_signed=True) == expected
    assert north("", 36, 30, is_signed=True) == 36.5


@pytest.mark.parametrize(
    ("parts", "expected"),
    [((51.508333,), 51.508333), ((51, 30.5), 51.508333), ((51, 30, 30), 51.508333), ((51, 30.5, 0), 51.508333)],
)
def test_one_two_and_three_numbers(parts: tuple[float, ...], expected: float) -> None:
    assert north("N", *parts) == expected


@pytest.mark.parametrize("parts", [(), (91,), (90, 1), (51, 61), (51, 30, 61), (51, -1), (1, 2, 3, 4)])
def test_what_is_no_latitude(parts: tuple[float, ...]) -> None:
    assert north("N", *parts) is None


def test_longitudes() -> None:
    assert place(Angle([Fraction(1)], "n"), Angle([Fraction(180)], "west")) == Position(1.0, -180.0)
    assert place(Angle([Fraction(1)], "N"), Angle([Fraction(181)], "W")) is None
    assert place(Angle([Fraction(1)], "N"), Angle([Fraction(18)], "O")) is None


def test_zero_zero_is_no_place_and_one_zero_is() -> None:
    zero = Angle([Fraction(0)] * 3, "N"), Angle([Fraction(0)] * 3, "E")
    assert place(*zero) is None
    assert place(zero[0], EAST) == Position(0.0, 10.0)
    south = place(Angle([Fraction(0)], "S"), EAST)
    assert south
    assert math.copysign(1, south.latitude) == 1


def test_unknown_seconds_leave_the_minutes_and_unknown_degrees_nothing() -> None:
    assert place(Angle([Fraction(51), Fraction(30), None], "N"), EAST) == Position(51.5, 10.0)
    assert place(Angle([None, Fraction(30), Fraction(0)], "N"), EAST) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("26,34.951S", -26.582517),
        ("26,34,57S", -26.5825),
        ("26,34.951s", -26.582517),
        ("26,34.951 South", -26.582517),
        ("N 26,34.951", 26.582517),
        ("26 deg 34' 57.00\" S", -26.5825),
        ("-26.5825", -26.5825),
        ("26.5825", 26.5825),
        ("26.5825S", -26.5825),
        ("26/1,34/1,57/1S", -26.5825),
        ("26\N{DEGREE SIGN}34\N{PRIME}57\N{DOUBLE PRIME}N", 26.5825),
    ],
)
def test_texts(text: str, expected: float) -> None:
    found = place(angle(text), angle("10,0E"))
    assert found
    assert found.latitude == expected


@pytest.mark.parametrize("text", ["", "north", "1/0N", "NaN", "inf", "9" * 200 + "N", "26,34.951W"])
def test_texts_that_are_none(text: str) -> None:
    assert place(angle(text), angle("10,0E")) is None


@pytest.mark.parametrize(
    ("written", "is_below", "expected"),
    [
        ("345/10", False, 34.5),
        ("345/10", True, -34.5),
        ("-34.5", False, -34.5),
        ("-34.5", True, -34.5),
        ("1/0", False, None),
        ("", False, None),
        ("100000", False, None),
        ("1 2", False, None),
    ],
)
def test_altitudes(written: str, is_below: bool, expected: float | None) -> None:
    assert altitude(numbers(written), is_below=is_below) == expected


def test_numbers_that_nobody_can_hold_are_none() -> None:
    assert fraction("1e999999999") is None
    assert fraction("9" * 31) is None
    assert fraction("-25/4") == Fraction(-25, 4)
    assert fraction("12.5/2") is None


@given(st.text(alphabet=st.sampled_from("0123456789.,/-NSEW '\0")) | st.text())
def test_any_text_is_a_place_or_none(text: str) -> None:
    found = place(angle(text), angle(text, "E"))
    assert found is None or (abs(found.latitude) <= 90 and abs(found.longitude) <= 180)
    assert fraction(text) is None or isinstance(fraction(text), Fraction)
