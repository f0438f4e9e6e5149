"""``yurt distrust``: revokes a worker, and has everything that it reported processed again."""

from __future__ import annotations

import sys
from typing import Any

import click

from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo


@click.command()
@url_option
@click.argument("worker", type=click.IntRange(min=1))
@click.option("--why", help="For `yurt status` and the log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(url: str, worker: int, why: str | None, yes: bool) -> None:
    """Revoke a worker that is not to be trusted, and process again everything that it reported.

    WORKER is its number, as in logs and in `yurt status`. Its results stay until another worker's replace them.
    """
    token = admin_token(url)
    if not yes:
        _ask(worker)
    body: dict[str, Any] = {"why": why} if why else {}
    objects = _distrusted(url, token, worker, body)
    again = "1 object is" if objects == 1 else f"{objects} objects are"
    echo(f"Worker {worker} is revoked; {again} processed again. Follow them with: yurt status")


def _ask(worker: int) -> None:
    question = f"Revoke worker {worker}, and process all that it reported again?"
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to answer on: give --yes")
    click.confirm(question, abort=True)


def _distrusted(url: str, token: str, worker: int, body: dict[str, Any]) -> int:
    """How many objects are processed again."""
    from webhook.cli.client import call

    objects = 0
    after: int | None = 0
    while after is not None:
        answer = call("POST", url, f"/v1/workers/{worker}/distrust", token, {**body, "after": after})
        objects += answer["objects"]
        after = answer["next"]
    return objects
