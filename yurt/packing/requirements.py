"""Locks requirements with hashes, by uv: what workers install is what was locked, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from yurt.packing.errors import PackingError

_SECONDS = 300
_MAX_LOCK_BYTES = 4 << 20
_MOST_LINES = 15
PYTHON = "3.11"
"""The oldest version that workers have: the lock fits this one and all newer ones."""


def lock(requirements: Iterable[str], constraints: str = "", *, anew: bool = False) -> str:
    """Return the requirements and all that they need, pinned and with the hashes of wheels; empty where there are none.

    The result is kept in this user's cache, so that the same requirements give the same lock until it is made ``anew``.

    Args:
        requirements: As in a requirements file.
        constraints: Versions that the worker runs on itself, which the requirements have to fit.
        anew: Look for newer versions.

    Raises `PackingError` where uv is missing, a package does not exist, has no wheel, or contradicts another one.

    """
    wanted = sorted({requirement.strip() for requirement in requirements})
    if not wanted:
        return ""
    uv = find_uv()
    if uv is None:
        raise PackingError("uv locks the requirements, and is not installed: pip install uv.")
    kept = _kept(wanted, constraints)
    if kept.is_file() and not anew:
        return kept.read_text("utf-8")
    locked = _compile(uv, wanted, constraints)
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}")
    draft.write_text(locked, "utf-8")
    draft.replace(kept)
    return locked


def find_uv() -> str | None:
    """Return the path of uv: beside this interpreter, or on the PATH; None where it is in neither."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _compile(uv: str, wanted: list[str], constraints: str) -> str:
    with tempfile.TemporaryDirectory(prefix="yurt-lock-") as folder:
        limits = Path(folder, "constraints.txt")
        limits.write_text(constraints, "utf-8")
        command = [
            uv, "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON, "--generate-hashes",
            "--no-header", "--no-annotate", "--no-build", "--constraints", str(limits), "-",
        ]  # fmt: skip
        try:
            run = subprocess.run(
                command,
                input="\n".join(wanted).encode(),
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            raise PackingError(
                f"uv did not lock the requirements within {_SECONDS} s: is its index reachable?"
            ) from None
    if run.returncode != 0:
        why = "\n".join(run.stderr.decode(errors="replace").strip().splitlines()[:_MOST_LINES])
        raise PackingError(f"The requirements cannot be locked (only wheels are used, nothing is built):\n{why}")
    if len(run.stdout) > _MAX_LOCK_BYTES:
        raise PackingError("The requirements need thousands of packages: name fewer.")
    return run.stdout.decode()


def _kept(wanted: list[str], constraints: str) -> Path:
    caches = os.environ.get("XDG_CACHE_HOME", "")
    parent = Path(caches) if caches.startswith("/") else Path.home() / ".cache"
    # Other indexes may have other files.
    indexes = {name: value for name, value in os.environ.items() if name.startswith("UV_")}
    identity = json.dumps([PYTHON, wanted, constraints, indexes], sort_keys=True)
    return parent / "yurt" / "locks" / f"{hashlib.sha256(identity.encode()).hexdigest()}.txt"
