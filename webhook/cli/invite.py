"""``yurt invite``: makes a one-time token for a worker that an operator starts."""

from __future__ import annotations

import click

from webhook.cli.options import admin_token, url_option


@click.command()
@url_option
@click.option("--pool", default="local", show_default=True, help="Pool that the worker joins.")
def command(url: str, pool: str) -> None:
    """Make a one-time token for a worker that you start yourself, on any machine that reaches the control plane.

    Prints the two variables that `yurt worker` needs. The token is valid for one worker and one day.
    """
    from webhook.cli.client import call

    invitation = call("POST", url, "/v1/invitations", admin_token(url), {"pool": pool})
    click.echo(f"export YURT_URL={url.rstrip('/')}")
    click.echo(f"export YURT_TOKEN={invitation['token']}")
    click.echo(f"# then, on that machine: yurt worker   (its label is {invitation['label']})", err=True)
