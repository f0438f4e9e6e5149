"""The wheel, installed into an empty folder: what ``pip install`` without a checkout has."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = (folder / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-m", "webhook", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=110)


def test_no_data_file_is_left_out(installed: Path) -> None:
    folders = [ROOT / name for name in ("webhook", "workers", "infra", "yurt")]
    files = [path.relative_to(ROOT) for folder in folders for path in folder.rglob("*") if path.is_file()]
    written = [path for path in files if "__pycache__" not in path.parts]
    assert len(written) > 100
    assert [path for path in written if not (installed / path).is_file()] == []
    assert (installed / "webhook/cli/sample.toml").read_bytes() == (ROOT / "yurt.toml").read_bytes()


def test_init_and_check_need_no_checkout(installed: Path, tmp_path: Path) -> None:
    made = run(installed, "init", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "yurt.toml").read_bytes() == (ROOT / "yurt.toml").read_bytes()


@pytest.mark.slow
def test_the_demo_needs_no_checkout(installed: Path, tmp_path: Path) -> None:
    demo = run(installed, "demo", "--folder", "demo", cwd=tmp_path)
    assert demo.returncode == 0, demo.stderr
    assert "Verified: every result is right." in demo.stdout
    assert (tmp_path / "demo" / "contact-sheet.html").is_file()
