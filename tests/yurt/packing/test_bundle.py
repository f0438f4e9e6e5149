"""Bundles: the same content has the same name, and what does not belong there is left out."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from tests.yurt.deployed import written
from yurt.packing import bundle
from yurt.packing.bundle import pack
from yurt.packing.errors import PackingError

CODE = "import yurt, shop\n@yurt.function\ndef one(): ...\n"


def project(folder: Path) -> Path:
    """A module with a package beside it."""
    for name, text in {
        "shop/__init__.py": "", "shop/inner/data.json": "{}", "shop/.env": "SECRET=1", "shop/yurt.secrets": "x",
        "shop/__pycache__/x.pyc": "x", "shop/.git/config": "x", "shop/venv/pyvenv.cfg": "", "shop/venv/big.py": "x",
        "unrelated.py": "x",
    }.items():  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return written(folder, CODE)


def test_packages_are_whole_without_what_does_not_belong_there(tmp_path: Path) -> None:
    packed = pack(project(tmp_path))
    assert packed.files == ("code/app.py", "code/shop/__init__.py", "code/shop/inner/data.json")
    assert packed.root == hashlib.sha256(packed.content).hexdigest()
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.read("code/app.py").decode() == CODE


def test_the_same_content_has_the_same_name(tmp_path: Path) -> None:
    first = pack(project(tmp_path / "one"))
    again = project(tmp_path / "two")
    for path in (tmp_path / "two").rglob("*"):
        os.utime(path, (1, 1))
    assert pack(again).root == first.root
    written(tmp_path / "two", CODE + "\n")
    assert pack(again).root != first.root


def test_what_is_too_large_is_refused_by_its_largest_file(tmp_path: Path) -> None:
    path = project(tmp_path)
    with (tmp_path / "shop" / "weights.bin").open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(PackingError, match=r"more than 256 MiB; .*weights\.bin alone has 256 MiB.*yurt models publish"):
        pack(path)


def test_links_and_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project(tmp_path)
    monkeypatch.setattr(bundle, "MAX_FILES", 2)
    with pytest.raises(PackingError, match="at most 2 are packed"):
        pack(path)
    (tmp_path / "shop" / "link.txt").symlink_to("/etc/passwd")
    with pytest.raises(PackingError, match="is a link"):
        pack(path)
