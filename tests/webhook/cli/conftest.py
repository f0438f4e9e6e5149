"""One running stack for all tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.stack import running
from tests.webhook.cli.shell import CONFIG, Shell
from webhook.config_file import load
from workers.handlers.registry import options_model


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A stack without machines, and a folder to run commands in."""
    folder = tmp_path_factory.mktemp("cli")
    path = folder / "yurt.toml"
    path.write_text(CONFIG)
    with running(load(path, options_model), path, folder / "state") as stack:
        yield Shell(stack, folder)
