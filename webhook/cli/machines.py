"""``yurt machines``: lists, shows, drains and slays machines, shows their logs, and wakes pools."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.console import Group, RenderableType

from webhook.cli.client import call
from webhook.cli.duration import duration, span
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, facts, plain, table
from webhook.fleet.strangers import ADVICE
from webhook.ledger.machines import START_PHASES

_MOST_WISH_SECONDS = 3_600
_STATES = ("intended", "booting", "ready", "draining", "slaying", "gone")
_json_option = click.option("--json", "as_json", is_flag=True, help="The answer of the control plane as JSON.")
_number = click.argument("number", type=click.IntRange(min=1))


@click.group()
def command() -> None:
    """List, show, drain or slay machines, show their logs, or have some before there is work.

    Machines have numbers, which logs and `yurt status` show too.
    """


@command.command("list")
@url_option
@click.option("--pool", help="Only machines of this pool.")
@click.option("--provider", help="Only machines of this provider.")
@click.option("--state", type=click.Choice(_STATES), help="Only machines in this state; by default all but gone.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Machines shown.")
@_json_option
def list_(url: str, as_json: bool, **query: Any) -> None:
    """List machines, newest first."""
    given = urlencode({name: value for name, value in query.items() if value is not None})
    page = call("GET", url, f"/v1/machines?{given}", admin_token(url))
    if as_json:
        echo_json(page)
    elif not page["machines"] and not page.get("strangers"):
        echo(
            "There is no such machine."
            if any(query[n] for n in ("pool", "provider", "state"))
            else "There is no machine."
        )
    else:
        EscapingConsole().print(_listed(page))


def _listed(page: dict[str, Any]) -> RenderableType:
    machines, strangers = _machines(page), page.get("strangers")
    return Group(machines, _strangers(strangers)) if strangers else machines


def _strangers(strangers: list[dict[str, Any]]) -> RenderableType:
    """Machines of another installation of the same name."""
    shown = table("Machines of another installation of the same name", "label", "provider", "its name there", "state")
    for stranger in strangers:
        state = "to be slain" if stranger["slaying"] else "left alone"
        shown.add_row(*(plain(stranger[name]) for name in ("label", "provider", "ref")), state)
    return Group(shown, plain(f"Nothing is minted beside them. {ADVICE}"))


def _machines(page: dict[str, Any]) -> RenderableType:
    numbers = ("number", "age", "idle", "leases", "$/h", "cost")
    shown = table("Machines", "number", "pool", "provider", "state", "for", *numbers[1:], "host", numbers=numbers)
    for machine in page["machines"]:
        shown.add_row(
            str(machine["id"]),
            *(plain(machine[name]) for name in ("pool", "provider", "state", "cause")),
            span(machine["age_seconds"]),
            "–" if machine["leases"] or not machine["idle_seconds"] else span(machine["idle_seconds"]),
            str(machine["leases"]),
            *_prices(machine),
            plain(loading_of(machine) or machine["host"]),
        )
    if page["next"] is not None:
        shown.caption = "There are more: see --limit."
    return shown


def loading_of(machine: dict[str, Any]) -> str:
    """What a machine fetches or loads before it can take work: ``weights 61 %, 480.0 MB/s``."""
    if not (loading := machine["loading"]):
        return ""
    if loading["phase"] != "weights":
        return f"loads {loading['model']}"
    share = 100 * loading["done_bytes"] // max(loading["total_bytes"], 1)
    return f"weights {share} %, {loading['bytes_per_second'] / 1e6:.1f} MB/s"


def _cold_start(machine: dict[str, Any]) -> str:
    """How long each step of its start took, as far as it is known."""
    steps = {phase: machine[f"{phase}_seconds"] for phase in START_PHASES}
    return ", ".join(f"{phase.replace('_', ' ')} {took:.1f} s" for phase, took in steps.items() if took is not None)


def _prices(machine: dict[str, Any]) -> tuple[str, str]:
    return f"{Decimal(machine['usd_per_hour']):.4f}", f"{Decimal(machine['usd_spent']):.4f}"


@command.command()
@url_option
@_number
@_json_option
def show(url: str, number: int, as_json: bool) -> None:
    """Show everything about one machine."""
    machine = call("GET", url, f"/v1/machines/{number}", admin_token(url))
    if as_json:
        echo_json(machine)
    else:
        EscapingConsole().print(_shown(machine))


def _shown(machine: dict[str, Any]) -> RenderableType:
    silent = machine["silent_seconds"]
    rows = [
        ("number", str(machine["id"])),
        ("label", machine["label"]),
        ("pool", machine["pool"]),
        ("provider", machine["provider"]),
        ("its name there", machine["ref"] or "the order is not confirmed"),
        ("state", f"{machine['state']} for {span(machine['state_seconds'])}"),
        ("minted for", machine["cause"]),
        ("reason", machine["reason"]),
        ("suspicion", machine["suspicion"]),
        ("host", machine["host"]),
        ("machine", machine["machine"]),
        ("offer", machine["offer"]),
        ("age", span(machine["age_seconds"])),
        ("last call", "none yet" if silent is None else f"{span(silent)} ago"),
        ("leases", f"{machine['leases']} in {machine['slots']} slots"),
        ("loads", loading_of(machine)),
        ("cold start", _cold_start(machine)),
        ("idle", span(machine["idle_seconds"]) if machine["idle_seconds"] else ""),
        ("price", f"{machine['usd_per_hour']} $/h, and {machine['usd_once']} $ once"),
        ("cost so far", f"{machine['usd_spent']} $"),
    ]
    return Group(facts(rows), plain(f"Its log: yurt machines logs {machine['id']}"))


@command.command()
@url_option
@_number
@_json_option
def drain(url: str, number: int, as_json: bool) -> None:
    """Give a machine no more leases; it is slain once it has finished those that it has.

    Nothing is interrupted before drain_seconds of its pool. Where work waits, another machine is minted.
    """
    machine = call("POST", url, f"/v1/machines/{number}/drain", admin_token(url))
    leases = f"finishes {machine['leases']} leases" if machine["leases"] else "has no lease"
    _answer(machine, f"Machine {number} of pool {machine['pool']} is {machine['state']}: it {leases}.", as_json)


@command.command()
@url_option
@click.argument("machine", metavar="NUMBER|LABEL")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def slay(url: str, machine: str, yes: bool, as_json: bool) -> None:
    """Destroy a machine now: its leases are taken back, and its objects are processed again elsewhere.

    By its label: one that a provider lists for another installation of the same name, such as a machine of this
    installation's own ledger before that was lost.
    """
    if machine.isascii() and machine.isdigit():
        _slay_own(url, int(machine), yes, as_json)
    else:
        _slay_stranger(url, machine, yes, as_json)


def _slay_own(url: str, number: int, yes: bool, as_json: bool) -> None:
    token = admin_token(url)
    if not yes:
        asked = call("GET", url, f"/v1/machines/{number}", token)
        _ask(f"Slay machine {number} of pool {asked['pool']}, which holds {asked['leases']} leases?")
    machine = call("POST", url, f"/v1/machines/{number}/slay", token)
    _answer(machine, f"Machine {number} of pool {machine['pool']} is being slain by its provider.", as_json)


def _slay_stranger(url: str, label: str, yes: bool, as_json: bool) -> None:
    token = admin_token(url)
    if not yes:
        _ask(f"Slay {label}, which another installation may be using?")
    stranger = call("POST", url, "/v1/strangers/slay", token, {"label": label})
    if as_json:
        echo_json(stranger)
    else:
        echo(f"{label} is being slain by provider {stranger['provider']}. Follow it with: yurt machines list")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to answer on: give --yes, or see yurt machines drain")
    click.confirm(question, abort=True)


def _answer(machine: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        echo_json(machine)
    else:
        echo(f"{sentence} Follow it with: yurt machines show {machine['id']}")


@command.command()
@url_option
@_number
@_json_option
def logs(url: str, number: int, as_json: bool) -> None:
    """Show the end of what a machine printed, asked of its provider."""
    answer = call("GET", url, f"/v1/machines/{number}/log", admin_token(url))
    if as_json:
        echo_json(answer)
    else:
        echo(answer["log"] or "Its provider has no log of it: it printed nothing, or is gone for long.")


def _wish_time(text: str) -> float:
    """The type of ``--time``, in seconds."""
    if not 1 <= (seconds := duration(text)) <= _MOST_WISH_SECONDS:
        raise click.BadParameter("a wish holds for an hour at most: ask again before it ends")
    return seconds


@command.command()
@url_option
@click.argument("pool")
@click.option("--machines", type=click.IntRange(1, 1000), default=1, show_default=True, help="Machines wished for.")
@click.option("--time", type=_wish_time, default="10m", show_default=True, help="How long: 90s, 10m, up to 1h.")
@_json_option
def wake(url: str, pool: str, machines: int, time: float, as_json: bool) -> None:
    """Wish that a pool has machines for a while, before there is work.

    The greatest wish counts; limit and budget hold. Once it has ended, machines leave as always.
    """
    wish = {"machines": machines, "seconds": time}
    woken = call("POST", url, f"/v1/pools/{quote(pool, safe='')}/wake", admin_token(url), wish)
    if as_json:
        echo_json(woken)
    else:
        there = f"{woken['ready']} ready, {woken['starting']} starting"
        echo(f"Pool {woken['pool']} is to have {woken['machines']} machines for {span(woken['seconds'])}: {there}.")
