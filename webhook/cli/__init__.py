"""The ``yurt`` command: one file a subcommand, imported when it is called."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import IO, cast

import click

from webhook.cli.extras import missing_parts
from webhook.cli.options import fail
from webhook.cli.output import EscapingStream, echo
from webhook.cli.stopping import end_on_sigterm
from workers.private_process import close_to_others

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended: 128 and the number of SIGINT."""

COMMANDS = {
    "demo": "Run thirty photos through the whole pipeline on this machine.",
    "up": "Run the services of the demo until Ctrl-C.",
    "init": "Write yurt.toml and yurt.secrets to begin with.",
    "serve": "Run the control plane.",
    "worker": "Run a worker: needs YURT_URL and YURT_TOKEN, nothing else.",
    "setup": "Show, and with --yes set, the bucket notifications on Tigris, and what uploads need.",
    "check": "Check the configuration, database, buckets and credentials.",
    "page": "Print a link that signs a browser in to the page.",
    "status": "Show pipelines, backlog, workers and parked objects.",
    "doctor": "Say why nothing moves, and what to do.",
    "try": "Run one file through a pipeline's handler on this machine.",
    "backfill": "List the input buckets, and process objects that are new or changed.",
    "parked": "List, show, redrive or forget parked objects.",
    "quarantine": "List, show or replay events that could not be read.",
    "distrust": "Revoke a worker, and process again everything that it reported.",
    "machines": "List, show, drain or slay machines, show their logs, wake pools.",
    "offers": "Show what a pool would rent now, and why; rents nothing.",
    "costs": "Show what machines have cost.",
    "models": "Publish models, and list, show or remove their versions.",
    "diff": "Show what a yurt.toml would change on a running control plane.",
    "definitions": "List, show, replace or remove pipelines, pools, models and services.",
    "rollback": "Let an earlier version of a deployed app hold again.",
    "services": "Show services, their machines and their requests.",
    "tokens": "Make, list or revoke tokens with which apps upload, read and call.",
    "deploy": "Pack a Python file with functions, and have workers run them.",
    "callbacks": "List, show or replay what apps were told of settled objects.",
    "run": "Call a function, on a worker or here.",
    "logs": "Show the failures of a function with what it printed.",
    "invite": "Make a one-time token for a worker that you start yourself.",
}
"""Name to one line of help."""


class _LazyGroup(click.Group):
    """Imports a subcommand's module only when it is called: ``yurt worker`` must start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"webhook.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; for a mistyped one, suggest the nearest.

        Ends the program where it needs packages that are not installed.
        """
        similar = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and similar:
            ctx.fail(f"There is no command {args[0]!r}. Did you mean `yurt {similar[0]}`?")
        if args[0] in COMMANDS and not ctx.resilient_parsing and (missing := missing_parts(args[0])):
            fail(missing)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """End with status 130 on Ctrl-C, as shells expect it of every command; click's own is 1, a failure."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="yurt", prog_name="yurt")
def yurt() -> None:
    """Files land in a bucket, workers are pitched where compute is cheap, results appear in another bucket."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``yurt``. Always raises SystemExit."""
    close_to_others()  # before a secret is read
    end_on_sigterm()
    try:
        status = yurt.main(list(sys.argv[1:] if argv is None else argv), "yurt", standalone_mode=False)
    except click.ClickException as error:
        error.show(cast("IO[str]", EscapingStream()))  # it repeats what was typed
        raise SystemExit(error.exit_code) from None
    except click.Abort:
        echo("Aborted!", err=True)
        raise SystemExit(1) from None
    raise SystemExit(status if isinstance(status, int) else 0)
