"""Text on the terminal: escaped whichever way a command prints it, and no command prints past that."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.webhook.cli.shell import Shell
from webhook.cli.output import EscapingStream, echo, echo_json
from webhook.cli.terminal import EscapingConsole
from webhook.visible_text import escaped

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m \u202egpj.exe\u2066 \x7f\x00\r[link=http://evil]:smile:"
ROOT = Path(__file__).parents[3]


def is_harmless(shown: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in shown)


def test_what_a_terminal_acts_on_or_hides_is_written_out() -> None:
    assert escaped("a\x1b[2J\u202eb\n\tc") == "a\\x1b[2J\\u202eb\n\tc"
    assert is_harmless(escaped(EVIL))
    assert escaped("naïve 🏕 日本") == "naïve 🏕 日本"
    assert escaped("two\nlines", "") == "two\\nlines"


def test_lines_on_both_outputs_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    echo(EVIL)
    echo(EVIL, err=True)
    EscapingStream().write(EVIL)
    shown = capsys.readouterr()
    assert is_harmless(shown.out)
    assert is_harmless(shown.err)
    assert "\\u202egpj.exe" in shown.out


def test_json_is_ascii_and_holds_the_same_characters(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"key": EVIL})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.loads(shown) == {"key": EVIL}


def test_whatever_a_console_shows_is_escaped_and_no_markup() -> None:
    table = Table(title=EVIL, caption=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    table.add_row(Text(EVIL, style="red"))
    console = EscapingConsole()
    console.file = io.StringIO()
    console.print(EVIL, table, Group(EVIL, Text(EVIL)), Text.assemble("a ", (EVIL, "bold")))
    with Live(EVIL, console=console, auto_refresh=False) as live:
        live.update(Text(EVIL), refresh=True)
    shown = console.file.getvalue()
    assert is_harmless(shown)
    assert shown.count("[link=") > 5
    assert ":smile:" in shown


def test_styles_are_still_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = EscapingConsole()
    console.file = io.StringIO()
    console.print("a\x1b", style="bold", highlight=False)
    assert console.file.getvalue() == "\x1b[1ma\\x1b\x1b[0m\n"


def test_a_usage_error_shows_what_was_typed_escaped(shell: Shell) -> None:
    result = shell.yurt("status", f"--no\x1b[2J{chr(0x202E)}")
    assert result.returncode == 2
    assert is_harmless(result.stderr)
    assert "\\x1b[2J" in result.stderr


PRINTING = {
    "print",
    "click.echo",
    "click.secho",
    "click.echo_via_pager",
    "Console",
    "sys.stdout.write",
    "sys.stderr.write",
    "pprint",
    "traceback.print_exc",
}
ALLOWED = {
    ("webhook/cli/output.py", "click.echo"),
    ("webhook/cli/output.py", "sys.stderr.write"),
    ("webhook/server.py", "print"),  # one line of JSON for the process that started this one
    ("webhook/bootstrap/install.py", "sys.stderr.write"),  # the log of a rented machine
    ("infra/stack.py", "sys.stderr.write"),  # names one of our own processes
}
SOURCES = [*ROOT.glob("webhook/**/*.py"), *ROOT.glob("infra/*.py"), *ROOT.glob("infra/demo/**/*.py")]
"""All but the local bucket, a server whose output goes to a log."""


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Each call in the code of commands, with its file and what is called."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.relative_to(ROOT).as_posix(), node, ast.unparse(node.func)


def test_no_command_prints_past_the_escaping() -> None:
    assert {(path, called) for path, _, called in calls() if called in PRINTING} == ALLOWED


def test_what_is_drawn_again_is_drawn_on_a_console_of_ours() -> None:
    drawn = [(path, node) for path, node, called in calls() if called in ("Live", "Progress")]
    assert len(drawn) > 3
    assert not [path for path, node in drawn if "console" not in {keyword.arg for keyword in node.keywords}]
