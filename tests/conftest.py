"""Runs async tests on an event loop of their own, and starts one PostgreSQL for all tests."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import postgres

# No timed assertions: Hypothesis' limit of 200 ms an example is one, and a busy machine exceeds it.
settings.register_profile("yurt", settings(), deadline=None)
settings.load_profile("yurt")

# A shell without job control starts background jobs with SIGINT ignored, and every child would inherit that: the tests
# that send Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests wait for other processes about half of their time."""
    return (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """DSN of a running PostgreSQL; ``tests.postgres.database`` creates a database on it."""
    # Not below pytest's own folder: another run of pytest would close that one to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="yurt-test-") as folder, postgres.server(Path(folder)) as dsn:
        yield dsn


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test in a fresh event loop, with debug mode off as in production."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = inspect.signature(pyfuncitem.obj).parameters
    with asyncio.Runner() as runner:
        runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in arguments}))
    return True
