"""Installs the worker into a folder of its own and becomes it. Served to containers whose command is `start`.

Runs before anything of Yurt is installed, with the standard library alone. The image's own packages stay visible behind
the worker's pinned ones: handlers import them.
"""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

Fetch = Callable[[str], tuple[bytes, str]]
Fail = Callable[[str], NoReturn]

_WHEEL = re.compile(r"[A-Za-z0-9_.+!-]{1,100}\.whl")
_SECRETS = ("YURT_TOKEN", "CONTAINER_API_KEY", "RUNPOD_API_KEY")
_OPTIONS = ("--quiet", "--no-input", "--disable-pip-version-check")


def main(fetch: Fetch, fail: Fail) -> None:
    """Fetch, install, and become the worker; or end the process with one line.

    Args:
        fetch: Gives a part's content and the name of its file.
        fail: Ends the process with a message.

    """
    folder = _folder(fail)
    requirements, wheel = _written(folder, fetch, fail)
    python, into = _place(folder, fail)
    _install(python, [*into, "--require-hashes", "-r", str(requirements)], fail)
    _install(python, [*into, "--no-deps", "--no-index", str(wheel)], fail)
    if into:
        packages = str(folder / "packages")
    else:
        packages = _purelib(python)
        _show_images_packages(packages)
    # The image may set it too, and have a package of the same name there.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH", ""))))
    os.execv(python, [python, "-P", "-m", "workers"])  # noqa: S606 - no shell is wanted


def _folder(fail: Fail) -> Path:
    try:
        if chosen := os.environ.get("YURT_WORK_DIR"):
            Path(chosen).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="yurt-bootstrap-", dir=chosen or None))
    except OSError as error:
        fail(f"no folder can be made for the worker: {error.strerror}. Set YURT_WORK_DIR to one that can be written")


def _written(folder: Path, fetch: Fetch, fail: Fail) -> tuple[Path, Path]:
    content, name = fetch("wheel")
    if not _WHEEL.fullmatch(name):
        fail("the control plane's wheel has no name")
    (folder / name).write_bytes(content)
    (folder / "requirements.txt").write_bytes(fetch("requirements")[0])
    return folder / "requirements.txt", folder / name


def _place(folder: Path, fail: Fail) -> tuple[str, Sequence[str]]:
    """Make a place for packages; return the interpreter to install with, and pip's options for the place."""
    venv = folder / "venv"
    if _run([sys.executable, "-m", "venv", str(venv)]).returncode == 0:
        return str(venv / "bin" / "python"), ()
    if _run([sys.executable, "-m", "pip", "--version"]).returncode:
        fail("this image has neither venv nor pip: on Debian, install python3-venv into it")
    return sys.executable, ("--target", str(folder / "packages"))


def _install(python: str, arguments: Sequence[str], fail: Fail) -> None:
    done = _run([python, "-m", "pip", "install", *_OPTIONS, *arguments])
    if done.returncode:
        fail(_why(done.stdout + done.stderr))


def _why(printed: str) -> str:
    """Return in one line what pip has printed."""
    if "DO NOT MATCH THE HASHES" in printed:
        return "a package of the index is not the pinned one: its hash does not match"
    errors = [line for line in printed.splitlines() if line.startswith("ERROR:")] or printed.splitlines()[-1:]
    if "Failed to establish a new connection" in printed or "No matching distribution" in printed:
        errors = [f"{''.join(errors[-1:])} (is the package index reachable? PIP_INDEX_URL names another)"]
    return f"pip failed: {''.join(errors[:1])[:500]}"


def _purelib(python: str) -> str:
    return _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout.strip()


def _show_images_packages(packages: str) -> None:
    """Put the packages of the image's own interpreter behind those of the worker."""
    own = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if Path(path).is_dir()]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in own)
    (Path(packages) / "image-packages.pth").write_text(lines, encoding="utf-8")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=_without_secrets(os.environ), capture_output=True, text=True, check=False, errors="replace"
    )


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _SECRETS}
