"""What is printed to be typed works in a shell that stands in the same folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRINT = "from webhook.cli.invocation import yurt_command; print(yurt_command())"
_SPACES = " " in sys.executable


def installed(folder: Path) -> Path:
    """A script called yurt that prints how to call it."""
    folder.mkdir(parents=True)
    script = folder / "yurt"
    start = f"#!{sys.executable}\n"
    if _SPACES:  # as pip writes it: such a line cannot name an interpreter whose path has spaces
        start = f"""#!/bin/sh\n'''exec' "{sys.executable}" "$0" "$@"\n' '''\n"""
    script.write_text(f'{start}import sys\nsys.path.insert(0, "{Path(__file__).parents[3]}")\n{PRINT}\n')
    script.chmod(0o755)
    return script


def printed(command: str, cwd: Path, **environment: str) -> str:
    environment = {"PATH": os.environ["PATH"], **environment}
    ran = subprocess.run(command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


@pytest.mark.parametrize("folder", [".venv/bin", "with space/bin"])
def test_a_script_below_this_folder_is_called_by_its_path_from_here(tmp_path: Path, folder: str) -> None:
    installed(tmp_path / folder)
    command = printed(f"'{folder}/yurt'", tmp_path)
    assert command.strip("'") == f"{folder}/yurt"
    assert printed(command, tmp_path) == command


def test_a_script_found_by_name_is_called_by_name(tmp_path: Path) -> None:
    script = installed(tmp_path / "bin")
    path = f"{script.parent}:{os.environ['PATH']}"
    assert printed("yurt", tmp_path, PATH=path) == "yurt"
    assert printed(str(script), tmp_path, PATH=path) == "yurt"


def test_another_yurt_on_the_path_is_not_called(tmp_path: Path) -> None:
    script, other = installed(tmp_path / "mine"), installed(tmp_path / "other")
    path = f"{other.parent}:{os.environ['PATH']}"
    assert printed("mine/yurt", tmp_path, PATH=path) == "mine/yurt"
    assert script != other


def test_a_script_elsewhere_is_called_by_its_whole_path(tmp_path: Path) -> None:
    script = installed(tmp_path / "bin")
    (tmp_path / "here").mkdir()
    assert printed("../bin/yurt", tmp_path / "here") == "../bin/yurt"
    assert printed(str(script), tmp_path / "here") == str(script)


@pytest.mark.skipif(_SPACES, reason="a shell starts the script, and hides where make was called")
def test_make_in_another_folder_prints_the_whole_path(tmp_path: Path) -> None:
    script = installed(tmp_path / "yurt" / "bin")
    (tmp_path / "yurt" / "Makefile").write_text("demo:\n\t@bin/yurt\n")
    assert printed("make -s -C yurt demo", tmp_path, PWD=str(tmp_path)) == str(script)
    assert str(script) in printed("make -C yurt demo", tmp_path)
    assert printed("make demo", tmp_path / "yurt") == "bin/yurt"


def test_the_module_is_called_by_the_script_beside_its_interpreter(tmp_path: Path) -> None:
    command = printed(f"'{sys.executable}' -c '{PRINT}'", tmp_path)
    assert printed(f"{command} --version", tmp_path).startswith("yurt")


def test_in_another_folder_a_path_is_whole(tmp_path: Path) -> None:
    script = installed(tmp_path / ".venv" / "bin")
    script.write_text(script.read_text().replace("yurt_command()", "yurt_command(__import__('pathlib').Path('there'))"))
    assert printed(".venv/bin/yurt", tmp_path) == str(script)
