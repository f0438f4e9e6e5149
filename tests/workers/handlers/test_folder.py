"""Where a worker is told that the user's handlers are."""

from __future__ import annotations

from pathlib import Path

from workers.handlers.folder import handlers_folder


def test_the_variable_names_the_folder_and_nothing_else_does() -> None:
    assert handlers_folder({"YURT_HANDLERS": "/srv/own"}) == Path("/srv/own")
    assert handlers_folder({"YURT_HANDLERS": ""}) is None
    assert handlers_folder({}) is None
