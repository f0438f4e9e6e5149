"""Imports the module in a child process, and reads which functions it has and which files it needs.

``python -P -m yurt.packing.discovery FOLDER MODULE`` writes JSON to its standard output. A child of its own: what the
module does when it is imported, and all that it loads, ends with it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yurt.decorator import FunctionSettings, functions_of
from yurt.packing.errors import PackingError

_SECONDS = 120
_OWN = frozenset({"webhook", "workers", "infra", "yurt"})
"""Yurt's own packages: a user's module of such a name could never be imported beside them."""
_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class FoundFunction:
    """One function of the module."""

    attribute: str
    """Its name in the module."""
    settings: FunctionSettings
    files: tuple[str, ...] = ()
    """Names and places of its parameters that are files."""


@dataclass(frozen=True, slots=True)
class FoundModule:
    """What was found in the module."""

    folder: Path
    """The folder from which Python imports it."""
    name: str
    """Dotted name."""
    functions: tuple[FoundFunction, ...]
    files: tuple[Path, ...]
    """Modules of the folder that it has imported, and packages, relative to the folder."""


def place_of(path: Path) -> tuple[Path, str]:
    """Return the folder from which a Python file is imported, and its dotted name. Raises `PackingError`."""
    path = path.absolute()
    if path.suffix != ".py" or not path.is_file():
        raise PackingError(f"{path} is no Python file: name one, as in app.py.")
    names = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    if not names or not all(name.isidentifier() for name in names):
        raise PackingError(f"{path.name} has no name that Python can import: rename it to letters, digits and '_'.")
    if names[0] in _OWN or names[0] in sys.stdlib_module_names:
        owner = "Yurt" if names[0] in _OWN else "Python"
        raise PackingError(f"{names[0]!r} is the name of a module of {owner}'s own: rename yours.")
    return folder, ".".join(names)


def discover(path: Path) -> FoundModule:
    """Import a Python file in a child process. Raises `PackingError`, also where it has no function."""
    folder, name = place_of(path)
    command = [sys.executable, "-P", "-m", "yurt.packing.discovery", str(folder), name]
    # Where this package was imported from, the child finds it too.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, env=environment)
    except subprocess.TimeoutExpired:
        raise PackingError(
            f"{path} was not imported within {_SECONDS} s: move what takes long into a function."
        ) from None
    if run.returncode != 0:
        raise PackingError(f"{path} cannot be imported:\n{_tail(run.stderr)}")
    try:
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise PackingError(f"{path} ended Python when it was imported:\n{_tail(run.stderr)}") from None
    functions = tuple(
        FoundFunction(entry["attribute"], _settings(entry["settings"]), tuple(entry["files"]))
        for entry in found["functions"]
    )
    _require_functions(path, functions)
    return FoundModule(folder, name, functions, tuple(map(Path, found["files"])))


def _require_functions(path: Path, functions: tuple[FoundFunction, ...]) -> None:
    if not functions:
        raise PackingError(f"{path} has no function with @yurt.function: decorate one.")
    names = [function.settings.name for function in functions]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise PackingError(f"{path} has two functions of the name {repeated[0]!r}: set name= for one of them.")


def _function(entry: dict[str, Any]) -> FoundFunction:
    return FoundFunction(entry["attribute"], _settings(entry["settings"]), tuple(entry["files"]))


def _settings(fields: dict[str, Any]) -> FunctionSettings:
    lists = ("models", "requirements", "suffixes")
    return FunctionSettings(**{**fields, **{name: tuple(fields[name]) for name in lists}})


def _tail(printed: bytes) -> str:
    lines = printed.decode(errors="replace").rstrip().splitlines()[-_MOST_LINES:]
    if any("ModuleNotFoundError" in line for line in lines[-1:]):
        lines.append("Install it here too, or import it inside the function, where only workers need it.")
    return "\n".join(lines)


def _import(folder: str, name: str) -> dict[str, Any]:
    """The child's work."""
    sys.path.insert(0, folder)
    module = importlib.import_module(name)
    functions = [
        {
            "attribute": attribute,
            "settings": dataclasses.asdict(function.settings),
            "files": function.file_parameters,
        }
        for attribute, function in functions_of(vars(module))
        if function.call.__module__ == name
    ]
    return {"functions": functions, "files": sorted(_imported_from(Path(folder)))}


def _imported_from(folder: Path) -> set[str]:
    """Top-level modules and packages of a folder that were imported, but for installed ones."""
    files: set[str] = set()
    for module in list(sys.modules.values()):
        origin = getattr(module, "__file__", None)
        if not origin or not Path(origin).is_relative_to(folder):
            continue
        steps = Path(origin).relative_to(folder).parts
        if not {"site-packages", "dist-packages"} & set(steps):
            files.add(steps[0])
    return files


def main(folder: str, name: str) -> None:
    """Write what was found as the last line of standard output; what the module prints goes to standard error."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        found = _import(folder, name)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    answer.write(json.dumps(found) + "\n")
    answer.flush()
    os._exit(0)  # threads that the module has started would keep it


if __name__ == "__main__":
    main(*sys.argv[1:])
