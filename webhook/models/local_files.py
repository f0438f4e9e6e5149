"""Collects the files of a model to publish from this machine, and computes the digests of their parts.

A folder keeps its layout, as a Hugging Face repository has it; what git and the hub's client keep in it is left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from workers.models import manifest
from workers.models.manifest import PART_BYTES, ModelFile, ModelManifest
from workers.protocol import MAX_MODEL_FILES

_LEFT_OUT = frozenset({".git", ".cache", ".gitattributes", ".gitignore", "__pycache__", ".DS_Store"})
_THREADS = 4
"""That compute digests: hashlib lets other threads run."""

Counted = Callable[[int], object]
"""Called with so many bytes that are done."""


class NoModel(Exception):
    """These files cannot be published. The message says what to do."""


class ChangedMeanwhile(NoModel):
    """A file was written to while it was published."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file of a model, on this machine."""

    path: str
    """In the model."""
    source: Path
    size: int
    """Bytes."""
    stamp: tuple[int, int]
    """Size and time of the last change, when it was found."""

    def check(self) -> None:
        """Raise ChangedMeanwhile where the file was written to since it was found."""
        if _stamp(self.source) != self.stamp:
            raise ChangedMeanwhile(f"{self.source} was written to meanwhile: publish the model again")

    def parts(self, part_bytes: int) -> Iterator[bytes]:
        """The content, in parts. Raises ChangedMeanwhile, OSError."""
        with self.source.open("rb") as stream:
            while part := stream.read(part_bytes):
                yield part
        self.check()


def collect(sources: Iterable[Path]) -> list[LocalFile]:
    """Find the files of a model: files themselves, and all files below folders. Links are followed.

    Raises NoModel where there is none, two have one path, or a name can be no path in a model.
    """
    found: dict[str, LocalFile] = {}
    for source in sources:
        for path, file in _below(source):
            if not manifest.is_path(path):
                raise NoModel(f"{file}: its name has characters that a model's files may not have: rename it")
            if path in found:
                raise NoModel(f"{file} and {found[path].source} would both be {path}: publish a folder that has both")
            stamp = _stamp(file)
            found[path] = LocalFile(path, file, stamp[0], stamp)
    if not found:
        raise NoModel("there is no file to publish")
    if len(found) > MAX_MODEL_FILES:
        raise NoModel(f"a model has at most {MAX_MODEL_FILES} files, these are {len(found)}")
    return [found[path] for path in sorted(found)]


def digested(files: Iterable[LocalFile], counted: Counted, part_bytes: int = PART_BYTES) -> ModelManifest:
    """Compute the manifest. ``counted`` is called from several threads. Raises ChangedMeanwhile, OSError, NoModel."""

    def digest(file: LocalFile) -> ModelFile:
        parts = []
        for part in file.parts(part_bytes):
            parts.append(hashlib.sha256(part).hexdigest())
            counted(len(part))
        return ModelFile(path=file.path, size=file.size, parts=tuple(parts))

    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            return ModelManifest(part_bytes=part_bytes, files=tuple(threads.map(digest, files)))
        except ValueError as error:
            raise NoModel(f"these files make no model: {' '.join(str(error).split())[:300]}") from None
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _below(source: Path) -> Iterator[tuple[str, Path]]:
    if source.is_file():
        yield source.name, source
        return
    if not source.is_dir():
        raise NoModel(f"there is no file {source}")
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        if len(Path(folder).relative_to(source).parts) > manifest.MAX_DEPTH:
            raise NoModel(f"{folder} is too deep: is a link in {source} that leads back to it?")
        for name in sorted(set(names) - _LEFT_OUT):
            file = Path(folder) / name
            if not file.is_file():
                raise NoModel(f"{file} is no file: remove it, or publish the files one by one")
            yield file.relative_to(source).as_posix(), file


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
