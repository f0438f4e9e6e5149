"""One server a port: shared by requests of one kind, replaced for a newer model once its jobs have ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.servers.running import environment_of, folder_of, pid_of, stand_in
from workers.handlers import HandlerUnavailable
from workers.handlers.http.options import HttpOptions
from workers.servers.all_servers import HandlerServers


@contextlib.asynccontextmanager
async def servers(folder: Path, cog_folder: Path = Path("/no/such/folder")) -> AsyncIterator[HandlerServers]:
    all_servers = HandlerServers(folder, None, cog_folder)
    try:
        yield all_servers
    finally:
        await all_servers.aclose()


async def test_pipelines_that_send_other_requests_share_a_server(tmp_path: Path) -> None:
    options = stand_in()
    async with servers(tmp_path) as them:
        pids = set()
        for path in ("/echo", "/other"):
            async with them.using(HttpOptions.model_validate({**options, "path": path}), {}):
                pids.add(await pid_of(options["port"]))
        assert len(pids) == 1


async def test_a_newer_model_has_a_server_of_its_own_once_the_jobs_of_the_old_have_ended(tmp_path: Path) -> None:
    options = stand_in("{model:safety}")
    given = HttpOptions.model_validate(options)
    async with servers(tmp_path) as them, contextlib.AsyncExitStack() as old:
        await old.enter_async_context(them.using(given, {"safety": tmp_path / "1"}))
        first = await pid_of(options["port"])

        async def of_newer() -> int:
            async with them.using(given, {"safety": tmp_path / "2"}):
                return await pid_of(options["port"])

        newer = asyncio.create_task(of_newer())
        async with them.using(given, {"safety": tmp_path / "1"}):
            assert await pid_of(options["port"]) == first
        assert not newer.done()
        await old.aclose()
        assert await newer != first


async def test_the_environment_holds_folders_of_models_and_a_newer_one_has_a_server_of_its_own(tmp_path: Path) -> None:
    options = stand_in(environment={"YURT_WEIGHTS": "{model:safety}/unet:{model:pony}", "YURT_JSON": "{a} {model}"})
    given = HttpOptions.model_validate(options)
    pids = set()
    async with servers(tmp_path) as them:
        for version in (1, 2):
            async with them.using(given, {"safety": tmp_path / str(version), "pony": tmp_path / "3"}):
                pids.add(await pid_of(options["port"]))
                weights = f"{tmp_path / str(version)}/unet:{tmp_path / '3'}"
                seen = await environment_of(options["port"])
                assert seen == {"YURT_WEIGHTS": weights, "YURT_JSON": "{a} {model}"}
        assert len(pids) == 2


@pytest.mark.parametrize("more", [{"command": ["{model:other}"]}, {"environment": {"WEIGHTS": "{model:other}"}}])
async def test_a_model_that_the_pipeline_does_not_name_is_said(tmp_path: Path, more: dict[str, Any]) -> None:
    async with servers(tmp_path) as them:
        with pytest.raises(HandlerUnavailable, match=r"\{model:other\}: add it to the models"):
            async with them.using(HttpOptions.model_validate(stand_in(**more)), {"safety": tmp_path}):
                pass


async def folder_used(them: HandlerServers, **options: Any) -> Path:
    """Where the server of such options works."""
    given = stand_in(**options)
    async with them.using(HttpOptions.model_validate(given), {}):
        return await folder_of(given["port"])


async def test_cogs_server_works_in_the_folder_of_its_image(tmp_path: Path) -> None:
    own, image, other = (tmp_path / name for name in ("own", "image", "other"))
    for folder in (own, image, other):
        folder.mkdir()
    async with servers(own, image) as them:
        assert await folder_used(them, preset="cog") == image
        assert await folder_used(them, preset="cog", folder=str(other)) == other
        assert (await folder_used(them)).parent == own
    async with servers(other, tmp_path / "missing") as them:
        assert (await folder_used(them, preset="cog")).parent == other


async def test_a_server_in_another_folder_is_another_one(tmp_path: Path) -> None:
    options = stand_in()
    folders = [tmp_path / "a", tmp_path / "b"]
    async with servers(tmp_path) as them:
        for folder in folders:
            folder.mkdir()
            async with them.using(HttpOptions.model_validate({**options, "folder": str(folder)}), {}):
                assert await folder_of(options["port"]) == folder
