"""Where a worker is told that the user's handlers are."""

from __future__ import annotations

from pathlib import Path

from workers.handlers.folder import handlers_folder, snapshot


def test_the_variable_names_the_folder_and_nothing_else_does() -> None:
    assert handlers_folder({"YURT_HANDLERS": "/srv/own"}) == Path("/srv/own")
    assert handlers_folder({"YURT_HANDLERS": ""}) is None
    assert handlers_folder({}) is None


def test_a_snapshot_leaves_out_what_others_wrote(tmp_path: Path) -> None:
    (tmp_path / "tables.py").write_text("")
    before = snapshot(tmp_path)
    for name in (".git", "__pycache__", "lib/site-packages"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("")
    assert snapshot(tmp_path) == before
    (tmp_path / "lib/own.py").write_text("")
    assert snapshot(tmp_path) != before
