"""``yurt invite``: makes a token for workers that an operator starts."""

from __future__ import annotations

import shlex

import click

from webhook.cli.duration import duration
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo


def _uses(text: str) -> int | None:
    """The type of ``--uses``; None: without end."""
    if text == "unlimited":
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise click.BadParameter(f"{text!r} is no number from 1 to 1,000,000, and not unlimited")
    return int(text)


def _expires(text: str) -> float | None:
    """The type of ``--expires``, in seconds; None: never."""
    if text == "never":
        return None
    if (seconds := duration(text)) <= 0:
        raise click.BadParameter("an invitation cannot expire at once")
    return seconds


@click.command()
@url_option
@click.option("--pool", default="local", show_default=True, help="Pool that the workers join.")
@click.option("--uses", type=_uses, default="1", show_default=True, help="Workers that may join, or unlimited.")
@click.option("--expires", type=_expires, default="1d", show_default=True, help="2h, 7d …, or never.")
def command(url: str, pool: str, uses: int | None, expires: float | None) -> None:
    """Make a token for workers that you start yourself, on any machine that reaches the control plane.

    Prints the two variables that `yurt worker` needs. Unless you say otherwise, one worker can use it, within a day.
    """
    from webhook.cli.client import call

    wanted = {"pool": pool, "uses": uses, "valid_seconds": expires}
    invitation = call("POST", url, "/v1/invitations", admin_token(url), wanted)
    # Quoted: a shell evaluates these lines.
    echo(f"export YURT_URL={shlex.quote(url.rstrip('/'))}")
    echo(f"export YURT_TOKEN={shlex.quote(invitation['token'])}")
    label = f"   (its label is {invitation['label']})" if invitation["label"] else ""
    echo(f"# then, on that machine: yurt worker{label}", err=True)
