"""The worker is installed into a folder of its own, in whichever way the image allows, or one line says why not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.webhook.bootstrap.bare_python import BarePython, bare, ended
from tests.webhook.bootstrap.parts_server import TOKEN, PartsServer, tiny_wheel
from tests.workers.slaying_apis import OneInstanceApi, destroyed
from webhook.bootstrap.start_command import start_command
from webhook.bootstrap.worker_wheel import worker_wheel

SHOWS = """
import json, os, sys
import image_package, workers
print(json.dumps({
    "workers": workers.__file__, "image_package": image_package.__file__, "safe": sys.flags.safe_path,
    "token": os.environ["YURT_TOKEN"],
}), file=sys.stderr)
raise SystemExit(7)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> BarePython:
    image = bare(tmp_path_factory.mktemp("image"))
    [packages] = image.folder.glob("lib/python3*/site-packages")
    (packages / "image_package.py").write_text("")
    return image


def without(python: BarePython, folder: Path, *modules: str) -> tuple[str, ...]:
    """The start command of an image that lacks modules of the standard library."""
    wrapper = folder / "python"
    refused = "|".join(f"'-m {module} '*" for module in modules)
    wrapper.write_text(
        f'#!/bin/sh\nenv > {folder}/env\ncase "$* " in {refused}) exit 1;; esac\nexec {python.python} "$@"\n'
    )
    wrapper.chmod(0o755)
    return ("python3", "-c", f"import sys; sys.executable = {str(wrapper)!r}\nexec({start_command()[2]!r})")


@pytest.mark.parametrize("lacking", [(), ("venv",)])
async def test_the_worker_runs_and_sees_the_images_packages(
    lacking: tuple[str, ...], python: BarePython, tmp_path: Path
) -> None:
    command = without(python, tmp_path, *lacking) if lacking else ()
    server = PartsServer()
    server.parts["wheel"] = tiny_wheel(SHOWS)
    shadow = tmp_path / "app"
    (shadow / "workers").mkdir(parents=True)
    (shadow / "workers" / "__init__.py").write_text("raise SystemExit('the image has such a package too')")
    work = tmp_path / "work"
    more = {"YURT_WORK_DIR": str(work), "PYTHONPATH": str(shadow)}
    async with server.serving() as url:
        code, log = await python.ended(url, TOKEN, command, **more)
    assert code == 7, log
    shown = json.loads(log)
    assert shown["workers"].startswith(str(work))
    assert shown["image_package"].startswith(str(python.folder))
    assert (shown["safe"], shown["token"]) == (True, TOKEN)


async def test_a_rented_machine_goes_when_its_worker_cannot_be_installed(python: BarePython, tmp_path: Path) -> None:
    api, server = OneInstanceApi(), PartsServer()
    server.parts |= {"wheel": worker_wheel().content, "requirements": b"yurt-of-nobody==1"}
    async with api.serving() as slaying, server.serving() as url:
        variables = {**api.variables(slaying), "PIP_NO_INDEX": "1", "YURT_WORK_DIR": str(tmp_path)}
        async with python.started(url, TOKEN, **variables) as process:
            await destroyed(api)
            process.terminate()
            code, log = await ended(process)
    assert (code, "yurt bootstrap: pip failed" in log, api.key in log) == (1, True, False), log


async def test_an_image_without_venv_and_pip_is_told(python: BarePython, tmp_path: Path) -> None:
    server = PartsServer()
    server.parts["wheel"] = tiny_wheel("")
    async with server.serving() as url:
        code, log = await python.ended(url, TOKEN, without(python, tmp_path, "venv", "pip"))
    assert (code, log.startswith("yurt bootstrap: this image has neither venv nor pip")) == (1, True), log
    seen = (tmp_path / "env").read_text()
    assert ("YURT_URL=" in seen, TOKEN in seen) == (True, False)


async def refused(python: BarePython, requirements: str, **more: str) -> str:
    """What is said about requirements that cannot be installed: one line."""
    server = PartsServer()
    server.parts |= {"wheel": tiny_wheel("print('it runs')"), "requirements": requirements.encode()}
    async with server.serving() as url:
        code, log = await python.ended(url, TOKEN, **more)
    assert (code, log.count("\n")) == (1, 1), log
    return log


async def test_a_package_that_is_not_the_pinned_one_is_refused(python: BarePython, tmp_path: Path) -> None:
    (tmp_path / "yurt-1-py3-none-any.whl").write_bytes(tiny_wheel(""))
    pinned = f"yurt==1 --hash=sha256:{'0' * 64}"
    log = await refused(python, pinned, PIP_FIND_LINKS=str(tmp_path), PIP_NO_INDEX="1")
    assert "its hash does not match" in log


async def test_a_package_without_a_hash_is_refused(python: BarePython, tmp_path: Path) -> None:
    (tmp_path / "yurt-1-py3-none-any.whl").write_bytes(tiny_wheel(""))
    log = await refused(python, "yurt==1", PIP_FIND_LINKS=str(tmp_path), PIP_NO_INDEX="1")
    assert "hash" in log


async def test_an_index_that_cannot_be_reached_is_said(python: BarePython) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    log = await refused(python, f"no-such-package==1 --hash=sha256:{'0' * 64}", PIP_FIND_LINKS="", **nowhere)
    assert "is the package index reachable? PIP_INDEX_URL names another" in log


async def test_a_folder_that_cannot_be_made_is_said(python: BarePython) -> None:
    server = PartsServer()
    async with server.serving() as url:
        code, log = await python.ended(url, TOKEN, YURT_WORK_DIR="/dev/null/x")
    assert (code, "no folder can be made for the worker" in log) == (1, True), log
