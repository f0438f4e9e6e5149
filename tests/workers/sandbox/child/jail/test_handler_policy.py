"""Which files each kind of handler gets, and what of the handlers' folder stays closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.workers.sandbox.child.jail.jailed import outcome
from tests.workers.sandbox.jobs import REQUEST, ROOT
from workers.handlers.folder import ENVIRONMENT
from workers.sandbox.child import jail
from workers.sandbox.child.jail.handler_policy import policy_of
from workers.sandbox.messages import JailRules, JobRequest

pytestmark = [
    pytest.mark.skipif(bool(jail.support().missing), reason=jail.support().missing or "has a jail"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]


def request_of(kind: str, folder: Path, *, options: dict[str, JsonValue] | None = None, **rules: object) -> JobRequest:
    """A job whose files lie in that folder."""
    allowed: dict[str, object] = {"mode": "on", "read": [], "write": [], "network": False, "ports": [443], **rules}
    for name in ("output", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "input").write_text("input")
    return replace(
        REQUEST,
        kind=kind,
        options=options or {},
        input=str(folder / "input"),
        output=str(folder / "output"),
        temporary=str(folder / "temporary"),
        sandbox=JailRules(**allowed),  # type: ignore[arg-type]
    )


def done(request: JobRequest, act: Callable[[], object]) -> bool:
    return outcome(policy_of(request), act) == "done"


@pytest.mark.parametrize("kind", ["photo", "python", "command"])
def test_a_job_reads_its_input_and_writes_into_its_folders(kind: str, tmp_path: Path) -> None:
    request = request_of(kind, tmp_path)
    assert done(request, (tmp_path / "input").read_text)
    assert done(request, lambda: (tmp_path / "output" / "a").write_text("x"))
    assert done(request, lambda: (tmp_path / "temporary" / "a").write_text("x"))
    assert not done(request, lambda: (tmp_path / "input").write_text("x"))
    assert not done(request, lambda: (tmp_path / "a").write_text("x"))


@pytest.mark.parametrize("kind", ["photo", "python", "command"])
def test_a_job_reads_its_models_and_no_other(kind: str, tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / name / "onnx").mkdir(parents=True)
        (tmp_path / name / "onnx" / "model.onnx").write_text("weights")
    request = replace(request_of(kind, tmp_path), models={"safety": str(tmp_path / "own")})
    assert done(request, (tmp_path / "own" / "onnx" / "model.onnx").read_text)
    assert not done(request, lambda: (tmp_path / "own" / "onnx" / "model.onnx").write_text("x"))
    assert not done(request, lambda: (tmp_path / "own" / "x").write_text("x"))
    assert not done(request, (tmp_path / "other" / "onnx" / "model.onnx").read_text)


def test_a_pipeline_adds_what_is_read_and_written(tmp_path: Path) -> None:
    (models := tmp_path / "models").mkdir()
    (models / "weights").write_text("w")
    reads = request_of("python", tmp_path, read=[str(models)])
    assert done(reads, (models / "weights").read_text)
    assert not done(reads, lambda: (models / "weights").write_text("x"))
    assert done(request_of("python", tmp_path, write=[str(models)]), lambda: (models / "cache").write_text("x"))
    assert not done(request_of("photo", tmp_path, read=[str(models)]), (models / "weights").read_text)


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A handlers' folder that is the configuration's too."""
    (folder := tmp_path / "project").mkdir()
    for name in ("resize.py", "yurt.toml", "yurt.secrets", "production.secrets", ".env", "settings.toml"):
        (folder / name).write_text("x")
    (folder / "state" / "postgres").mkdir(parents=True)
    (folder / "state").chmod(0o700)
    (folder / "package").mkdir(mode=0o700)
    for path in (folder / "state" / "postgres" / "password", folder / "package" / "module.py"):
        path.write_text("x")
    monkeypatch.setenv(ENVIRONMENT, str(folder))
    return folder


@pytest.mark.parametrize("name", ["resize.py", "settings.toml", "package/module.py"])
def test_a_handler_reads_the_handlers_folder(name: str, handlers: Path, tmp_path: Path) -> None:
    assert done(request_of("python", tmp_path), (handlers / name).read_text)
    assert done(request_of("python", tmp_path), lambda: list(handlers.iterdir()))
    assert not done(request_of("photo", tmp_path), (handlers / name).read_text)


@pytest.mark.parametrize("name", ["yurt.toml", "yurt.secrets", "production.secrets", ".env", "state/postgres/password"])
def test_secrets_and_state_in_the_handlers_folder_stay_closed(name: str, handlers: Path, tmp_path: Path) -> None:
    for kind in ("python", "command"):
        assert not done(request_of(kind, tmp_path), (handlers / name).read_text)


_PRINT = """
from tests.workers.sandbox.jobs import REQUEST
from workers.sandbox.child.jail.handler_policy import policy_of
print(*policy_of(REQUEST).executable, sep="\\n")
"""


@pytest.mark.parametrize("installed", [True, False])
def test_a_folder_that_packages_were_installed_into_is_read_whole(installed: bool, tmp_path: Path) -> None:
    (tmp_path / "thing.libs").mkdir()
    (tmp_path / "module.py").write_text("x")
    if installed:
        (tmp_path / "thing-1.0.dist-info").mkdir()
    # In a process of its own: what the jails of a process share is looked up once.
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT], env=environment, capture_output=True, text=True, check=True
    )
    allowed = printed.stdout.splitlines()
    assert (str(tmp_path) in allowed) == installed
    assert (str(tmp_path / "module.py") in allowed) == (not installed)


def test_a_command_may_run_a_program_that_its_options_name(tmp_path: Path) -> None:
    (program := tmp_path / "program").write_text("x")
    assert done(request_of("command", tmp_path, options={"argv": [str(program), "{input}"]}), program.read_text)
    assert not done(request_of("command", tmp_path, options={"argv": ["ls", "{input}"]}), program.read_text)
