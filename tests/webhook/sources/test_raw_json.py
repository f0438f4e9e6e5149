from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.sources.fuzz import values
from webhook.sources.raw_json import MAX_MEMBERS, bytes_of, forgiving_value, take_apart, text_of

blanks = st.sampled_from(["", " ", "\n\t", "\r\n  "])


@given(st.dictionaries(st.text(), values, max_size=4), blanks, st.booleans())
def test_values_are_the_text_of_each(values: dict[str, object], blank: str, ascii_only: bool) -> None:
    texts = {name: json.dumps(value, ensure_ascii=ascii_only) for name, value in values.items()}
    parts = (f"{blank}{json.dumps(name)}{blank}:{blank}{text}{blank}" for name, text in texts.items())
    envelope = take_apart(f"{blank}{{{','.join(parts) or blank}}}{blank}", "no such list")
    assert (envelope.values, envelope.elements, envelope.rest) == (texts, None, "")


@given(st.lists(values, max_size=4), blanks)
def test_elements_are_the_text_of_each(values: list[object], blank: str) -> None:
    texts = [json.dumps(value) for value in values]
    parts = (f"{blank}{text}{blank}" for text in texts)
    envelope = take_apart(f'{{"list"{blank}:{blank}[{",".join(parts) or blank}]{blank}, "a": 1}}{blank}', "list")
    assert (envelope.values, envelope.elements, envelope.rest) == ({"a": "1"}, texts, "")


def test_of_equal_names_the_last_counts_but_of_a_list_nothing_is_lost() -> None:
    envelope = take_apart('{"a": [1], "b": 2, "list": [3], "a": {"c": "}"}, "list": [4]}', "list")
    assert envelope.values == {"a": '{"c": "}"}', "b": "2"}
    assert envelope.elements == ["3", "4"]


@pytest.mark.parametrize(
    "odd",
    [
        "NaN", "1e999", "9" * 10_000, '"\\ud800"', '"]}"', '"\\""', '"\\x"', "undefined", '{"a": \'b\'}', "",
        '"a\tb"', '{"a": "\\q", "b": [1, 2]}', "[" * 5_000 + "]" * 5_000, text_of(b'"Caf\xe9"'),
    ],
    ids=lambda odd: repr(odd[:12]),
)  # fmt: skip
def test_only_the_part_that_is_no_json_is_no_json(odd: str) -> None:
    envelope = take_apart(f'{{"list": [{{"a": 1}}, {odd}, [2]], "x": 3}}', "list")
    assert (envelope.elements, envelope.values, envelope.rest) == (['{"a": 1}', odd, "[2]"], {"x": "3"}, "")


@pytest.mark.parametrize(
    ("text", "elements", "rest"),
    [
        ('{"list": [1, {"a": [', ["1"], '{"a": ['),
        ('{"list": [1, "a', ["1"], '"a'),
        ('{"list": [1]} {"list": [2]}', ["1"], '{"list": [2]}'),
        ('{"list": [1', ["1"], ""),
        ('{"list": [1], 2: 3}', ["1"], "2: 3}"),
        ('{"list": [1] x}', ["1"], "x}"),
        ('{"list": {}} x', None, "x"),
        ("", None, ""),
        ("null", None, "null"),
        ("[1]", None, "[1]"),
        ('"{"', None, '"{"'),
    ],
)
def test_what_follows_a_fault_remains(text: str, elements: list[str] | None, rest: str) -> None:
    envelope = take_apart(text, "list")
    assert (envelope.elements, envelope.rest) == (elements, rest)


def test_reading_ends_where_there_is_too_much() -> None:
    many = ",".join(f'"{number}": 1' for number in range(MAX_MEMBERS))
    assert len(take_apart(f"{{{many}}}", "list").values) == MAX_MEMBERS
    assert len(take_apart(f'{{{many}, "x": 1}}', "list").values) == MAX_MEMBERS
    split = take_apart('{"list": [' + "1," * 200_000 + "2]}", "list")
    assert split.elements is not None
    assert len(split.elements) < 200_000
    assert split.rest.endswith("1,2]}")
    faults = take_apart('{"list": [' + "x," * 2_000 + "2]}", "list")
    assert faults.rest.endswith("x,2]}")
    assert take_apart('{"list": [' + "[" * 1_000_000, "list").elements == []


@given(st.binary())
def test_any_bytes_come_back(raw: bytes) -> None:
    assert bytes_of(text_of(raw)) == raw


def test_values_that_are_not_used_may_be_anything() -> None:
    read = forgiving_value(
        b'{"a": "Caf\xe9", "b": NaN, "g": null, "c": "\\ud800", "d": ' + b"9" * 10_000 + b', "e": "\t", "f": 5}'
    )
    assert isinstance(read, dict)
    assert (read["a"], read["g"], read["c"], read["e"], read["f"]) == ("Caf\udce9", None, "\ud800", "\t", 5)


QUOTES = '"' + '\\"' * 200_000


@pytest.mark.parametrize(
    "element", [QUOTES, f"x{QUOTES}", 'x"' + '"\\' * 200_000, "[x," * 200_000, '{"a" ' + QUOTES, "x" + '"' * 100_001]
)
def test_a_text_without_an_end_takes_time_in_proportion(element: str) -> None:
    """With the square of its length it would take minutes: the time limit of each test ends that."""
    envelope = take_apart(f'{{"list": [1, {element}', "list")
    assert envelope.elements == ["1"]
    assert envelope.rest


def test_a_quote_that_opens_no_text_hides_nothing_after_it() -> None:
    envelope = take_apart('{"list": [1, x" \\" [,] , 2]', "list")
    assert envelope.elements == ["1", 'x" \\" [,]', "2"]
