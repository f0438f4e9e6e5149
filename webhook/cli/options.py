"""Options that several subcommands share, and how a subcommand ends with an error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from webhook.cli.output import echo
from webhook.cli.running_up import running_up

Command = TypeVar("Command", bound=Callable[..., Any])

_LOCAL_URL = "http://127.0.0.1:8080"
USAGE = 2
"""Exit status where the command line or the configuration is wrong."""


def config_option(command: Command) -> Command:
    """``--config``."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        default=Path("yurt.toml"),
        show_default=True,
        envvar="YURT_CONFIG",
        help="Configuration file.",
    )(command)


def state_option(command: Command) -> Command:
    """``--state``."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".yurt"),
        show_default=True,
        envvar="YURT_STATE",
        help="Folder for the embedded database and for logs of local workers.",
    )(command)


def url_option(command: Command) -> Command:
    """``--url``."""
    return click.option(
        "--url",
        default=lambda: up.url if (up := running_up()) else _LOCAL_URL,
        show_default=f"that of a yurt up in this folder, or {_LOCAL_URL}",
        envvar="YURT_URL",
        help="The control plane. Its YURT_ADMIN_TOKEN must be in the environment or in yurt.secrets.",
    )(command)


def deployed_option(command: Command) -> Command:
    """Add ``--deployed``, and ``--url`` for it."""
    text = "With what was deployed on the control plane at --url too."
    return click.option("--deployed", is_flag=True, help=text)(url_option(command))


def admin_token(url: str) -> str:
    """The value of ``YURT_ADMIN_TOKEN``, or that of a ``yurt up`` at this URL, or the file of secrets'.

    Ends the program where there is none.
    """
    from webhook.config_faults import ConfigError
    from webhook.secrets_file import secrets, secrets_file

    if not os.environ.get("YURT_ADMIN_TOKEN") and (up := running_up()) and up.url == url.rstrip("/"):
        return up.admin
    config_path = Path(os.environ.get("YURT_CONFIG") or "yurt.toml")
    with failing(ConfigError):
        token = secrets(config_path).yurt_admin_token.get_secret_value()
    if not token:
        fail(
            "YURT_ADMIN_TOKEN is not set, and "
            f"{secrets_file(config_path)} does not hold it: set it to the same value as for the control plane"
        )
    return token


def fail(message: str, status: int = USAGE) -> NoReturn:
    """End the program with one message on stderr."""
    echo(f"yurt: {message}", err=True)
    raise SystemExit(status)


@contextlib.contextmanager
def failing(*errors: type[Exception]) -> Iterator[None]:
    """End the program with the message of an expected error, without a traceback."""
    try:
        yield
    except errors as error:
        fail(str(error))
