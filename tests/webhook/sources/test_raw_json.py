from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.sources.fuzz import values
from webhook.sources.raw_json import MAX_MEMBERS, elements, members

blanks = st.sampled_from(["", " ", "\n\t", "\r\n  "])


@given(st.dictionaries(st.text(), values, max_size=4), blanks, st.booleans())
def test_members_are_the_text_of_each_value(values: dict[str, object], blank: str, ascii_only: bool) -> None:
    texts = {name: json.dumps(value, ensure_ascii=ascii_only) for name, value in values.items()}
    parts = (f"{blank}{json.dumps(name)}{blank}:{blank}{text}{blank}" for name, text in texts.items())
    assert members(f"{blank}{{{','.join(parts) or blank}}}{blank}") == texts


@given(st.lists(values, max_size=4), blanks)
def test_elements_are_the_text_of_each(values: list[object], blank: str) -> None:
    texts = [json.dumps(value) for value in values]
    parts = (f"{blank}{text}{blank}" for text in texts)
    assert elements(f"{blank}[{','.join(parts) or blank}]{blank}", 4) == texts


def test_of_equal_names_the_last_counts() -> None:
    assert members('{"a": [1], "b": 2, "a": {"c": "}"}}') == {"a": '{"c": "}"}', "b": "2"}


def test_nothing_has_to_be_understood() -> None:
    odd = ["NaN", "1e999", "9" * 10_000, '"\\ud800"', '"]}"', '"\\""']
    assert elements(f"[{','.join(odd)}]", len(odd)) == odd
    assert list(members(f'{{"a": {odd[2]}, "b": {odd[3]}}}').values()) == odd[2:4]


@pytest.mark.parametrize(
    "text", ["", " ", "null", "1", '"{"', "[]x", "[1", "[1,]", "{", '{"a"}', '{"a":}', "{1:2}", "{} {}"]
)
def test_what_is_neither_object_nor_array(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        members(text)
    with pytest.raises(ValueError, match=r"."):
        elements(text, 4)


def test_what_is_nested_too_deeply() -> None:
    with pytest.raises(RecursionError):
        elements("[" * 100_000 + "]" * 100_000, 4)


def test_reading_ends_early_where_there_is_too_much() -> None:
    assert elements("[1,2,3,4,and the rest is not looked at", 2) == ["1", "2", "3"]
    with pytest.raises(ValueError, match="more than 100 members"):
        members("{" + '"a": 1,' * (MAX_MEMBERS + 1) + "and the rest is not looked at")
    assert len(members("{" + ",".join(f'"{n}": 1' for n in range(MAX_MEMBERS)) + "}")) == MAX_MEMBERS
