"""Wheels that a test builds, in a folder that takes the place of an index."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest


def index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make a folder the only place where packages are found. Returns the variables that say so."""
    folder.mkdir(exist_ok=True)
    variables = {"UV_FIND_LINKS": str(folder), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def wheel(folder: Path, name: str, code: str, version: str = "1.0", requires: str = "") -> Path:
    """Build a wheel with one module."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
    return path


def locked(folder: Path, *wheels: Path, digest: str = "") -> Path:
    """Write the lock of some wheels."""
    lines = []
    for path in wheels:
        name, version, *_ = path.name.split("-")
        lines.append(f"{name}=={version} --hash=sha256:{digest or hashlib.sha256(path.read_bytes()).hexdigest()}")
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(lines))
    return requirements


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
