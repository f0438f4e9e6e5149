"""A folder for jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.sandbox.jobs import JobFolder


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """Where the test's jobs have their files."""
    return JobFolder(tmp_path)
