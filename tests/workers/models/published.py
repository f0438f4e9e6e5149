"""Models for the tests: published with a manifest, or plain objects, in a store that serves ranges."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.workers.models.range_server import RangeStore
from workers.models.cache import ModelCache
from workers.models.download import DownloadLimits
from workers.models.fetch import ModelFetch
from workers.models.manifest import ModelFile, ModelManifest, root_of, unpublished_root
from workers.protocol import Download, ModelRef, ModelSource, ModelSources

PART = 1 << 16
"""The smallest that a manifest may name."""
IMPATIENT = DownloadLimits(stall_seconds=0.3, part_seconds=0.5, lowest_bytes_per_second=1 << 20, first_seconds=0.01)


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from part to part."""
    return random.Random(seed).randbytes(size)


@dataclass
class TestModel:
    """One version of a model, and where it lies."""

    __test__ = False

    store: RangeStore
    ref: ModelRef
    files: Mapping[str, bytes]
    manifest: bytes | None
    prefix: str
    asked: int = 0
    """How often its sources were asked for."""

    def sources(self) -> ModelSources:
        """What the control plane answers."""
        self.asked += 1
        return ModelSources(
            root=self.ref.root,
            manifest=self._download("manifest.json") if self.manifest else None,
            files=tuple(
                ModelSource(
                    path=path,
                    size=len(data),
                    etag=None if self.manifest else hashlib.md5(data, usedforsecurity=False).hexdigest(),
                    download=self._download(path),
                )
                for path, data in self.files.items()
            ),
        )

    def fetch(self, cache: ModelCache, limits: DownloadLimits = IMPATIENT) -> ModelFetch:
        return ModelFetch(cache, self.ref, self.sources, limits)

    def is_in(self, cache: ModelCache) -> bool:
        """Whether the model is in a cache, whole."""
        if (held := cache.hold(self.ref.root)) is None:
            return False
        with contextlib.closing(held):
            return self.lies_in(held.path)

    def lies_in(self, folder: Path) -> bool:
        """Whether a folder holds the model, and nothing else."""
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        manifest = {"manifest.json": self.manifest} if self.manifest else {}
        return {path: file.read_bytes() for path, file in found.items()} == {**self.files, **manifest}

    def _download(self, path: str) -> Download:
        return Download(url=self.store.link(f"{self.prefix}/{path}"))


def published(store: RangeStore, files: Mapping[str, bytes], name: str = "safety") -> TestModel:
    """Put a model with its manifest into the store."""
    listed = [ModelFile(path=path, size=len(data), parts=_digests(data)) for path, data in sorted(files.items())]
    manifest = ModelManifest(part_bytes=PART, files=tuple(listed)).encode()
    prefix = f"models/{name}/{root_of(manifest)}"
    store.put(f"{prefix}/manifest.json", manifest)
    return _stored(store, files, manifest, root_of(manifest), prefix, name)


def unpublished(store: RangeStore, files: Mapping[str, bytes], name: str = "plain") -> TestModel:
    """Put a model's files into the store as they are."""
    prefix = f"models/{name}"
    etags = {path: store.put(f"{prefix}/{path}", data) for path, data in files.items()}
    root = unpublished_root(("models", path, etags[path], len(data)) for path, data in files.items())
    return _stored(store, files, None, root, prefix, name)


def _stored(
    store: RangeStore, files: Mapping[str, bytes], manifest: bytes | None, root: str, prefix: str, name: str
) -> TestModel:
    for path, data in files.items():
        store.put(f"{prefix}/{path}", data)
    ref = ModelRef(name=name, root=root, size=sum(map(len, files.values())))
    return TestModel(store, ref, files, manifest, prefix)


def _digests(data: bytes) -> tuple[str, ...]:
    return tuple(hashlib.sha256(data[begin : begin + PART]).hexdigest() for begin in range(0, len(data), PART))
