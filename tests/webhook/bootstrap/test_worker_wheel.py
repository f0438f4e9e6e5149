"""The worker's wheel is the same from a checkout and from an installed wheel, and holds the worker alone."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

from webhook.bootstrap.worker_wheel import worker_requirements, worker_wheel

ROOT = Path(__file__).resolve().parents[3]
DIGESTS = """
import hashlib
import webhook
from webhook.bootstrap.worker_wheel import worker_requirements, worker_wheel
print(webhook.__file__, *(hashlib.sha256(each).hexdigest() for each in (worker_wheel().content, worker_requirements())))
"""


def test_it_holds_the_packages_of_workers_alone() -> None:
    wheel = worker_wheel()
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    tops = {name.split("/")[0] for name in names}
    assert tops == {"workers", "yurt", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}
    assert {"workers/agent.py", "workers/handlers/photo/__init__.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


def test_an_installed_wheel_builds_the_same_bytes(tmp_path: Path) -> None:
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-P", "-c", DIGESTS], env={"PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path,
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    where, *digests = done.stdout.split()
    assert where.startswith(str(tmp_path / "site"))
    assert digests == [hashlib.sha256(each).hexdigest() for each in (worker_wheel().content, worker_requirements())]


def test_every_requirement_has_its_hash() -> None:
    pinned = [block for block in worker_requirements().decode().split("\n") if "==" in block]
    assert len(pinned) > 10
    assert all(line.endswith("\\") for line in pinned)
