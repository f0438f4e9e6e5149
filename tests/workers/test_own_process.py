"""Yurt's own processes in a folder whose names are in their way."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workers.own_process import own_process


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        ("workers", (), "YURT_URL is missing"),
        ("webhook", ("check", "--config", "none.toml"), "there is no none.toml"),
        ("infra.local", ("--help",), "--bucket"),
    ],
)
def test_a_folder_of_the_same_name_in_the_current_directory_is_not_imported(
    tmp_path: Path, module: str, arguments: tuple[str, ...], says: str
) -> None:
    for name in ("workers", "webhook", "infra"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    ran = subprocess.run(
        own_process(module, *arguments), cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert says in ran.stdout + ran.stderr
    assert "the wrong package" not in ran.stderr
