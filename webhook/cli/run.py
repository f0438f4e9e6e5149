"""``yurt run``: calls a function once, on a worker or here."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import yurt
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo_json
from yurt.calls import run_all
from yurt.control_plane import ControlPlane
from yurt.packing.discovery import FoundFunction, discover, place_of

_SEPARATOR = "::"


@click.command()
@click.argument("target", metavar="FILE.py::FUNCTION")
@click.argument("arguments", nargs=-1)
@url_option
@click.option("--local", is_flag=True, help="Run it in this process; no control plane is needed.")
@click.option("--wait", type=click.FloatRange(0.1), default=None, help="Longest wait for the value, in seconds.")
def command(target: str, arguments: Sequence[str], url: str, local: bool, wait: float | None) -> None:
    """Call a function of a Python file with ARGUMENTS, and print its value as JSON.

    Runs the deployed version on a worker, unless --local is given. An argument is the path of a file where the
    parameter is a yurt.File; else JSON, or a text where it is none. NAME=VALUE gives a parameter by its name.
    """
    name, separator, attribute = target.rpartition(_SEPARATOR)
    if not separator:
        raise click.BadParameter("write it as app.py::caption", param_hint="FILE.py::FUNCTION")
    try:
        function = _found(Path(name), attribute)
        args, kwargs = _parsed(function, arguments)
        if local:
            with contextlib.redirect_stdout(sys.stderr):  # what the function prints is not its value
                value = _run_here(Path(name), function, args, kwargs)
            echo_json(value)
            return
        plane = ControlPlane(url, admin_token(url))
        [value] = run_all(function.settings.name, [(args, kwargs)], wait_seconds=wait, plane=plane)
    except yurt.YurtError as error:
        fail(str(error), status=1)
    except (TypeError, ValueError, OSError) as error:
        fail(f"{attribute}: {error}", status=1)
    echo_json(value)


def _found(path: Path, attribute: str) -> FoundFunction:
    module = discover(path)
    found = [each for each in module.functions if attribute in (each.attribute, each.settings.name)]
    if not found:
        known = ", ".join(function.attribute for function in module.functions)
        fail(f"{path} has no function {attribute} (it has: {known})", status=1)
    return found[0]


def _parsed(function: FoundFunction, arguments: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(value, is_file=name in function.files)
        else:
            args.append(_value(text, is_file=str(len(args)) in function.files))
    return args, kwargs


def _value(text: str, *, is_file: bool) -> Any:
    if is_file:
        if not Path(text).is_file():
            raise ValueError(f"{text} is no file")
        return yurt.File(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _run_here(path: Path, function: FoundFunction, args: list[Any], kwargs: dict[str, Any]) -> Any:
    folder, name = place_of(path)
    sys.path.insert(0, str(folder))
    return getattr(importlib.import_module(name), function.attribute)(*args, **kwargs)
