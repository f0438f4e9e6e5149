from __future__ import annotations

import io

from rich.console import Console

from infra.demo.inventory import Inventory
from infra.demo.progress import DemoProgress, LiveView, PlainView, changes_between, view
from infra.demo.watch import DemoSnapshot
from tests.infra.demo.fixtures import snapshot


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def printed(out: Console) -> str:
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def earlier(inventory: Inventory) -> DemoSnapshot:
    return snapshot(
        [result.photo for result in inventory.results],
        pools={"local": {"machines": {"ready": 1}, "minted": 1, "slain": 0}},
    )


def test_a_note_for_each_change(inventory: Inventory) -> None:
    before = earlier(inventory)
    assert list(changes_between(None, before)) == ["1 worker minted"]
    assert list(changes_between(before, inventory.snapshot)) == [
        "1 worker minted",
        "2 workers slain",
        "parked uploads/truncated.jpg: The file is cut off: it ends before the picture does.",
    ]
    assert list(changes_between(inventory.snapshot, inventory.snapshot)) == []


def test_plain_lines_are_printed_once(inventory: Inventory) -> None:
    out = console(terminal=False)
    with PlainView(out) as plain:
        for _ in range(3):
            plain.show(DemoProgress(5, 7, 6, inventory.snapshot))
        plain.note("verifying")
    lines = printed(out).splitlines()
    assert len(lines) == 2
    assert "uploaded 5/7 → noticed 7 → leased 0 → done 6, parked 1; workers alive 0, minted 2, slain 2" in lines[0]
    assert lines[1].endswith("verifying")


def test_bars_in_a_terminal(inventory: Inventory) -> None:
    out = console(terminal=True)
    with LiveView(out) as live:
        live.note("2 workers minted")
        live.show(DemoProgress(5, 7, 6, inventory.snapshot))
    for words in ("2 workers minted", "uploaded", "5 of 7", "workers alive 0, minted 2, slain 2"):
        assert words in printed(out)


def test_keys_are_not_markup() -> None:
    for out, kind in ((console(terminal=False), PlainView), (console(terminal=True), LiveView)):
        with kind(out) as shown:
            shown.note("parked [bold]a[/nothing].jpg")
        assert "[bold]a[/nothing].jpg" in printed(out)


def test_lines_where_there_is_no_terminal_or_none_is_wanted() -> None:
    assert isinstance(view(console(terminal=False), plain=False), PlainView)
    assert isinstance(view(console(terminal=True), plain=True), PlainView)
    assert isinstance(view(console(terminal=True), plain=False), LiveView)
