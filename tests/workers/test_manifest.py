from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from workers.checks.verdict import CheckVerdict
from workers.manifest import MAX_BYTES, Manifest, Seconds, verdict_of
from workers.protocol import Output, Version
from workers.value_types import VerdictName

NOON = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"))
BRANCHES: st.SearchStrategy[Any] = st.lists(LEAVES, max_size=3) | st.dictionaries(st.sampled_from("abc"), LEAVES)
LABELS: st.SearchStrategy[dict[str, JsonValue]] = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=5),
    LEAVES | BRANCHES | st.dictionaries(st.sampled_from("abc"), BRANCHES),
    max_size=4,
)


def manifest(labels: dict[str, JsonValue]) -> Manifest:
    return Manifest(
        pipeline="photos",
        bucket="in",
        key="a/b c.jpg",
        input=Version(etag="e1", modified=NOON.replace(microsecond=0), size=5),
        token=1001,
        attempt=2,
        handler="photo",
        outputs=(Output(name="256.webp", etag="e2", size=9, content_type="image/webp"),),
        labels=labels,
        seconds=Seconds(fetch=0.1, handle=0.2, publish=0.3),
        finished_at=NOON,
    )


def test_the_encoding_is_fixed() -> None:
    assert manifest({"b": {"z": 1, "a": 2}, "a": None}).encode().decode() == (
        '{"version":1,"pipeline":"photos","bucket":"in","key":"a/b c.jpg",'
        '"input":{"etag":"e1","modified":"2026-03-04T12:00:00Z","size":5},"token":1001,"attempt":2,'
        '"handler":"photo","outputs":[{"name":"256.webp","etag":"e2","size":9,"content_type":"image/webp"}],'
        '"labels":{"a":null,"b":{"a":2,"z":1}},"seconds":{"fetch":0.1,"handle":0.2,"publish":0.3},'
        '"finished_at":"2026-03-04T12:00:00.123456Z"}'
    )


def test_a_cost_is_exact_text_and_left_out_where_there_is_none() -> None:
    paid = manifest({}).model_copy(update={"cost_usd": "0.000012345678"})
    assert paid.encode().endswith(b',"finished_at":"2026-03-04T12:00:00.123456Z","cost_usd":"0.000012345678"}')
    assert Manifest.decode(paid.encode()) == paid
    assert b"cost_usd" not in manifest({}).encode()
    with pytest.raises(ValueError, match="cost_usd"):
        Manifest.decode(paid.encode().replace(b'"0.000012345678"', b"1.2e-5"))


@given(LABELS)
def test_what_was_written_can_be_read(labels: dict[str, JsonValue]) -> None:
    written = manifest(labels)
    assert Manifest.decode(written.encode()) == written
    assert Manifest.decode(written.encode().ljust(5_000)) == written


@given(LABELS)
def test_the_order_of_labels_does_not_show(labels: dict[str, JsonValue]) -> None:
    backwards = dict(reversed(labels.items()))
    assert manifest(backwards).encode() == manifest(labels).encode()


def test_labels_have_a_limit() -> None:
    with pytest.raises(ValueError, match="shorten the labels"):
        manifest({"a": "x" * MAX_BYTES}).encode()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"version": 2}', b" " * (2 * MAX_BYTES + 1)])
def test_anything_else_is_no_manifest(text: bytes) -> None:
    with pytest.raises(ValueError):
        Manifest.decode(text)


def test_fields_of_a_newer_writer_are_ignored() -> None:
    newer = manifest({}).encode().replace(b'{"version":1', b'{"new":1,"version":1')
    assert Manifest.decode(newer) == manifest({})


def test_a_verdict_is_one_of_the_checks_and_any_other_label_is_none() -> None:
    assert list(get_args(VerdictName)) == list(CheckVerdict)
    assert [verdict_of({"verdict": verdict}) for verdict in CheckVerdict] == list(CheckVerdict)
    others: list[JsonValue] = ["guilty", "OK", None, True, ["ok"], {"ok": 1}]
    for label in others:
        assert verdict_of({"verdict": label}) is None
    assert verdict_of({}) is None
