"""``yurt deploy``: packs a Python file with functions into a bundle, and registers what it defines."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import click

from webhook.bootstrap.worker_wheel import worker_requirements
from webhook.cli.changes import show_changes
from webhook.cli.client import call
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from yurt.control_plane import ControlPlane
from yurt.errors import YurtError
from yurt.packing.bundle import Bundle, pack
from yurt.packing.definitions import pipelines

_LOADED = ("annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection")
"""What a worker's process has imported before the function: the function gets just these versions."""


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@url_option
@click.option("--app", default="", help="Name of what is deployed. By default that of the file.")
@click.option("--note", default="", help="Kept with the version, such as a commit.")
@click.option("--upgrade", is_flag=True, help="Look for newer versions of what the functions require.")
@click.option("--dry-run", is_flag=True, help="Show what would change. Nothing is uploaded.")
@click.option("--json", "as_json", is_flag=True, help="The answer of POST /v1/deployments, with the bundle's root.")
def command(path: Path, url: str, app: str, note: str, upgrade: bool, dry_run: bool, as_json: bool) -> None:
    """Pack a Python file with functions, and have workers run them.

    PATH is the file. What it imports from its folder is packed too; what the functions require is locked with hashes,
    by uv. What an earlier deployment of the same app defined, and this one does not, is removed.
    """
    try:
        bundle = pack(path, _constraints(), anew=upgrade)
    except YurtError as error:
        fail(str(error), status=1)
    token = admin_token(url)
    offer = call("POST", url, "/v1/bundles", token, {"root": bundle.root, "bytes": len(bundle.content)})
    if offer["upload"] and not dry_run:
        _upload(url, token, bundle, offer["upload"])
    answer = call("POST", url, "/v1/deployments", token, _deployment(bundle, offer["place"], app, note, dry_run))
    if as_json:
        echo_json({**answer, "bundle": bundle.root, "bytes": len(bundle.content)})
    else:
        _show(answer, bundle, uploaded=bool(offer["upload"]) and not dry_run)


def _deployment(bundle: Bundle, place: str, app: str, note: str, dry_run: bool) -> dict[str, Any]:
    name = app or re.sub(r"[^a-z0-9]+", "-", bundle.module.name.rpartition(".")[2].lower()).strip("-") or "app"
    defined = {"pipelines": pipelines(bundle, place)}
    return {"app": name, "definitions": defined, "note": note, "dry_run": dry_run}


def _constraints() -> str:
    lines = worker_requirements().decode().splitlines()
    pins = (line.partition(" ")[0].rstrip("\\") for line in lines)
    return "\n".join(pin for pin in pins if pin.partition("==")[0] in _LOADED)


def _upload(url: str, token: str, bundle: Bundle, upload: dict[str, Any]) -> None:
    try:
        with ControlPlane(url, token) as plane:
            content = bundle.content
            plane.upload(upload["url"], upload["headers"], lambda: io.BytesIO(content), len(content))
    except YurtError as error:
        fail(str(error), status=1)


def _show(answer: dict[str, Any], bundle: Bundle, *, uploaded: bool) -> None:
    show_changes(answer)
    names = ", ".join(function.settings.name for function in bundle.module.functions)
    size = f"{len(bundle.content) / 1024:,.0f} KiB{', uploaded' if uploaded else ''}"
    if answer["dry_run"]:
        echo(f"Nothing was changed. It would be bundle {bundle.root[:12]} ({size}) with {names}.")
    elif not answer["changed"]:
        echo(f"{answer['app']} has version {answer['version']} already: {names}.")
    else:
        echo(f"{answer['app']} has version {answer['version']}: {names}. Bundle {bundle.root[:12]} ({size}).")
