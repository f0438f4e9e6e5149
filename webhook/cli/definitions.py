"""``yurt definitions``: lists, shows and removes what is defined on a running control plane."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.console import Group

from webhook.cli.changes import show_changes, tables_in
from webhook.cli.client import call
from webhook.cli.duration import age
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, finding, plain, table


@click.group()
def command() -> None:
    """List, show, replace or remove pipelines, pools, models and services: those of yurt.toml and of apps."""


@command.command("list")
@url_option
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/definitions.")
def list_(url: str, as_json: bool) -> None:
    """List what is defined now, with its owner: file is yurt.toml, deploy:APP an app."""
    answer = call("GET", url, "/v1/definitions", admin_token(url))
    if as_json:
        echo_json(answer)
        return
    shown = table("Definitions", "kind", "name", "owner", "version", "since", numbers=["version", "since"])
    for row in answer["definitions"]:
        texts = (plain(row[name]) for name in ("kind", "name", "owner"))
        shown.add_row(*texts, str(row["version"]), age(row["changed_at"]))
    EscapingConsole().print(Group(shown, *_findings(answer)))


def _findings(answer: dict[str, Any]) -> list[Any]:
    found = [
        finding("failed", owner, "; ".join(f"{each['field']}: {each['reason']}" for each in faults), "Deploy it anew.")
        for owner, faults in answer["left_out"].items()
    ]
    if answer["file_differs"]:
        advice = "Restart the replicas with the same file."
        found.append(finding("warning", "file", "a replica was started later with another yurt.toml", advice))
    return found


@command.command()
@click.argument("app")
@url_option
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/deployments/{app}.")
def show(app: str, url: str, as_json: bool) -> None:
    """Show what an APP defines now, and its versions: who made them, when and why."""
    answer = call("GET", url, f"/v1/deployments/{quote(app, safe='')}", admin_token(url))
    if as_json:
        echo_json(answer)
        return
    console = EscapingConsole(soft_wrap=True)
    for kind, tables in answer["definitions"].items():
        for name, body in tables.items():
            console.print(plain(f"{kind}.{name}"), style="bold")
            for field, value in body.items():
                console.print(plain(f"    {field} = {value!r}"))
    versions = table(f"Versions of {app}", "version", "by", "definitions", "note", "made", numbers=["version", "made"])
    for row in answer["versions"]:
        made = f"{age(row['changed_at'])} ago"
        versions.add_row(
            str(row["version"]), plain(row["changed_by"]), str(row["definitions"]), plain(row["note"]), made
        )
    console.print(versions)
    for fault in answer["left_out"]:
        console.print(finding("failed", app, f"{fault['field']}: {fault['reason']}", "Deploy it anew."))


@command.command()
@click.argument("app")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@url_option
@click.option("--note", default="", help="Why, for `yurt definitions show`; a commit, say.")
@click.option("--expect", type=click.IntRange(0), help="Refuse unless the app is at this version; 0: it must be new.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="The answer of POST /v1/deployments.")
def replace(app: str, file: Path, url: str, note: str, expect: int | None, dry_run: bool, as_json: bool) -> None:
    """Put the tables of FILE in the place of everything that APP defined: all of it, or nothing where it cannot hold.

    FILE is written like yurt.toml: [pipelines.NAME], [pools.NAME] and [models.NAME].
    """
    order = {"app": app, "definitions": tables_in(file), "note": note, "expected_version": expect, "dry_run": dry_run}
    answer = call("POST", url, "/v1/deployments", admin_token(url), order)
    if as_json:
        echo_json(answer)
        return
    show_changes(answer)
    if answer["changed"] and not dry_run:
        echo(f"{app} is at version {answer['version']}.")


@command.command()
@click.argument("app")
@url_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="The answer of DELETE /v1/deployments/{app}.")
def remove(app: str, url: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove everything that an APP defines. Leases that run are finished; objects that wait are kept and reported.

    yurt rollback APP brings it back.
    """
    token = admin_token(url)
    if not (yes or dry_run):
        _ask(app)
    answer = call("DELETE", url, f"/v1/deployments/{quote(app, safe='')}?dry_run={str(dry_run).lower()}", token)
    if as_json:
        echo_json(answer)
        return
    show_changes(answer)
    if answer["changed"] and not dry_run:
        echo(f"{app} is removed. To bring it back: yurt rollback {app}")


def _ask(app: str) -> None:
    question = f"Remove everything that {app} defines?"
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to answer on: give --yes, or --dry-run to see what it is")
    click.confirm(question, abort=True)
