"""``yurt demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli.options import failing
from webhook.cli.sample import configuration, overrides

if TYPE_CHECKING:
    from infra.demo.folder import Folder
    from infra.demo.scenario import Setting
    from infra.interrupts import Stop

NOT_VERIFIED = 1
INTERRUPTED = 130


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on the last line of stdout.")
@click.option("--keep", is_flag=True, help="Keep logs and database beside the contact sheet.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=7, show_default=True, help="Of photos and disorder.")
@click.option(
    "--folder",
    "chosen",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the contact sheet goes; by default a new folder for temporary files.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file; by default the sample that comes with Yurt.",
)
def command(as_json: bool, keep: bool, seed: int, chosen: Path | None, config_path: Path | None) -> None:
    """Watch thirty photos travel the whole way on this machine.

    Starts a local bucket, an embedded PostgreSQL and the control plane on loopback and free ports, uploads photos that
    it makes itself, and verifies every result. The bucket announces them out of order, some twice and some late.

    Exit status 0: all results are right; 1: some are not, or something failed; 130: interrupted.
    """
    started_at = time.monotonic()
    from infra.interrupts import Stop

    stop = Stop()
    with stop.listening():  # before anything that takes a moment, the imports among it
        setting, folder = _prepare(config_path, chosen, seed)
        raise SystemExit(_play(setting, folder, stop, started_at, as_json=as_json, keep=keep))


def _prepare(config_path: Path | None, chosen: Path | None, seed: int) -> tuple[Setting, Folder]:
    from infra.demo.folder import Folder, FolderError
    from infra.demo.scenario import Setting, UnfitError, photo_pipeline
    from webhook.app import validate_options
    from webhook.config import ConfigError, load

    with failing(ConfigError, FolderError, UnfitError):
        path = configuration(config_path)
        config = load(path, validate_options)
        name = photo_pipeline(config)
        folder = Folder(chosen)
        return Setting(config, path, name, folder.services, overrides(), seed), folder


def _play(setting: Setting, folder: Folder, stop: Stop, started_at: float, *, as_json: bool, keep: bool) -> int:
    """Run it, show what came of it, and give the exit status."""
    from rich.console import Console

    from infra.demo.progress import view
    from infra.demo.report import report, summary
    from infra.demo.results import ResultsError
    from infra.demo.scenario import UnfitError, play
    from infra.demo.sheet import sheet
    from infra.demo.upload import UploadError
    from infra.demo.verify import faults
    from infra.demo.watch import WatchError
    from infra.interrupts import Interrupted
    from infra.stack import StackError

    console = Console(stderr=as_json)
    try:
        with view(console, plain=as_json) as shown:
            outcome = play(setting, shown, stop)
        stop.check()
    except Interrupted:
        folder.tidy()
        click.echo("Interrupted: everything was stopped, nothing was verified, and no process is left.", err=True)
        return INTERRUPTED
    except (StackError, UploadError, ResultsError, WatchError, UnfitError) as error:
        click.echo(f"yurt demo: {error}\nLogs are kept in {setting.folder}", err=True)
        return NOT_VERIFIED
    wrong = faults(outcome.found)
    told = report(outcome.found, outcome.answered, time.monotonic() - started_at, wrong)
    folder.sheet.write_text(sheet(outcome.found, told, wrong), encoding="utf-8")
    console.print(summary(told, outcome.found, str(folder.sheet)))
    for fault in wrong:
        console.print(f"✗ {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
    if wrong or keep:
        console.print(f"Logs and database: {setting.folder}", markup=False, highlight=False)
    else:
        folder.tidy()
    console.print(_verdict(len(wrong)), style="bold red" if wrong else "bold green")
    if as_json:
        click.echo(told.model_dump_json())
    return NOT_VERIFIED if wrong else 0


def _verdict(wrong: int) -> str:
    return f"Not verified: {wrong} things are wrong." if wrong else "Verified: every result is right."
