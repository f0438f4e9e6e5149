"""Commands that do the same as the page: what a shell makes of them is what the page has done."""

from __future__ import annotations

import shlex

from webhook.page.commands import command, of_choice


def test_a_shell_reads_every_value_as_it_was() -> None:
    text = command("parked", "list", reason='it\'s $(rm -rf) "x"', pipeline=None, prefix="", all=True)
    assert shlex.split(text) == ["yurt", "parked", "list", "--reason", 'it\'s $(rm -rf) "x"', "--all"]


def test_what_acts_on_a_screen_is_written_out() -> None:
    assert "\u202e" not in command("parked", "list", prefix="a\u202eb")


def test_a_choice_becomes_numbers_a_filter_or_all() -> None:
    assert of_choice("parked", "redrive", [("ids", "1"), ("ids", "2")]) == "yurt parked redrive 1 2"
    assert of_choice("parked", "forget", [("prefix", "a b/")]) == "yurt parked forget --prefix 'a b/'"
    assert of_choice("quarantine", "replay", [("all", "1")]) == "yurt quarantine replay --all"
