"""A webhook receiver for every test that announces something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.receiver import RecordingReceiver


@pytest.fixture
def receiver() -> Iterator[RecordingReceiver]:
    with RecordingReceiver() as it:
        yield it
