"""Every output key that is made is read back as what it was made of, and no other key is taken for an output's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.config import Pipeline
from webhook.outputs import keys
from webhook.outputs.keys import KeyTooLong, OutputKey

PIPELINE = Pipeline.model_validate({"input": "s3://ups/", "output": "s3://outs/made/"})

segments = st.text("ab.-é 🏕", min_size=1, max_size=8).filter(lambda text: not text.startswith(".yurt-"))
input_keys = st.lists(segments, min_size=1, max_size=4).map("/".join)
tokens = st.integers(1, 2**63 - 1)


@given(input_keys, segments)
def test_a_stable_key_is_read_back(key: str, name: str) -> None:
    full = keys.output_key(PIPELINE, key, name)
    assert full.startswith(keys.outputs_prefix(PIPELINE, key))
    assert keys.parse(PIPELINE, full) == OutputKey(key, name, 0)


@given(input_keys, segments, tokens)
def test_a_staged_key_is_read_back(key: str, name: str, token: int) -> None:
    full = keys.staged_key(PIPELINE, key, token, name)
    assert full.startswith(keys.staged_prefix(PIPELINE, key))
    assert keys.parse(PIPELINE, full) == OutputKey(key, name, token)


@pytest.mark.parametrize("full", ["made/a.jpg", "made/a.jpg/", "made/", f"made/{'k' * 1025}/a"])
def test_other_keys_are_no_outputs(full: str) -> None:
    assert keys.parse(PIPELINE, full) is None


def test_a_key_may_be_as_long_as_the_store_takes_it() -> None:
    assert keys.output_key(PIPELINE, "uploads/a b.jpg", "256.webp") == "made/uploads/a b.jpg/256.webp"
    assert len(keys.output_key(PIPELINE, "k" * 1000, "n" * 18)) == 1024
    with pytest.raises(KeyTooLong, match="1024 bytes"):
        keys.output_key(PIPELINE, "k" * 1000, "n" * 19)
    assert keys.has_room(PIPELINE, "k" * 1007)
    assert not keys.has_room(PIPELINE, "k" * 1008)


def test_a_probe_is_told_from_everything_else() -> None:
    probe = keys.new_control_key(PIPELINE.output)
    assert keys.is_probe(PIPELINE.output, probe)
    assert probe != keys.new_control_key(PIPELINE.output)
    assert not PIPELINE.watches("ups", probe)
    assert not keys.is_probe(PIPELINE.output, keys.new_control_key(PIPELINE.output, "check"))
    assert not keys.is_probe(PIPELINE.output, keys.output_key(PIPELINE, "probe-1", "a"))


@given(tokens, st.text('!~ \né"a1', max_size=10), st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_what_is_recorded_on_an_output_is_read_back(token: int, etag: str, modified: datetime) -> None:
    headers = keys.metadata_headers("photos", token, etag, modified)
    assert all(value and value.isascii() and value.isprintable() for value in headers.values())
    metadata = {name.removeprefix("x-amz-meta-"): value for name, value in headers.items()}
    assert keys.token_of(metadata) == token
    assert keys.is_made_from(metadata, etag)
    assert not keys.is_made_from(metadata, f"{etag}x")
    assert keys.input_modified(metadata) == modified


@pytest.mark.parametrize("recorded", [{}, {"yurt-token": "-1"}, {"yurt-token": " 1"}, {"yurt-token": "1" * 20}])
def test_anything_else_is_no_token(recorded: dict[str, str]) -> None:
    assert keys.token_of(recorded) == 0


@pytest.mark.parametrize(
    "recorded", [{}, {"yurt-input-modified": "soon"}, {"yurt-input-modified": "0001-01-01T00:00:00+14:00"}]
)
def test_anything_else_is_no_moment(recorded: dict[str, str]) -> None:
    assert keys.input_modified(recorded) is None
