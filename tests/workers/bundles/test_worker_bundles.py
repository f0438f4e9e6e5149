"""An agent and the bundles of its leases: fetched once, kept apart, no fault of an object where they cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workers.agents import running
from tests.workers.bundles.bundled import function, offered
from tests.workers.control_plane import StubControlPlane
from tests.workers.models.range_server import RangeStore, serving
from tests.yurt.wheels import index, locked, wheel
from workers.bundles.worker_bundles import CODE, REQUIREMENTS
from workers.protocol import Done, Lease, Released, Settlement

APP = """
import yurt, other
@yurt.function
def one(file: yurt.File):
    return [other.NAME, file.key, file.read_text()]
"""


async def value(plane: StubControlPlane, lease: Lease) -> object:
    settlement = await plane.settlement(lease)
    assert isinstance(settlement, Done), settlement
    return json.loads(plane.store[f"out/{lease.key}/value.json"].data)


def unavailable(settlement: Settlement) -> str:
    assert isinstance(settlement, Released), settlement
    assert settlement.cause == "handler"
    return settlement.unavailable


async def test_versions_of_one_module_are_kept_apart(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        plane = StubControlPlane(slots=2)
        roots = [offered(store, plane, {"code/app.py": APP, "code/other.py": f"NAME = {number}"}) for number in (1, 2)]
        async with running(tmp_path, plane):
            for turn in range(2):
                for number, root in enumerate(roots, 1):
                    lease = plane.offer(f"{turn}{number}.txt", function(root), data=b"text")
                    assert await value(plane, lease) == [number, lease.key, "text"]
        fetched = [path for path, _ in store.requests]
        assert sorted(fetched) == sorted(f"bundles/{root}" for root in roots), "each once"
        assert (tmp_path / "cache" / roots[0] / CODE / "app.py").stat().st_mode & 0o222 == 0, "nothing changes it"


async def test_requirements_are_installed_once_for_all_bundles_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(tmp_path / "index", monkeypatch)
    path = wheel(tmp_path / "index", "other", "NAME = 'installed'")
    requirements = locked(tmp_path, path).read_text()
    with serving(RangeStore()) as store:
        plane = StubControlPlane()
        first, second = (
            offered(store, plane, {"code/app.py": APP + comment, REQUIREMENTS: requirements}) for comment in ("", "# 2")
        )
        async with running(tmp_path, plane):
            lease = plane.offer("a", function(first), data=b"1")
            assert await value(plane, lease) == ["installed", lease.key, "1"]
            path.unlink()  # the second one has to do with what is there
            lease = plane.offer("b", function(second), data=b"2")
            assert await value(plane, lease) == ["installed", lease.key, "2"]


async def test_what_cannot_be_had_is_no_fault_of_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(tmp_path / "index", monkeypatch)
    with serving(RangeStore()) as store:
        plane = StubControlPlane()
        broken = offered(store, plane, {"code/app.py": "import missing_module"})
        other = offered(store, plane, {"code/app.py": "one = 1"})
        lacking = offered(store, plane, {"code/app.py": APP, REQUIREMENTS: f"none-such==1 --hash=sha256:{'0' * 64}"})
        async with running(tmp_path, plane):
            for root, why in (
                ("f" * 64, "no function of this worker's pool has such a bundle"),
                (broken, "No module named 'missing_module'. Add it to requirements= of the function."),
                (other, "has no function one: deploy it anew"),
                (lacking, "The requirements cannot be installed on this worker"),
            ):
                assert why in unavailable(await plane.settlement(plane.offer(root[:3] + why[:3], function(root))))
            fine = offered(store, plane, {"code/app.py": APP, "code/other.py": "NAME = 3"})
            lease = plane.offer("fine", function(fine), data=b"x")
            assert await value(plane, lease) == [3, lease.key, "x"]
