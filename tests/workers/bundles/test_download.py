"""A bundle is what its name says, and unpacks into its own folder alone."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import pytest

from tests.workers.bundles.bundled import archive, stored
from tests.workers.models.range_server import RangeStore, serving
from workers.bundles.download import fetch_bundle
from workers.models.errors import DownloadCancelled, ModelUnavailable
from workers.protocol import BundleSource


def fetched(source: BundleSource, folder: Path, stop: threading.Event | None = None) -> set[str]:
    fetch_bundle(folder, lambda: source, stop or threading.Event(), 0.001)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_is_unpacked_and_nothing_else_is_left(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        source = stored(store, archive({"code/app.py": "x", "code/shop/data.json": "{}"}))
        assert fetched(source, tmp_path) == {"code/app.py", "code/shop/data.json"}


def test_other_bytes_are_not_believed(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        source = stored(store, archive({"code/app.py": "x"}))
        store.objects[f"bundles/{source.root}"] = archive({"code/app.py": "y"})
        with pytest.raises(ModelUnavailable, match="another content than its name says"):
            fetched(source, tmp_path)
        assert not list(tmp_path.rglob("*.py"))


def test_a_bundle_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        source = stored(store, b"x")
        store.objects.clear()
        with pytest.raises(ModelUnavailable, match="the request for a bundle with 404 NoSuchKey"):
            fetched(source, tmp_path)
        with pytest.raises(ModelUnavailable, match="at most 268,435,456 are fetched"):
            fetched(source.model_copy(update={"size": (256 << 20) + 1}), tmp_path)


@pytest.mark.parametrize("name", ["../out.py", "/etc/x.py", "code/../../x.py", "code//x.py", "code\\x.py"])
def test_no_path_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        source = stored(store, archive({name: "x"}))
        (tmp_path / "inner").mkdir()
        with pytest.raises(ModelUnavailable, match="no path of a bundle"):
            fetched(source, tmp_path / "inner")
        assert [path.name for path in tmp_path.rglob("*.py")] == []


def test_an_archive_that_blows_up_and_one_that_is_none(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        bomb = tmp_path / "bomb.zip"
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file, file.open("code/zeros", "w") as member:
            for _ in range(257):
                member.write(bytes(1 << 20))
        folder = tmp_path / "inner"
        folder.mkdir()
        with pytest.raises(ModelUnavailable, match="unpacks to more than"):
            fetched(stored(store, bomb.read_bytes()), folder)
        with pytest.raises(ModelUnavailable, match="no archive that can be read"):
            fetched(stored(store, b"no archive"), folder)


def test_a_download_that_is_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with serving(RangeStore()) as store, pytest.raises(DownloadCancelled):
        fetched(stored(store, archive({"code/app.py": "x"})), tmp_path, stop)
