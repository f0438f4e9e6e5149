"""How the ``yurt`` command is called from the folder in which a person stands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def yurt_command(folder: Path | None = None) -> str:
    """Return what to type in this or another folder to call this installation of Yurt, quoted for a shell.

    ``yurt`` where that is found by name, or else the path of the script: relative to the folder where it lies below
    it, such as ``.venv/bin/yurt``.
    """
    folder, script = (folder or Path()).resolve(), _script()
    if script is None:
        return f"{shlex.quote(_seen_from(folder, Path(sys.executable)))} -P -m webhook"
    by_name = shutil.which("yurt")
    if by_name and Path(by_name).resolve() == script.resolve():
        return "yurt"
    return shlex.quote(_seen_from(folder, script))


def _script() -> Path | None:
    """The script that was called, or the one beside this interpreter; None: there is none."""
    called = Path(sys.argv[0]).absolute()
    scripts = (called, Path(sys.executable).with_name("yurt"))
    return next((path for path in scripts if path.name == "yurt" and os.access(path, os.X_OK) and path.is_file()), None)


def _seen_from(folder: Path, path: Path) -> str:
    if _is_elsewhere() or not path.is_relative_to(folder):
        return str(path)
    return str(path.relative_to(folder))


def _is_elsewhere() -> bool:
    """Whether this folder is not the one in which the person stands, as after ``make -C``."""
    shell = os.environ.get("PWD")
    return bool(shell and Path(shell).resolve() != Path.cwd()) or "w" in os.environ.get("MAKEFLAGS", "").split(" ")[0]
