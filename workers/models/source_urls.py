"""Keeps the presigned URLs of a model's files, and renews them once the store does not take them any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from workers.models.plan import require_same
from workers.protocol import ModelSource, ModelSources


class SourceUrls:
    """The URLs of one model, for all threads of its download."""

    def __init__(self, sources: ModelSources, renew: Callable[[], ModelSources]) -> None:
        """``renew`` asks the control plane for the same model again."""
        self._sources = sources
        self._renew = renew
        self._lock = threading.Lock()
        self._files = _by_path(sources)

    def of(self, path: str) -> ModelSource:
        """Return the present source of a file."""
        return self._files[path]

    def renew(self, refused: ModelSource) -> None:
        """Ask for new URLs, unless another thread has done so since ``refused`` was taken.

        Raises `ModelUnavailable` where there are none of the same files, and what ``renew`` raises.
        """
        with self._lock:
            if self._files[refused.path] is refused:
                renewed = self._renew()
                require_same(self._sources, renewed)
                self._sources, self._files = renewed, _by_path(renewed)


def _by_path(sources: ModelSources) -> Mapping[str, ModelSource]:
    return {source.path: source for source in sources.files}
