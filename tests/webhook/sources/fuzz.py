"""Bodies that no store sends: noise, any JSON, and good bodies damaged in some place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from webhook.events import UnreadableEvent
from webhook.sources import Source

_WORDS = ["Records", "events", "message", "detail", "s3", "object", "key", "aws:s3", "ceph:s3", "1", "ab" * 8, "%zz"]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(_WORDS)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(_WORDS), inner, max_size=3),
    max_leaves=12,
)
noise = st.binary() | st.text().map(str.encode) | values.map(lambda value: json.dumps(value).encode())


@st.composite
def mutated(draw: st.DrawFn, goods: Sequence[Any]) -> bytes:
    """A good body with some values, and maybe some bytes, replaced, removed or doubled."""
    body = json.loads(json.dumps(draw(st.sampled_from(goods))))
    for _ in range(draw(st.integers(0, 3))):
        body = _changed(draw, body)
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        return raw
    place, damage = draw(st.integers(0, len(raw))), draw(st.binary(max_size=3))
    return raw[:place] + damage + raw[place + draw(st.integers(0, 3)) :]


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if not (isinstance(value, dict | list) and value) or draw(st.integers(0, 5)) == 0:
        return draw(values)
    place = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
    match draw(st.integers(0, 5)):
        case 0:
            del value[place]
        case 1 if isinstance(value, list):
            value.append(value[place])
        case _:
            value[place] = _changed(draw, value[place])
    return value


def withstands(source: Source, body: bytes) -> None:
    """Check a source's promise: any body becomes events and quarantine."""
    with contextlib.suppress(UnreadableEvent):
        source.event(body)
    batch = source.parse(body)
    assert sum(len(bad.raw) for bad in batch.quarantined) <= len(body)
    for bad in batch.quarantined:
        assert bad.reason
        assert bad.source == source.name
        with pytest.raises(UnreadableEvent) as again:
            source.event(bad.raw)
        assert str(again.value) == bad.reason
    for event in batch.events:
        assert event.source == source.name
        assert 1 <= len(event.key.encode()) <= 1024
        assert 1 <= len(event.bucket) <= 255
        assert event.size is None or 0 <= event.size < 2**63
        assert len(event.mark) == 12
        assert not event.version.is_older_than(event.version)
