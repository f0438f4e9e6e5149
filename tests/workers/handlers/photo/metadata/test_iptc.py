"""IPTC-IIM in Photoshop's resources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.handlers.photo.metadata_samples import dataset, resource
from workers.handlers.photo.metadata.iptc import in_resources, read
from workers.handlers.photo.metadata.model import PhotoMetadata


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ({55: b"20191224", 60: b"183000+0100"}, "2019-12-24T18:30:00+01:00"),
        ({55: b"20191224", 60: b"183000"}, "2019-12-24T18:30:00"),
        ({55: b"20191224"}, "2019-12-24"),
        ({55: b"20191224", 60: b"late"}, "2019-12-24"),
        ({62: b"20191224", 63: b"183000Z"}, "2019-12-24T18:30:00+00:00"),
        ({55: b"00000000", 62: b"20191224"}, "2019-12-24"),
        ({60: b"183000"}, None),
        ({55: b"2019"}, None),
        ({}, None),
    ],
)
def test_times(datasets: dict[int, bytes], expected: str | None) -> None:
    content = dataset(5, b"Title") + b"".join(dataset(number, value) for number, value in datasets.items())
    assert read(content).captured_at == expected


@pytest.mark.parametrize("name", [b"", b"a", b"ab"])
def test_the_resource_among_others(name: bytes) -> None:
    content = dataset(55, b"20191224")
    others = resource(b"odd", 0x03ED, name) + resource(b"", 0x03F3)
    assert in_resources(others + resource(content, name=name) + others) == content
    assert in_resources(others) == b""


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_left_out(content: bytes) -> None:
    assert isinstance(in_resources(content), bytes)
    assert isinstance(in_resources(b"8BIM" + content), bytes)
    assert isinstance(read(b"\x1c\x02" + content), PhotoMetadata)
