"""Builds the worker's wheel from the package that is installed here: the machine runs what the control plane knows.

From a checkout, an editable installation and an installed wheel the same bytes are built: names in order, one date, no
compression, whose result depends on the library's version.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_REQUIREMENTS = Path(__file__).with_name("worker-requirements.txt")
_IN_CHECKOUT = Path(__file__).parents[2] / "requirements" / "worker.txt"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_METADATA = "Metadata-Version: 2.1\nName: yurt\nVersion: {}\nRequires-Python: >=3.11\n"
_FILE_MODE = 0o644 << 16


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel's file."""

    name: str
    content: bytes


def worker_wheel() -> Wheel:
    """Build the wheel of the packages ``workers`` and ``yurt``."""
    release = version("yurt")
    info = f"yurt-{release}.dist-info"
    files = {
        **_package("workers"),
        **_package("yurt"),
        f"{info}/METADATA": _METADATA.format(release).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: yurt\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return Wheel(f"yurt-{release}-py3-none-any.whl", _archive(files, f"{info}/RECORD"))


def worker_requirements() -> bytes:
    """Return what a worker needs, pinned and with hashes: in a wheel beside this module, in a checkout its own file."""
    return (_REQUIREMENTS if _REQUIREMENTS.is_file() else _IN_CHECKOUT).read_bytes()


def _package(name: str) -> dict[str, bytes]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {name} is not installed as files")
    folder = Path(spec.origin).parent
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def _archive(files: Mapping[str, bytes], record: str) -> bytes:
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in sorted(files.items())]
    all_files = {**files, record: "\n".join([*rows, f"{record},,", ""]).encode()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(all_files.items()):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = 3, _FILE_MODE
            archive.writestr(entry, content)
    return made.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
