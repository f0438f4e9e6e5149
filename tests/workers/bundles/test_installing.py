"""Locked wheels are installed by uv or by pip, and nothing else is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.yurt.wheels import index, locked, wheel
from workers.bundles import installing
from workers.bundles.installing import environment_root, install
from workers.models.errors import DownloadCancelled, ModelUnavailable


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pip":
        monkeypatch.setattr(installing, "find_uv", lambda: None)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    index(tmp_path / "index", monkeypatch)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "target").mkdir()
    return tmp_path / "index"


@pytest.mark.usefixtures("installer")
def test_wheels_with_the_hashes_of_the_lock(packages: Path, tmp_path: Path) -> None:
    requirements = locked(tmp_path, wheel(packages, "greeting", "WORDS = 1"))
    install(requirements, tmp_path / "target", threading.Event())
    assert (tmp_path / "target" / "greeting.py").read_text() == "WORDS = 1"


@pytest.mark.usefixtures("installer")
def test_another_hash_is_refused(packages: Path, tmp_path: Path) -> None:
    requirements = locked(tmp_path, wheel(packages, "greeting", ""), digest="0" * 64)
    with pytest.raises(ModelUnavailable, match=r"(?i)cannot be installed on this worker.*hash"):
        install(requirements, tmp_path / "target", threading.Event())
    assert not (tmp_path / "target" / "greeting.py").exists()


@pytest.mark.usefixtures("installer")
def test_a_package_that_is_not_there(packages: Path, tmp_path: Path) -> None:
    requirements = locked(tmp_path, wheel(packages, "greeting", ""))
    (packages / "greeting-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelUnavailable, match="greeting"):
        install(requirements, tmp_path / "target", threading.Event())


def test_an_installation_that_is_stopped(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "command", lambda *_: ["sleep", "100"])
    stop = threading.Event()
    stop.set()
    with pytest.raises(DownloadCancelled):
        install(packages, tmp_path / "target", stop)


def test_the_name_of_an_environment_is_of_its_lock_and_of_this_python() -> None:
    assert environment_root(b"a") == environment_root(b"a") != environment_root(b"b")
    assert len(environment_root(b"a")) == 64
