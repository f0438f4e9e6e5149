"""A webhook receiver for every test that announces something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as it:
        yield it
