"""``yurt page``: prints a link that signs a browser in to the page."""

from __future__ import annotations

import click

from webhook.cli.client import call
from webhook.cli.duration import duration
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo, echo_json

MOST_SECONDS = 86_400


def _expires(text: str) -> float:
    """The type of ``--expires``, in seconds."""
    seconds = duration(text)
    if not 1 <= seconds <= MOST_SECONDS:
        raise click.BadParameter("a link lives between a second and a day")
    return seconds


@click.command()
@url_option
@click.option("--expires", type=_expires, default="10m", show_default=True, help="90s, 30m, 2h …, a day at most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: url and expires_at.")
def command(url: str, expires: float, as_json: bool) -> None:
    """Print a link that signs one browser in to the page, once.

    The page is at / of the control plane. Signing in with the admin token works too; a viewer token may only look.
    """
    link = call("POST", url, "/v1/sign-in-links", admin_token(url), {"valid_seconds": expires})
    address = f"{url.rstrip('/')}{link['path']}"
    if as_json:
        echo_json({"url": address, "expires_at": link["expires_at"]})
    else:
        echo(address)
