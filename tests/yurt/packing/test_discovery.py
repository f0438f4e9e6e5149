"""A module is imported in a child process, and what is wrong with it is told with its traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.yurt.deployed import written
from yurt.packing.discovery import discover, place_of
from yurt.packing.errors import PackingError

FUNCTION = "import yurt\n@yurt.function\ndef one(photo: yurt.File): ...\n"


def test_functions_and_the_files_that_were_imported(tmp_path: Path) -> None:
    written(tmp_path, "VALUE = 1\n", "beside")
    written(tmp_path, "VALUE = 1\n", "not_imported")
    (tmp_path / "package").mkdir()
    written(tmp_path / "package", "", "__init__")
    found = discover(written(tmp_path, f"import beside, package\nprint('noise')\n{FUNCTION}"))
    assert [(each.attribute, each.settings.name, each.files) for each in found.functions] == [
        ("one", "one", ("0", "photo"))
    ]
    assert {str(path) for path in found.files} == {"app.py", "beside.py", "package"}
    assert "beside" not in sys.modules, "this process has imported nothing"


def test_a_module_of_a_package_is_found_by_its_dotted_name(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "photos"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        written(folder, "", "__init__")
    path = written(inner, f"from shop import photos\n{FUNCTION}", "work")
    assert place_of(path) == (tmp_path, "shop.photos.work")
    assert place_of(inner / "__init__.py") == (tmp_path, "shop.photos")
    assert [str(each) for each in discover(path).files] == ["shop"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import yurt_of_nobody",
            "ModuleNotFoundError: No module named 'yurt_of_nobody'\nInstall it here too, or import it",
        ),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(0)", "cannot be imported"),
        ("import os; os._exit(0)", "ended Python"),
        ("VALUE = 1", "has no function with @yurt.function"),
        (f"{FUNCTION}\n@yurt.function(name='one')\ndef two(): ...", "two functions of the name 'one'"),
        ("import yurt\n@yurt.function(on='x')\ndef one(): ...", "belong together"),
    ],
)
def test_what_is_wrong_is_told(code: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackingError) as refused:
        discover(written(tmp_path, code))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "why"), [("json.py", "Python's own"), ("workers.py", "Yurt's own"), ("a-b.py", "no name")]
)
def test_names_that_cannot_be_imported_on_a_worker(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FUNCTION)
    with pytest.raises(PackingError, match=why):
        place_of(tmp_path / name)
    with pytest.raises(PackingError, match="no Python file"):
        place_of(tmp_path / "none.py")
