"""Searches and orders in the market's own syntax."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.provider_settings.vast_search import DEFAULTS, FLAGS, NUMBERS, TEXTS, SearchError, read_order, read_search


def test_a_search_is_what_the_market_takes() -> None:
    assert read_search("verified=False cuda_max_good>=12.1 gpu_ram>=12 num_gpus=1 inet_down>=450") == {
        "verified": {"eq": False},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "cuda_max_good": {"gte": "12.1"},
        "gpu_ram": {"gte": 12000.0},
        "num_gpus": {"eq": "1"},
        "inet_down": {"gte": "450"},
    }


@pytest.mark.parametrize(
    ("text", "field", "wanted"),
    [
        ("gpu_ram > 8 gpu_ram<=24", "gpu_ram", {"gt": 8000.0, "lte": 24000.0}),
        ("dph<0.5", "dph_total", {"lt": "0.5"}),
        ("duration>=1.5", "duration", {"gte": 129600.0}),
        ("gpu_name=RTX_3090", "gpu_name", {"eq": "RTX 3090"}),
        ('gpu_name in [RTX_3090,"RTX 4090"]', "gpu_name", {"in": ["RTX 3090", "RTX 4090"]}),
        ("geolocation notin [CN,VN]", "geolocation", {"notin": ["CN", "VN"]}),
        ("num_gpus not in [3]", "num_gpus", {"notin": ["3"]}),
        ("datacenter==true", "datacenter", {"eq": True}),
        ("verified != true", "verified", {"neq": True}),
        ("  reliability gte 0.99  ", "reliability", {"gte": "0.99"}),
    ],
)
def test_each_form_of_a_condition(text: str, field: str, wanted: object) -> None:
    assert read_search(text)[field] == wanted


def test_any_leaves_a_field_out() -> None:
    assert "verified" in read_search("")
    assert "verified" not in read_search("verified=any")
    assert read_search("num_gpus=any") == {field: dict(wanted) for field, wanted in DEFAULTS.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu_ram>>12", "at column 8: an operator is expected after gpu_ram"),
        ("gpu_ram", "at column 8: an operator is expected"),
        ("num_gpus=1 gpu_ram ~ 3", "at column 20: an operator is expected"),
        ("num_gpus=1 gpu_ram >= ", "at column 23: a value for gpu_ram is expected"),
        ("num_gpus=1 gpu_rams=2", "at column 12: the market has no field 'gpu_rams': is gpu_ram meant?"),
        ("num_gpus=one", "at column 10: num_gpus is a number, not 'one'"),
        ("verified=yes", "at column 10: verified is true, false or any, not 'yes'"),
        ("verified>=1", "at column 9: verified can be compared by: eq, neq"),
        ("gpu_name>=RTX_3090", "at column 9: gpu_name can be compared by: eq, in, neq, notin"),
        ("num_gpus in 1", "at column 13: a list is expected: num_gpus in [1,2]"),
        ("num_gpus in [1,x]", "at column 16: num_gpus is a number, not 'x'"),
        ("num_gpus=[1,2]", "at column 10: one value for num_gpus is expected, not a list"),
        ('gpu_name="RTX', "at column 10: a value for gpu_name is expected"),
        ("num_gpus=1 num_gpus=2", "at column 12: num_gpus has another condition of this kind already"),
        ("num_gpus=1 , gpu_ram>2", "at column 12: the name of a field is expected"),
        ('gpu_name="A"num_gpus=1', "at column 13: a space is expected before the next condition"),
        ("gpu_name in []", "at column 14: a value for gpu_name is expected"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(text: str, said: str) -> None:
    with pytest.raises(SearchError) as caught:
        read_search(text)
    assert str(caught.value).startswith(said)


@given(st.text(alphabet=st.sampled_from('gpu_ram>=<!12. []",in notany=eq\n'), max_size=60) | st.text(max_size=60))
def test_no_text_ends_in_another_error(text: str) -> None:
    for read in (read_search, read_order):
        with suppress(SearchError):
            read(text)


@given(st.sampled_from(sorted(FLAGS | TEXTS | NUMBERS)), st.integers(0, 10**6))
def test_every_field_can_be_asked_for(field: str, number: int) -> None:
    value = "true" if field in FLAGS else str(number)
    assert list(read_search(f"{field}={value}")[field]) == ["eq"]


def test_an_order_names_fields_and_directions() -> None:
    assert read_order("dph+,inet_down-,reliability") == [
        ["dph_total", "asc"],
        ["inet_down", "desc"],
        ["reliability", "asc"],
    ]
    with pytest.raises(SearchError, match="at column 6: the market has no field 'foo'"):
        read_order("dph+,foo-")
    with pytest.raises(SearchError, match="at column 1: a field and"):
        read_order("dph*")
