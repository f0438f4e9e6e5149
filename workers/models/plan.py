"""Plans the download of a model: its files cut into parts, each of which is fetched, checked and noted alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from workers.models.errors import ModelChanged, ModelUnavailable
from workers.models.manifest import FILE_NAME, PART_BYTES, ModelManifest, parts_of, root_of
from workers.protocol import ModelRef, ModelSources

_PUBLISH = "publish the model anew with `yurt models publish`"


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """One range of one file."""

    number: int
    """Counts the parts of all files."""
    path: str
    offset: int
    size: int
    sha256: str
    """Empty where nobody knows it."""


@dataclass(frozen=True)
class DownloadPlan:
    """The files of one version of a model, in order, and how they are cut."""

    root: str
    files: tuple[tuple[str, int, str], ...]
    """Path, bytes, and the ETag where the model has no manifest."""
    part_bytes: int
    manifest: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, _ in self.files)

    @cached_property
    def parts(self) -> Sequence[PlannedPart]:
        """Every part of every file, in order."""
        return tuple(self._parts())

    @cached_property
    def identity(self) -> str:
        """Equal for two downloads that may go on with each other's parts."""
        described = json.dumps([self.root, self.part_bytes, self.files])
        return hashlib.sha256(described.encode()).hexdigest()

    def _parts(self) -> Iterator[PlannedPart]:
        digests = _digests(self.manifest)
        number = 0
        for path, size, _ in self.files:
            for index in range(parts_of(size, self.part_bytes)):
                offset = index * self.part_bytes
                sha256 = digests[path][index] if digests else ""
                yield PlannedPart(number, path, offset, min(self.part_bytes, size - offset), sha256)
                number += 1


def plan_of(model: ModelRef, sources: ModelSources, manifest: bytes | None) -> DownloadPlan:
    """Return the plan by which a model is fetched from ``sources``, and by its manifest where it has one.

    Raises `ModelUnavailable` where the three contradict each other: what is in the bucket is not what was published.
    """
    if sources.root != model.root:
        raise ModelUnavailable(f"The control plane gave the sources of another version of the model {model.name}.")
    plan = _published(model, manifest) if manifest is not None else _unpublished(model, sources)
    if {path: size for path, size, _ in plan.files} != {source.path: source.size for source in sources.files}:
        raise ModelUnavailable(f"The files of the model {model.name} are others than its manifest names: {_PUBLISH}.")
    if plan.size != model.size:
        raise ModelUnavailable(f"The model {model.name} has {plan.size} bytes, and was to have {model.size}.")
    return plan


def require_same(sources: ModelSources, renewed: ModelSources) -> None:
    """Raise `ModelChanged` unless renewed sources are of the same files."""
    before = _known(sources)
    for source in renewed.files:
        if before.pop(source.path, None) != (source.size, source.etag):
            raise ModelChanged(source.path)
    if before or sources.root != renewed.root:
        raise ModelUnavailable("The control plane gave the sources of other files when asked again for the same model.")


def _known(sources: ModelSources) -> dict[str, tuple[int, str | None]]:
    return {source.path: (source.size, source.etag) for source in sources.files}


def _published(model: ModelRef, encoded: bytes) -> DownloadPlan:
    if root_of(encoded) != model.root:
        raise ModelUnavailable(f"The manifest of the model {model.name} is another than its root says: {_PUBLISH}.")
    try:
        manifest = ModelManifest.decode(encoded)
    except ValueError:
        raise ModelUnavailable(f"The manifest of the model {model.name} cannot be read: {_PUBLISH}.") from None
    files = tuple((file.path, file.size, "") for file in manifest.files)
    return DownloadPlan(model.root, files, manifest.part_bytes, encoded)


def _unpublished(model: ModelRef, sources: ModelSources) -> DownloadPlan:
    files = sorted((source.path, source.size, source.etag or "") for source in sources.files)
    paths = {path for path, _, _ in files}
    folders = {path[:i] for path in paths for i, character in enumerate(path) if character == "/"}
    if clash := folders & {*paths, FILE_NAME} or {FILE_NAME} & paths:
        raise ModelUnavailable(f"{min(clash)} of the model {model.name} is a file and a folder: rename one of them.")
    if len(paths) != len(files):
        raise ModelUnavailable(f"The control plane named a file of the model {model.name} twice.")
    if not all(etag for _, _, etag in files):
        raise ModelUnavailable(f"The model {model.name} has neither manifest nor ETags, so no version: {_PUBLISH}.")
    return DownloadPlan(model.root, tuple(files), PART_BYTES)


def _digests(manifest: bytes | None) -> Mapping[str, Sequence[str]]:
    return {file.path: file.parts for file in ModelManifest.decode(manifest).files} if manifest is not None else {}
