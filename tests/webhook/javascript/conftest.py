"""One photo app for all tests of the module: starting a control plane and a browser takes longer than any of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from tests.infra.local.running import RunningBucket
from tests.webhook.javascript.photo_app import PhotoApp, photo_app


@pytest.fixture(scope="package")
def app(postgres_dsn: str, store: RunningBucket) -> Iterator[PhotoApp]:
    """A running photo app with nothing uploaded."""
    with asyncio.Runner() as runner:
        parts = photo_app(postgres_dsn, store, runner)
        yield runner.run(parts.__aenter__())
        runner.run(parts.__aexit__(None, None, None))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test of the photo app on the event loop that its parts run on."""
    app = pyfuncitem.funcargs.get("app")
    if not isinstance(app, PhotoApp) or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = inspect.signature(pyfuncitem.obj).parameters
    app.emptied()
    app.runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in arguments}))
    return True
