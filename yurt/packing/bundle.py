"""The bundle: one ZIP whose SHA-256 names it, with the code and the locked requirements. The same content gives the
same bytes: names in order, one date, no compression.

::

    code/app.py            what Python imports
    requirements.txt       locked with hashes; missing where there are none
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from yurt.packing.discovery import FoundModule, discover
from yurt.packing.errors import PackingError
from yurt.packing.requirements import lock

CODE, REQUIREMENTS = "code", "requirements.txt"
MAX_BYTES = 256 << 20
"""Of a bundle."""
MAX_FILES = 10_000
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_IGNORED_SUFFIXES = frozenset({".pyc", ".pyo", ".secrets", ".pem", ".key"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A packed module."""

    module: FoundModule
    requirements: str
    """Locked; empty where there are none."""
    content: bytes
    root: str
    """SHA-256 of the content, in hexadecimal digits."""
    files: tuple[str, ...]
    """Names in it."""


def pack(path: Path, constraints: str = "", *, anew: bool = False) -> Bundle:
    """Pack a Python file with what it imports from its folder: modules, and packages whole.

    Left out are hidden files, caches, environments and what looks like a secret. ``constraints`` and ``anew``: see
    `lock`. Raises `PackingError`, also for more than 256 MiB.
    """
    module = discover(path)
    wanted = {text for function in module.functions for text in function.settings.requirements}
    locked = lock(wanted, constraints, anew=anew)
    contents = dict(_contents(module))
    if locked:
        contents[REQUIREMENTS] = locked.encode()
    content = _archive(contents)
    return Bundle(module, locked, content, hashlib.sha256(content).hexdigest(), tuple(sorted(contents)))


def _contents(module: FoundModule) -> Iterator[tuple[str, bytes]]:
    total = 0
    paths = [path for top in module.files for path in _below(module.folder / top)]
    if len(paths) > MAX_FILES:
        raise PackingError(f"The module's folder has {len(paths):,} files: at most {MAX_FILES:,} are packed.")
    for path in sorted(paths):
        total += path.stat().st_size
        if total > MAX_BYTES:
            raise _too_large(paths)
        yield str(PurePosixPath(CODE, *path.relative_to(module.folder).parts)), path.read_bytes()


def _too_large(paths: Iterable[Path]) -> PackingError:
    largest = max(paths, key=lambda path: path.stat().st_size)
    return PackingError(
        f"The bundle would have more than {MAX_BYTES >> 20} MiB; {largest} alone has "
        f"{largest.stat().st_size / (1 << 20):,.0f} MiB. Publish large files as a model: yurt models publish."
    )


def _below(top: Path) -> Iterator[Path]:
    """A module's file, or the files of a package, without what does not belong into a bundle."""
    if top.is_symlink():
        raise PackingError(f"{top} is a link: put the file itself there.")
    if top.is_file():
        yield top
        return
    for parent, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not _is_ignored_folder(Path(parent, name))]
        for path in (Path(parent, name) for name in names):
            if path.name.startswith(".") or path.suffix in _IGNORED_SUFFIXES:
                continue
            if path.is_symlink():
                raise PackingError(f"{path} is a link: put the file itself there.")
            if path.is_file():
                yield path


def _is_ignored_folder(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _IGNORED_FOLDERS or (path / "pyvenv.cfg").is_file()


def _archive(contents: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = 3, _MODE
            archive.writestr(entry, content)
    if made.tell() > MAX_BYTES:
        raise PackingError(f"The bundle has more than {MAX_BYTES >> 20} MiB: publish large files as a model.")
    return made.getvalue()
