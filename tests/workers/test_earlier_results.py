"""Objects that the ledger has forgotten, whose manifests have not: nothing is done twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.workers.agents import running
from tests.workers.control_plane import MODIFIED, ServedContent
from workers.manifest import Manifest
from workers.protocol import Done, Expected, Unchanged


async def test_what_the_manifest_names_is_not_worked_again(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        first = await plane.settlement(plane.offer("a"))
        assert isinstance(first, Done)
        again = await plane.settlement(plane.offer("a", manifest=True))
        assert isinstance(again, Unchanged)
        assert again.fetched is not None
        assert again.fetched.etag == plane.store["in/a"].etag
        assert {output.name: output.etag for output in again.outputs} == {
            output.name: output.etag for output in first.outputs
        }
        assert len(plane.of_kind("outputs")) == 1


@pytest.mark.parametrize("there", [b"", b"{", b"[]", b"x" * (3 << 20)], ids=["empty", "torn", "other", "long"])
async def test_a_manifest_that_cannot_be_read_means_nothing(tmp_path: Path, there: bytes) -> None:
    async with running(tmp_path) as plane:
        plane.store["out/a/result.json"] = ServedContent(there)
        lease = plane.offer("a", manifest=True)
        plane.url_of = lambda lease, output: plane._upload(lease, output.model_copy(update={"conflict": True}))
        assert isinstance(await plane.settlement(lease), Done)


async def test_a_manifest_of_other_content_or_of_another_object_means_work(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        await plane.settlement(plane.offer("a"))
        plane.store["out/b/result.json"] = plane.store["out/a/result.json"]
        plane.url_of = lambda lease, output: plane._upload(lease, output.model_copy(update={"conflict": True}))
        assert isinstance(await plane.settlement(plane.offer("b", manifest=True)), Done)
        believed = Expected(believed=True)
        lease = plane.offer("a", manifest=True, data=b"something else", expected=believed)
        assert isinstance(await plane.settlement(lease), Done)


async def test_content_not_newer_than_the_manifests_is_a_replica_that_is_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        await plane.settlement(plane.offer("a"))
        told = Manifest.decode(plane.store["out/a/result.json"].data)
        later = told.model_copy(
            update={
                "input": told.input.model_copy(update={"etag": "newer", "modified": MODIFIED + timedelta(seconds=5)})
            }
        )
        plane.store["out/a/result.json"] = ServedContent(later.encode())
        assert (await plane.failure(plane.offer("a", manifest=True))).reason == "replica-behind"
