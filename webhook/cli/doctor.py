"""``yurt doctor``: says why nothing moves, and what to do."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.text import Text

from webhook.cli.client import ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo_json
from webhook.cli.terminal import EscapingConsole, finding, plain
from webhook.diagnosis import Diagnosis, diagnose


@click.command()
@url_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(url: str, as_json: bool) -> None:
    """Say why nothing moves, and what to do.

    Asks the running control plane: for refused notifications, machines that do not start, work that waits and nobody
    takes. `yurt check` tests the configuration, the database and the buckets. Exit status 1 where there is a problem.
    """
    found = _found(url, admin_token(url))
    if as_json:
        echo_json({"problems": [asdict(problem) for problem in found]})
    else:
        _show(found)
    raise SystemExit(0 if all(problem.warning for problem in found) else 1)


def _found(url: str, token: str) -> list[Diagnosis]:
    try:
        return [*diagnose(ask("GET", url, "/v1/status", token))]
    except ControlPlaneUnreachable as error:
        advice = "See the log of `yurt serve`. A database that hangs is answered 503: `yurt check` tries it."
        return [Diagnosis("control plane", str(error), advice)]


def _show(found: list[Diagnosis]) -> None:
    console = EscapingConsole()
    if all(problem.warning for problem in found):
        console.print(
            Text.assemble(("✓", "green"), " nothing that the control plane knows keeps work from being done.")
        )
        console.print("  If files arrive and nothing happens, no notification reaches it: `yurt check` tries the way.")
    for problem in found:
        console.print(
            finding("warning" if problem.warning else "failed", problem.subject, problem.sentence, problem.advice)
        )
        for line in problem.detail.splitlines():
            console.print(Text.assemble("  │ ", plain(line)), style="dim", soft_wrap=True)
