"""Checks the state folder and the folder for temporary files before they are needed, and says what to do about them."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

from webhook.config import Config
from webhook.config_faults import ConfigError


def check_folders(config: Config, state: Path, *, embedded: bool) -> None:
    """Raise ConfigError where files have to be written and cannot be.

    Without an embedded database and without a pool of local workers, nothing is written.
    """
    local = any(pool.limit and config.mints_here(name) for name, pool in config.pools.items())
    if not (embedded or local):
        return
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=state) as file:
            file.write(b"\0")
    except OSError as error:
        raise ConfigError(
            f"the state folder {state.absolute()} cannot be written by {user()} ({error.strerror or error}): choose "
            "another with --state or YURT_STATE, or let that user write there"
        ) from None
    try:
        tempfile.gettempdir()
    except OSError:
        raise ConfigError(
            f"no folder for temporary files can be written by {user()}, and "
            f"{'the embedded database' if embedded else 'local workers'} need one: mount one at /tmp, or set TMPDIR"
        ) from None


def user() -> str:
    """This process's user, for messages; a container's may have no name."""
    number = os.geteuid()
    try:
        return f"user {pwd.getpwuid(number).pw_name} (id {number})"
    except KeyError:
        return f"user id {number}"
