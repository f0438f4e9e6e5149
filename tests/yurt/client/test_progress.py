"""Progress of uploads: it never falls, and a bar is drawn on terminals alone."""

from __future__ import annotations

import io

import pytest

from yurt.client.progress import BAR_BYTES, ProgressBar, UploadProgress, bar_for, sized


def test_a_part_that_is_sent_again_takes_nothing_back() -> None:
    seen: list[tuple[int, int]] = []
    progress = UploadProgress(100, lambda done, total: seen.append((done, total)))
    for part, sent in ((1, 0), (1, 40), (2, 30), (1, 0), (1, 20), (1, 40), (1, 60), (2, 40)):
        progress.note(part, sent)
    assert seen == [(0, 100), (40, 100), (70, 100), (90, 100), (100, 100)]


def test_a_bar_on_a_terminal() -> None:
    terminal = io.StringIO()
    bar = ProgressBar("a\x1b[31m very long name of a photo.jpg", terminal)
    for done in (1, 2, 3, 50 << 20, 100 << 20):
        bar(done, 100 << 20)
    lines = terminal.getvalue().split("\r")[1:]
    assert len(lines) == 2, "not more often than an eye can follow, and the end"
    assert lines[0].startswith("a[31m very long name of… ░░░")
    assert "█" * 30 + " 100 % of 100 MiB, " in lines[1]
    assert lines[1].endswith("\n")
    assert "\x1b" not in terminal.getvalue()


def test_a_bar_is_for_terminals_and_long_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    assert bar_for("a", BAR_BYTES) is None
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    assert bar_for("a", BAR_BYTES) is not None
    assert bar_for("a", BAR_BYTES - 1) is None
    monkeypatch.setattr("sys.stderr", None)  # of a service without a console
    assert bar_for("a", BAR_BYTES) is None


def test_sizes_in_words() -> None:
    assert [sized(each) for each in (0, 1023, 1 << 20, 5 << 40)] == ["0 bytes", "1.02e+03 bytes", "1 MiB", "5 TiB"]
