"""The errors for a limit that was exceeded."""

from __future__ import annotations

import pytest

from workers.handlers import HandlerError
from workers.sandbox import limit_errors


@pytest.mark.parametrize(
    ("error", "reason", "retry", "amount"),
    [
        (limit_errors.cpu(0.2), "cpu-limit", False, "0.2 s"),
        (limit_errors.memory(2_048 << 20), "memory-limit", False, "2,048 MiB"),
        (limit_errors.memory(1 << 20, retry=True), "memory-limit", True, "1 MiB"),
        (limit_errors.output(3 << 19), "output-too-large", False, "1.5 MiB"),
        (limit_errors.scratch(3 << 19), "output-too-large", False, "1.5 MiB"),
        (limit_errors.files(10_000), "too-many-files", False, "10,000"),
        (limit_errors.processes(128), "too-many-processes", False, "128"),
    ],
)
def test_an_error_names_its_limit(error: HandlerError, reason: str, retry: bool, amount: str) -> None:
    assert (error.reason, error.retry) == (reason, retry)
    assert amount in error.message
