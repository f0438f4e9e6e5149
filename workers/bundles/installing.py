"""Installs locked requirements into a folder: wheels with the hashes of the lock, and nothing that runs code of theirs.

By uv where it is beside this interpreter or on the PATH, which takes a tenth of the time, or else by pip. Both read the
indexes of the worker's environment (``UV_…``, ``PIP_…``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

from workers.models.errors import DownloadCancelled, ModelUnavailable

_SECONDS = 1_800.0
_POLL_SECONDS = 0.1
_MOST_CHARACTERS = 1_500
_NO_SECRETS = ("YURT_", "AWS_")


def environment_root(requirements: bytes) -> str:
    """Return the name of what a lock becomes here: the same for the same lock, Python and system."""
    system = [platform.python_implementation(), *map(str, sys.version_info[:2]), sysconfig.get_platform()]
    return hashlib.sha256(b"\0".join([b"environment", *map(str.encode, system), requirements])).hexdigest()


def install(requirements: Path, folder: Path, stop: threading.Event) -> None:
    """Install a lock into an empty folder. Raises `ModelUnavailable`, `DownloadCancelled` and OSError."""
    log = folder.with_suffix(".log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NO_SECRETS)}
    try:
        with log.open("wb") as printed:
            process = subprocess.Popen(
                command(requirements, folder), stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                env=environment, cwd=folder, start_new_session=True,
            )  # fmt: skip
        code = _wait(process, stop)
        if code != 0:
            raise ModelUnavailable(f"The requirements cannot be installed on this worker: {_why(log)}")
    finally:
        log.unlink(missing_ok=True)


def command(requirements: Path, folder: Path) -> list[str]:
    """Return the command that installs a lock."""
    only = ["--require-hashes", "--no-deps", "--target", str(folder), "--requirement", str(requirements)]
    if uv := find_uv():
        return [
            uv, "pip", "install", "--quiet", "--no-build", "--no-config", "--link-mode", "copy",
            "--python", sys.executable, *only,
        ]  # fmt: skip
    return [
        sys.executable, "-P", *_pip(), "install", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-compile", "--only-binary", ":all:", *only,
    ]  # fmt: skip


def find_uv() -> str | None:
    """Return the path of uv, or None."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _pip() -> list[str]:
    """Where pip is: installed here, or as Python brings it along for new environments."""
    if importlib.util.find_spec("pip"):
        return ["-m", "pip"]
    found = importlib.util.find_spec("ensurepip")  # some systems leave it out
    bundled = sorted(Path(found.origin).parent.glob("_bundled/pip-*.whl")) if found and found.origin else []
    if not bundled:
        raise ModelUnavailable("There is neither uv nor pip on this worker: install uv (yurt[functions]) there.")
    return [str(bundled[-1] / "pip")]


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> int:
    waited = 0.0
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            waited += _POLL_SECONDS
            if stop.is_set() or waited > _SECONDS:
                process.kill()
                process.wait()
                if stop.is_set():
                    raise DownloadCancelled from None
                raise ModelUnavailable(
                    f"The requirements were not installed within {_SECONDS:g} s: is the index reachable from here?"
                ) from None


def _why(log: Path) -> str:
    printed = log.read_bytes()[-20_000:].decode(errors="replace").strip()
    return " ".join(printed.split())[-_MOST_CHARACTERS:] or "no reason given"
