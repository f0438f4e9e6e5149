"""``yurt`` itself."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from tests.webhook.cli.shell import Shell
from webhook.cli import COMMANDS, yurt


def test_help_names_every_command_and_what_it_is_for(shell: Shell) -> None:
    result = shell.yurt("--help")
    assert result.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    command = yurt.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help
    for parameter in command.params:
        # An argument has no help of its own: the text of the command explains it.
        assert getattr(parameter, "help", None) or isinstance(parameter, click.Argument), f"{name} {parameter.name}"


def test_unknown_command_is_a_usage_error(shell: Shell) -> None:
    result = shell.yurt("pitch")
    assert result.returncode == 2
    assert "No such command 'pitch'" in result.stderr


def test_version(shell: Shell) -> None:
    assert shell.yurt("--version").stdout.startswith("yurt, version ")


def test_starting_a_worker_does_not_import_the_control_plane() -> None:
    program = (
        "import sys; from webhook.cli import main\n"
        "try: main(['worker'])\n"
        "except SystemExit: pass\n"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('asyncpg', 'boto3', 'starlette')))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={})
    assert result.stdout.strip() == ""


def test_a_mistyped_command_gets_a_suggestion(shell: Shell) -> None:
    result = shell.yurt("statsu")
    assert result.returncode == 2
    assert "There is no command 'statsu'. Did you mean `yurt status`?" in result.stderr
