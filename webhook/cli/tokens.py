"""``yurt tokens``: makes, lists and revokes tokens of apps."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import click

from webhook.cli.client import call
from webhook.cli.duration import age, duration
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, plain, table


@click.group()
def command() -> None:
    """Make, list or revoke tokens with which apps upload, read results, call services and wake pools."""


def _expires(text: str) -> float | None:
    """The type of ``--expires``, in seconds; None: never."""
    if text == "never":
        return None
    if (seconds := duration(text)) <= 0:
        raise click.BadParameter("a token cannot expire at once")
    return seconds


@command.command()
@click.argument("name")
@url_option
@click.option("--scope", "scopes", multiple=True, required=True, help="What it may do: upload:photos. Repeatable.")
@click.option("--expires", type=_expires, default="365d", show_default=True, help="2h, 90d …, or never.")
@click.option("--rate", type=click.FloatRange(0.001, 100_000), default=50, show_default=True, help="Calls a second.")
@click.option("--burst", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Calls at once.")
@click.option("--json", "as_json", is_flag=True, help="The answer of POST /v1/tokens.")
def create(
    name: str, url: str, scopes: tuple[str, ...], expires: float | None, rate: float, burst: int, as_json: bool
) -> None:
    """Make a token for an app, and print it. It is shown this once: the ledger keeps only its hash.

    NAME is for people: which app has it. A token is good for what its scopes name: upload:PIPELINE, read:PIPELINE,
    delete:PIPELINE, service:NAME, call:NAME, wake:POOL; * is every name.
    """
    limits = {"calls_per_second": rate, "burst_calls": burst, "valid_seconds": expires}
    body = {"name": name, "scopes": list(scopes), **limits}
    issued = call("POST", url, "/v1/tokens", admin_token(url), body)
    if as_json:
        echo_json(issued)
        return
    echo(issued["token"])
    echo(f"# token {issued['id']}, {_end(issued)}. To end it: yurt tokens revoke {issued['id']}", err=True)


@command.command("list")
@url_option
@click.option("--all", "ended", is_flag=True, help="Also those that were revoked or have expired.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def list_(url: str, ended: bool, as_json: bool) -> None:
    """List tokens, newest first, with what they may do and when they were used last."""
    tokens = _all(url, ended)
    if as_json:
        echo_json({"tokens": tokens})
    elif not tokens:
        echo("There is no token. Make one with: yurt tokens create NAME --scope upload:photos")
    else:
        shown = table("Tokens of apps", "no.", "name", "begins", "scopes", "last used", "ends", numbers=["no."])
        for token in tokens:
            used = f"{age(token['used_at'])} ago" if token["used_at"] else "never"
            scopes = " ".join(token["scopes"])
            shown.add_row(str(token["id"]), *map(plain, (token["name"], token["hint"], scopes, used, _end(token))))
        EscapingConsole().print(shown)


def _all(url: str, ended: bool) -> list[dict[str, Any]]:
    token, tokens = admin_token(url), []
    query: dict[str, str] = {"ended": str(ended).lower(), "limit": "1000"}
    while True:
        page = call("GET", url, f"/v1/tokens?{urlencode(query)}", token)
        tokens += page["tokens"]
        if page["next"] is None:
            return tokens
        query["before"] = str(page["next"])


def _end(token: dict[str, Any]) -> str:
    if token["revoked_at"]:
        return f"revoked {token['revoked_at'][:10]}"
    return f"expires {token['expires_at'][:10]}" if token["expires_at"] else "never expires"


@command.command()
@click.argument("number", type=click.IntRange(1))
@url_option
def revoke(number: int, url: str) -> None:
    """End a token, by its number. It is refused everywhere within a second."""
    token = call("DELETE", url, f"/v1/tokens/{number}", admin_token(url))
    echo(f"Token {number} ({token['name']}) is revoked.")
