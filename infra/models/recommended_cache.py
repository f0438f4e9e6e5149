"""Keeps the recommended models on this machine's disk: they are downloaded and converted once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from infra.models.packages import PackageUnavailableError
from infra.models.recommended import MODELS, version, write_models
from workers.inference import runtime


class RecommendedCache:
    """The folders of the recommended models, below the user's caches (``~/.cache/yurt/recommended``).

    Args:
        folder: Where to keep them.

    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or _default()) / version()

    @property
    def is_filled(self) -> bool:
        """Whether nothing has to be downloaded."""
        return self._folder.is_dir()

    def models(self, check: Callable[[], None] = lambda: None) -> dict[str, Path]:
        """Return the folder of each model, which is written if need be. Raises PackageUnavailableError.

        ``check`` is called several times a second during a download, and ends it by raising an error.
        """
        if not self.is_filled:
            try:
                self._fill(check)
            except OSError as error:
                reason = error.strerror or str(error)
                raise PackageUnavailableError(f"{self._folder} cannot be written: {reason}") from error
        return {name: self._folder / name for name in MODELS}

    def _fill(self, check: Callable[[], None]) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder.parent))
        try:
            write_models(beside, check)
            # At once, so that no other process finds a part of it. One that was faster has written the same bytes.
            beside.rename(self._folder)
        except OSError:
            if not self.is_filled:
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def recommended_models(note: Callable[[str], None], check: Callable[[], None]) -> dict[str, Path]:
    """Return the folders of the models, and tell a person where that takes some seconds.

    Raises PackageUnavailableError also where this installation could not run them.
    """
    if not runtime.available():
        raise PackageUnavailableError("onnxruntime is not installed: pip install 'yurt[local]'")
    cache = RecommendedCache()
    if not cache.is_filled:
        note("downloading and converting the models that check photos, once: 41 MB, some seconds")
    return cache.models(check)


def _default() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(caches) if caches.startswith("/") else Path.home() / ".cache"
    except RuntimeError as error:
        raise PackageUnavailableError("there is no home folder to keep the models in: set XDG_CACHE_HOME") from error
    return folder / "yurt" / "recommended"
