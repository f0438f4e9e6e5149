from __future__ import annotations

import io

from rich.console import Console

from infra.demo.inventory import Inventory
from infra.demo.progress import LiveView, PlainView, Stand, news, view
from infra.demo.watch import DemoSnapshot
from tests.infra.demo.fixtures import snapshot


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def said(of: Console) -> str:
    return of.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def earlier(found: Inventory) -> DemoSnapshot:
    return snapshot(
        [one.photo for one in found.findings],
        pools={"local": {"machines": {"ready": 1}, "minted": 1, "slain": 0}},
    )


def test_news_are_what_changed(found: Inventory) -> None:
    before = earlier(found)
    assert list(news(None, before)) == ["1 worker minted"]
    assert list(news(before, found.last)) == [
        "1 worker minted",
        "2 workers slain",
        "parked uploads/truncated.jpg: The file is cut off: it ends before the picture does.",
    ]
    assert list(news(found.last, found.last)) == []


def test_plain_lines_are_said_once(found: Inventory) -> None:
    out = console(terminal=False)
    with PlainView(out) as plain:
        for _ in range(3):
            plain.show(Stand(5, 7, 6, found.last))
        plain.note("verifying")
    lines = said(out).splitlines()
    assert len(lines) == 2
    assert "uploaded 5/7 → noticed 7 → leased 0 → done 6, parked 1; workers alive 0, minted 2, slain 2" in lines[0]
    assert lines[1].endswith("verifying")


def test_bars_in_a_terminal(found: Inventory) -> None:
    out = console(terminal=True)
    with LiveView(out) as live:
        live.note("2 workers minted")
        live.show(Stand(5, 7, 6, found.last))
    for words in ("2 workers minted", "uploaded", "5 of 7", "workers alive 0, minted 2, slain 2"):
        assert words in said(out)


def test_names_of_strangers_are_not_markup() -> None:
    for out, one in ((console(terminal=False), PlainView), (console(terminal=True), LiveView)):
        with one(out) as shown:
            shown.note("parked [bold]a[/nothing].jpg")
        assert "[bold]a[/nothing].jpg" in said(out)


def test_lines_where_there_is_no_terminal_or_none_is_wanted() -> None:
    assert isinstance(view(console(terminal=False), plain=False), PlainView)
    assert isinstance(view(console(terminal=True), plain=True), PlainView)
    assert isinstance(view(console(terminal=True), plain=False), LiveView)
