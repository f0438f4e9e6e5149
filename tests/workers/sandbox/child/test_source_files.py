"""Handlers in a folder of the user's: found there, read anew after each edit, and never in place of Yurt's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest

from tests.workers.sandbox.jobs import JobFolder, limits, run, sandbox
from workers import protocol
from workers.handlers import HandlerUnavailable
from workers.handlers.folder import ENVIRONMENT
from workers.sandbox.pool import Sandbox
from workers.sandbox.process import ChildProcess

SOURCE = "from workers.handlers import Job, Result\n\n\ndef handle(job: Job) -> Result:\n    return Result((), {})\n"


def function(name: str) -> protocol.Handler:
    return protocol.Handler(kind="python", options={"function": name}, limits=limits())


def labelled(value: object, before: str = "") -> str:
    return before + SOURCE.replace("{}", f"{{'value': {value}}}")


async def value_of(pool: Sandbox, folder: JobFolder, name: str = "tables:handle") -> object:
    return (await run(pool, function(name), folder.job())).labels["value"]


async def unavailable(pool: Sandbox, folder: JobFolder, handler: protocol.Handler) -> str:
    with pytest.raises(HandlerUnavailable) as raised:
        await run(pool, handler, folder.job())
    return str(raised.value)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.mkdir()
    return path


def beside(own: Path) -> AbstractAsyncContextManager[Sandbox]:
    return sandbox(environment={ENVIRONMENT: str(own)})


@contextmanager
def same_second(path: Path) -> Iterator[None]:
    """Keep a file's whole second of modification, as edits in quick succession do."""
    before = path.stat().st_mtime_ns
    yield
    os.utime(path, ns=(before, before + 1000))


async def test_an_edit_is_used_by_the_next_job_and_without_one_a_module_is_imported_once(
    folder: JobFolder, own: Path
) -> None:
    (own / "tables.py").write_text(labelled("NUMBER", "import random\nNUMBER = random.random()\n"))
    async with beside(own) as pool:
        first = await value_of(pool, folder)
        assert await value_of(pool, folder) == first
        (own / "tables.py").write_text(labelled(-1))
        assert await value_of(pool, folder) == -1


async def test_an_edit_of_the_same_size_in_the_same_second_is_seen(folder: JobFolder, own: Path) -> None:
    file = own / "tables.py"
    file.write_text(labelled(1))
    async with beside(own) as pool:
        assert await value_of(pool, folder) == 1
        with same_second(file):
            file.write_text(labelled(2))
        assert await value_of(pool, folder) == 2


async def test_a_link_that_is_turned_to_another_release_is_seen(folder: JobFolder, own: Path) -> None:
    for number in (1, 2):
        (own / f"{number}").mkdir()
        (own / f"{number}/tables.py").write_text(labelled(number))
    current = own / "current"
    current.symlink_to("1")
    async with beside(current) as pool:
        assert await value_of(pool, folder) == 1
        (own / "next").symlink_to("2")
        (own / "next").rename(current)
        assert await value_of(pool, folder) == 2


async def test_an_edit_of_a_module_that_the_handler_imports_is_seen(folder: JobFolder, own: Path) -> None:
    (own / "tables.py").write_text(labelled("part.VALUE", "from inner import part\n"))
    (own / "inner").mkdir()
    (own / "inner/part.py").write_text("VALUE = 1\n")
    async with beside(own) as pool:
        assert await value_of(pool, folder) == 1
        (own / "inner/part.py").write_text("VALUE = 22\n")
        assert await value_of(pool, folder) == 22
        (own / "inner/part.py").unlink()
        assert "inner" in await unavailable(pool, folder, function("tables:handle"))


@pytest.mark.parametrize("name", ["workers", "webhook", "infra", "json", "pydantic"])
async def test_a_users_folder_of_the_same_name_shadows_nothing(folder: JobFolder, own: Path, name: str) -> None:
    (own / name).mkdir()
    (own / name / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    (own / "tables.py").write_text(labelled("json.__name__", f"import json, {name}\n"))
    async with beside(own) as pool:
        assert await value_of(pool, folder) == "json"


async def test_the_handler_itself_is_the_users_where_another_of_its_name_is_installed(
    folder: JobFolder, own: Path
) -> None:
    (own / "iniconfig.py").write_text(labelled(7))
    async with beside(own) as pool:
        assert await value_of(pool, folder, "iniconfig:handle") == 7


async def test_the_current_directory_is_not_looked_into(
    folder: JobFolder, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "tables.py").write_text(labelled(1))
    monkeypatch.chdir(own)
    async with sandbox(environment={}) as pool:
        assert "Set YURT_HANDLERS" in await unavailable(pool, folder, function("tables:handle"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def handle(job:\n", "tables.py, line 1: SyntaxError"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("VALUE = 1\n", "there is none in it"),
        ("handle = 1\n", "it is no function"),
        ("raise KeyError('MODEL')\n", "KeyError: 'MODEL'"),
        (None, "It is looked for in"),
    ],
)
async def test_what_cannot_be_imported_blames_no_object_and_recovers_with_the_next_edit(
    folder: JobFolder, own: Path, source: str | None, said: str
) -> None:
    if source is not None:
        (own / "tables.py").write_text(source)
    async with beside(own) as pool:
        assert said in await unavailable(pool, folder, function("tables:handle"))
        (own / "tables.py").write_text(labelled(5))
        assert await value_of(pool, folder) == 5


async def test_a_program_is_found_beside_the_configuration(folder: JobFolder, own: Path) -> None:
    script = own / "convert.sh"
    options: dict[str, object] = {"argv": ["./convert.sh", "{input}", "{handlers}/data.txt"]}
    handler = protocol.Handler.model_validate({"kind": "command", "options": options, "limits": limits()})
    async with beside(own) as pool:
        assert "is it installed on the worker" in await unavailable(pool, folder, handler)
        script.write_text('#!/bin/sh\ncat "$2" > out.txt\n')
        assert "chmod +x" in await unavailable(pool, folder, handler)
        script.chmod(0o755)
        (own / "data.txt").write_text("data")
        job = folder.job()
        await run(pool, handler, job)
        assert (job.output / "out.txt").read_text() == "data"
    async with sandbox(environment={}) as pool:
        assert "set YURT_HANDLERS" in await unavailable(pool, folder, handler)


async def test_what_is_installed_below_the_folder_is_not_watched(folder: JobFolder, own: Path) -> None:
    installed = own / ".venv/lib/site-packages"
    installed.mkdir(parents=True)
    (installed / "large.py").write_text("VALUE = 3\n")
    before = f"import sys\nsys.path.append({str(installed)!r})\nimport large\n"
    (own / "tables.py").write_text(labelled("large.VALUE", before))
    async with beside(own) as pool:
        assert await value_of(pool, folder) == 3
        (installed / "large.py").write_text("VALUE = 44\n")
        child: ChildProcess
        async with pool.child() as child:
            assert child.is_current
