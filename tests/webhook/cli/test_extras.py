from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from webhook.cli.extras import EXTRAS, missing_parts

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", requirement)[0] for requirement in requirements} - {"yurt"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_modules_are_those_of_the_extra(extra: str) -> None:
    modules = {
        name: {d.lower().replace("_", "-") for d in found} for name, found in metadata.packages_distributions().items()
    }
    of_extra = distributions(PROJECT["optional-dependencies"][extra])
    assert {d for module in EXTRAS[extra] for d in modules[module]} == of_extra


def absent(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else find(name))


def test_a_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, "moto")
    assert (
        missing_parts("demo") == "`yurt demo` needs packages that are not installed (moto): pip install 'yurt[local]'"
    )
    assert missing_parts("serve") is None
    absent(monkeypatch, "rich", "moto")
    assert str(missing_parts("status")).endswith("(rich): pip install 'yurt[server]'")
    assert str(missing_parts("up")).endswith("(rich, moto): pip install 'yurt[local]'")


def test_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, *EXTRAS["server"])
    assert "(asyncpg, boto3, cronsim and 13 others)" in str(missing_parts("serve"))


_WITHOUT_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
"""


def without_extras(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the modules of no extra can be imported."""
    absent = {module for modules in EXTRAS.values() for module in modules} | {"botocore"}
    code = _WITHOUT_EXTRAS.format(absent=absent) + code
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def test_a_worker_needs_no_extra() -> None:
    worker = without_extras("from webhook.cli import main; main(['worker'])")
    assert "YURT_URL is missing" in worker.stderr, worker.stderr


def test_every_module_of_a_worker_needs_no_extra() -> None:
    files = sorted((ROOT / "workers").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if "__" not in path.stem]
    assert "workers.handlers.photo.handler" in names
    ran = without_extras(f"import importlib; [importlib.import_module(name) for name in {names!r}]; print('all')")
    assert ran.stdout == "all\n", ran.stderr


def test_the_help_needs_no_extra() -> None:
    assert "quarantine" in without_extras("from webhook.cli import main; main(['--help'])").stdout


def test_every_package_that_is_imported_is_required() -> None:
    """Each import of the packages is a requirement, or comes with one that is imported beside it."""
    with_others = {
        "botocore": "boto3",
        "werkzeug": "moto",
        "xmltodict": "moto",
        "pydantic_core": "pydantic",
        "_pi_heif": "pi-heif",
        "certifi": "httpx",
        "h11": "httpx",
    }
    known = {name for names in EXTRAS.values() for name in names}
    known |= distributions(PROJECT["dependencies"]) | set(with_others) | {"webhook", "workers", "infra", "yurt"}
    known |= {"types_boto3_s3"}  # only for the type checker
    known |= {"sky", "pdqhash"}  # of the example with SkyPilot, and of a hash: which the user installs
    found = {name for folder in ("webhook", "workers", "infra", "yurt") for name in imported(ROOT / folder)}
    assert found - known - set(sys.stdlib_module_names) == set()


def imported(folder: Path) -> set[str]:
    nodes = [node for path in folder.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}
