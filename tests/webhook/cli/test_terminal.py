from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from webhook.cli.terminal import confirmed, facts, finding, link, plain, progress, table


def printed(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=60)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("two\nlines", "two\\nlines"),
        ("[bold]a[/nothing]", "[bold]a[/nothing]"),
        ("naïve 🏕", "naïve 🏕"),
    ],
)
def test_control_characters_are_escaped_and_markup_is_text(text: str, shown: str) -> None:
    assert printed(plain(text)) == f"{shown}\n"


def test_line_breaks_may_stay() -> None:
    assert plain("a\n\tb\x00", lines=True).plain == "a\n\tb\\x00"


def test_numbers_are_on_the_right_of_a_table() -> None:
    rows = table("Parked", "key", "attempts", numbers=["attempts"])
    rows.add_row(plain("[red]"), "4")
    output = printed(rows)
    assert re.search(r"^\[red\] +4 *$", output, re.MULTILINE)


def test_facts_without_a_value_are_left_out() -> None:
    output = printed(facts([("key", "a\x1bb"), ("last modified", "")]))
    assert output.split() == ["key", "a\\x1bb"]


def test_a_few_objects_need_no_confirmation_and_yes_confirms_any(capsys: pytest.CaptureFixture[str]) -> None:
    confirmed(10, "Forget 10 objects?", yes=False)
    confirmed(11, "Forget 11 objects?", yes=True)
    assert capsys.readouterr().out == ""


def test_without_a_terminal_many_objects_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(SystemExit) as ended:
        confirmed(11, "Forget 11 objects?", yes=False)
    assert ended.value.code == 2
    assert "Forget 11 objects? There is no terminal to answer on: give --yes" in capsys.readouterr().err


def test_a_progress_bar_is_shown_on_a_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    bar, task = progress("redrive", 10)
    with bar:
        bar.update(task, completed=10)
    assert capsys.readouterr() == ("", "")


def test_a_link_is_a_url_that_a_terminal_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("/tmp/my photos/contact sheet.html")
    url = "file:///tmp/my%20photos/contact%20sheet.html"

    def printed(*, terminal: bool) -> str:
        console = Console(file=io.StringIO(), force_terminal=terminal, color_system="standard" if terminal else None)
        console.print("Sheet:", link(path), soft_wrap=True)
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    assert printed(terminal=False) == f"Sheet: {url}\n"
    monkeypatch.setenv("TERM", "xterm-256color")
    assert re.search(rf"\x1b\]8;[^;]*;{re.escape(url)}\x1b\\", printed(terminal=True))
    monkeypatch.setenv("TERM", "linux")
    assert "\x1b]8" not in printed(terminal=True)


def test_a_long_finding_keeps_its_indent_and_escapes_what_it_shows() -> None:
    output = printed(finding("failed", "store", "\x1b" + "x" * 90, "Do this. " * 12))
    first, *rest = output.rstrip().splitlines()
    assert first.startswith("✗ store: ")
    assert all(line.startswith("  ") and len(line) <= 60 for line in rest)
    assert "\\x1b" in output
