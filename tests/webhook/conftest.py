"""One local bucket for all tests of the control plane; each makes S3 buckets of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.local.running import Running, running


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """A running local bucket, spoken to over HTTP."""
    with running() as process:
        yield process
