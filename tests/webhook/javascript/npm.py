"""The real Uppy from npm, by a lock file with hashes, bundled for a browser with the wiring that the docs show."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.sources import ROOT

LOCKED = Path(__file__).parent / "uppy"
_SECONDS = 90
_UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "EBADPLATFORM", "E403", "E404", "ENETUNREACH")
"""Codes of npm where there is no registry, or none of these packages for this machine."""


@cache
def wiring() -> str:
    """The function of the docs that wires AwsS3 to Yurt."""
    page = (ROOT / "docs/javascript.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    [code] = [block for block in blocks if "@uppy/aws-s3" in block]
    return code


def version() -> str:
    """Another one whenever the packages or the wiring change."""
    return hashlib.sha256((LOCKED / "package-lock.json").read_bytes() + wiring().encode()).hexdigest()[:16]


def bundled_uppy(folder: Path) -> bytes:
    """An ES module that exports ``Uppy`` and the wiring of the docs. Skips the test where npm reaches no registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm: install Node.js")
    shutil.copytree(LOCKED, folder, dirs_exist_ok=True)
    installed = _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"], folder)
    if installed.returncode and any(code in installed.stderr for code in _UNREACHABLE):
        pytest.skip(f"npm cannot fetch Uppy: {installed.stderr.strip().splitlines()[0]}")
    assert installed.returncode == 0, installed.stderr
    (folder / "entry.js").write_text(f'export {{ default as Uppy }} from "@uppy/core";\n{wiring()}', encoding="utf-8")
    esbuild = folder / "node_modules/@esbuild/linux-x64/bin/esbuild"
    bundle = _run([str(esbuild), "entry.js", "--bundle", "--format=esm", "--outfile=bundle.js"], folder)
    assert bundle.returncode == 0, bundle.stderr
    return (folder / "bundle.js").read_bytes()


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
