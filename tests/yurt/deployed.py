"""Functions of a test on a running control plane with local workers."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from infra.stack import Stack, running
from webhook.config_file import load
from workers.handlers.registry import options_model
from yurt.packing.bundle import Bundle, pack
from yurt.packing.definitions import pipelines

PLACE = "s3://functions/bundles/"


@dataclass(frozen=True, slots=True)
class DeployedApp:
    """A module whose functions workers run."""

    stack: Stack
    bundle: Bundle
    module: ModuleType
    """The same module, as an app imports it."""


@contextlib.contextmanager
def deployed(
    code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str] | None = None
) -> Iterator[DeployedApp]:
    """Run a control plane with the functions of one file, and name it to apps of this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    source = written(folder, code)
    bundle = pack(source)
    path = folder / "yurt.toml"
    path.write_text(_toml(bundle))
    with running(load(path, options_model), path, folder / "state", environment=environment) as stack:
        stack.s3().put_object(Bucket="functions", Key=f"bundles/{bundle.root}", Body=bundle.content)
        monkeypatch.setenv("YURT_URL", stack.url)
        monkeypatch.setenv("YURT_ADMIN_TOKEN", stack.keys.admin)
        monkeypatch.delenv("YURT_TOKEN", raising=False)
        yield DeployedApp(stack, bundle, imported(source, monkeypatch))
        stack.check()


def written(folder: Path, code: str, name: str = "app") -> Path:
    """Write a module."""
    path = folder / f"{name}.py"
    path.write_text(code)
    return path


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a module of a test as an app does."""
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    importlib.invalidate_caches()
    return importlib.import_module(path.stem)


def _toml(bundle: Bundle) -> str:
    """A configuration with the pipelines of a bundle: inline tables of TOML are JSON with other marks."""
    lines = ['[server]\nlisten = "127.0.0.1:0"', f'bundles = "{PLACE}"', '[pools.local]\nprovider = "local"']
    for name, fields in pipelines(bundle, PLACE).items():
        lines += [f"[pipelines.{name}]", *(f"{field} = {_value(value)}" for field, value in fields.items())]
    return "\n".join([*lines, ""])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_value(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)
