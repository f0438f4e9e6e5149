"""Requirements are locked by uv, against an index that the test builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.yurt.wheels import index, wheel
from yurt.packing import requirements
from yurt.packing.errors import PackingError
from yurt.packing.requirements import lock


@pytest.fixture(autouse=True)
def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index(tmp_path / "index", monkeypatch)
    wheel(tmp_path / "index", "greeting", "", requires="words>=1")
    wheel(tmp_path / "index", "words", "", "1.5")
    return tmp_path / "index"


def test_all_that_is_needed_is_pinned_with_hashes() -> None:
    locked = lock(["greeting"])
    assert "greeting==1.0" in locked
    assert "words==1.5" in locked
    assert locked.count("--hash=sha256:") == 2
    assert lock([]) == ""


def test_a_lock_is_kept_until_it_is_made_anew(own_index: Path) -> None:
    first = lock(["greeting"])
    wheel(own_index, "words", "", "1.6")
    assert lock(["greeting"]) == first
    assert "words==1.6" in lock(["greeting"], anew=True)
    assert "words==1.6" in lock(["greeting"])


def test_what_cannot_be_had_is_told_in_uvs_words(own_index: Path) -> None:
    with pytest.raises(PackingError, match="no-such-package-of-ours"):
        lock(["no-such-package-of-ours"])
    with pytest.raises(PackingError, match="words"):
        lock(["greeting"], constraints="words<1")
    with pytest.raises(PackingError, match="only wheels are used"):
        lock(["not a requirement"])


def test_without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_uv", lambda: None)
    with pytest.raises(PackingError, match="pip install uv"):
        lock(["greeting"])
