"""``yurt services``: shows services, their machines and their requests."""

from __future__ import annotations

from typing import Any

import click

from webhook.cli.client import call
from webhook.cli.duration import age
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, plain, table


@click.command()
@url_option
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/services.")
def command(url: str, as_json: bool) -> None:
    """Show services: machines, requests that wait and are under way, and why a server fails."""
    found = call("GET", url, "/v1/services", admin_token(url))
    if as_json:
        echo_json(found)
        return
    if not found["services"]:
        echo("No services. A table [services.NAME] of the configuration makes one.")
        return
    shown = table("service", "pool", "machines", "waiting", "in flight", "idle for")
    for each in found["services"]:
        shown.add_row(
            plain(each["name"]), plain(each["pool"]), _machines(each), str(each["waiting"]), str(each["in_flight"]),
            _idle(each),
        )  # fmt: skip
    EscapingConsole().print(shown)
    for each in found["services"]:
        _explain(each)


def _machines(service: dict[str, Any]) -> str:
    states = [machine["state"] for machine in service["machines"]]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"


def _idle(service: dict[str, Any]) -> str:
    seconds = [machine["idle_seconds"] for machine in service["machines"]]
    return age(min(seconds)) if seconds and not service["waiting"] and not service["in_flight"] else "–"


def _explain(service: dict[str, Any]) -> None:
    """Say why a service cannot work, where it cannot."""
    name = service["name"]
    if service["withheld"]:
        echo(f"{name} cannot run: {service['withheld']}", err=True)
    elif service["waiting"] and service["not_minted"]:
        echo(f"{name} gets no machine: {service['not_minted']}", err=True)
    for machine in service["machines"]:
        if machine["state"] == "failing":
            echo(f"{name} fails on machine {machine['worker']}: {machine['message']}", err=True)
