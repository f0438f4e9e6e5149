"""One local bucket for all tests of the control plane; each makes S3 buckets of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.infra.local.running import Running, running


@pytest.fixture(scope="session", autouse=True)
def plain_log() -> None:
    """Logs as lines: tracebacks drawn in colour cost seconds of the event loop that a test waits for."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer(["event"])],
        cache_logger_on_first_use=False,
    )


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """A running local bucket, spoken to over HTTP."""
    with running() as process:
        yield process
