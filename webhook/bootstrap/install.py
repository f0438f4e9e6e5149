"""Installs the worker into a folder of its own and becomes it. Served to containers whose command is `start`.

Runs before anything of Yurt is installed, with the standard library alone. The image's own packages stay visible behind
the worker's pinned ones: handlers import them. On a machine that slays itself the installation is already watched, by
the watchdog in the wheel.
"""

from __future__ import annotations

import contextlib
import os
import re
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

Fetch = Callable[[str], tuple[bytes, str]]

_WHEEL = re.compile(r"[A-Za-z0-9_.+!-]{1,100}\.whl")
_SECRETS = ("YURT_TOKEN", "CONTAINER_API_KEY", "RUNPOD_API_KEY")
_OPTIONS = ("--quiet", "--no-input", "--disable-pip-version-check")
_STEP_SECONDS = 1_800.0
"""Longest time of one step. Until then the watchdog is told that it goes on."""
_LOOK_SECONDS = 5.0


def main(fetch: Fetch) -> None:
    """Fetch, install, and become the worker; or end the process with one line.

    Args:
        fetch: Gives a part's content and the name of its file.

    """
    folder = _folder()
    wheel = _written(folder, fetch)
    if os.environ.get("YURT_SLAYS_ITSELF"):
        _watched(folder, wheel)
    install(folder)


def install(folder: Path) -> None:
    """Install what was fetched into the folder, and become the worker."""
    [wheel] = folder.glob("*.whl")
    python, into = _place(folder)
    _pip(python, [*into, "--require-hashes", "-r", str(folder / "requirements.txt")])
    _pip(python, [*into, "--no-deps", "--no-index", str(wheel)])
    packages = str(folder / "packages") if into else _packages_of(python)
    if not into:
        _show_images_packages(packages)
    # The image may set it too, and have a package of the same name there.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH", ""))))
    os.execv(python, [python, "-P", "-m", "workers"])  # noqa: S606 - no shell is wanted


def _fail(message: str) -> NoReturn:
    sys.exit(f"yurt bootstrap: {message}")


def _folder() -> Path:
    try:
        if chosen := os.environ.get("YURT_WORK_DIR"):
            Path(chosen).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="yurt-bootstrap-", dir=chosen or None))
    except OSError as error:
        _fail(f"no folder can be made for the worker: {error.strerror}. Set YURT_WORK_DIR to one that can be written")


def _written(folder: Path, fetch: Fetch) -> Path:
    """Write all parts into the folder; return the wheel."""
    content, name = fetch("wheel")
    if not _WHEEL.fullmatch(name):
        _fail("the control plane's wheel has no name")
    (folder / name).write_bytes(content)
    (folder / "requirements.txt").write_bytes(fetch("requirements")[0])
    (folder / "install.py").write_bytes(fetch("script")[0])
    return folder / name


def _watched(folder: Path, wheel: Path) -> None:
    """Go on in a child process, and destroy the machine once that has ended. Returns where the machine cannot."""
    sys.path.insert(0, str(wheel))
    from workers.self_slaying import CannotSlayItself, OwnMachine
    from workers.watchdog import watch

    try:
        machine = OwnMachine.take()
    except CannotSlayItself as error:
        sys.stderr.write(f"yurt bootstrap: this machine cannot slay itself: {error}\n")
        return
    if machine is not None:
        sys.exit(watch(machine, [sys.executable, str(folder / "install.py"), str(folder)], os.environ))


def _place(folder: Path) -> tuple[str, Sequence[str]]:
    """Make a place for packages; return the interpreter to install with, and pip's options for the place."""
    venv = folder / "venv"
    if _run([sys.executable, "-m", "venv", str(venv)])[0] == 0:
        return str(venv / "bin" / "python"), ()
    if _run([sys.executable, "-m", "pip", "--version"])[0]:
        _fail("this image has neither venv nor pip: on Debian, install python3-venv into it")
    return sys.executable, ("--target", str(folder / "packages"))


def _pip(python: str, arguments: Sequence[str]) -> None:
    code, printed = _run([python, "-m", "pip", "install", *_OPTIONS, *arguments])
    if code:
        _fail(_why(printed))


def _why(printed: str) -> str:
    """Return in one line what pip has printed."""
    if "DO NOT MATCH THE HASHES" in printed:
        return "a package of the index is not the pinned one: its hash does not match"
    errors = [line for line in printed.splitlines() if line.startswith("ERROR:")] or printed.splitlines()[-1:]
    if "Failed to establish a new connection" in printed or "No matching distribution" in printed:
        errors = [f"{''.join(errors[-1:])} (is the package index reachable? PIP_INDEX_URL names another)"]
    return f"pip failed: {''.join(errors[:1])[:500]}"


def _packages_of(python: str) -> str:
    return _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])[1].strip()


def _show_images_packages(packages: str) -> None:
    """Put the packages of the image's own interpreter behind those of the worker."""
    own = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if Path(path).is_dir()]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in own)
    (Path(packages) / "image-packages.pth").write_text(lines, encoding="utf-8")


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Run one step; return its exit code and what it printed."""
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen(command, env=_without_secrets(os.environ), stdout=printed, stderr=printed) as process,
    ):
        until = time.monotonic() + _STEP_SECONDS
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
                break
            _give_sign_of_life()
            if time.monotonic() > until:
                process.kill()
        printed.seek(0)
        return process.returncode, printed.read().decode(errors="replace")


def _give_sign_of_life() -> None:
    """Tell the watchdog that the installation goes on; see `workers.signs_of_life`."""
    if pipe := os.environ.get("YURT_WATCHDOG"):
        os.write(int(pipe), b".")


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _SECRETS}


if __name__ == "__main__":
    install(Path(sys.argv[1]))
