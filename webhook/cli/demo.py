"""``yurt demo``: runs the whole pipeline on this machine and verifies its results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli import INTERRUPTED
from webhook.cli.invocation import yurt_command
from webhook.cli.options import failing
from webhook.cli.output import echo, echo_json
from webhook.cli.sample import configuration, overrides

if TYPE_CHECKING:
    from rich.console import Console

    from infra.demo.folder import DemoFolder
    from infra.demo.scenario import DemoOutcome, DemoSetup
    from infra.interrupts import Interrupts

NOT_VERIFIED = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on the last line of stdout.")
@click.option("--market", is_flag=True, help="Rent the workers' machines on a pretend market, and end with the bill.")
@click.option("--keep", is_flag=True, help="Keep the logs and the database beside the contact sheet.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=7,
    show_default=True,
    help="Decides the photos and the disorder of events.",
)
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
def command(as_json: bool, market: bool, keep: bool, seed: int, chosen: Path | None, config_path: Path | None) -> None:
    """Run thirty photos through the whole pipeline on this machine.

    Starts a local bucket, an embedded PostgreSQL and the control plane on loopback and free ports, uploads photos that
    it makes itself, and verifies every result. The bucket sends its events out of order, some twice and some late.
    With --market one machine never boots, one offer is gone and one answer is lost.

    Exit status 0: all results are right; 1: some are not, or something failed; 130: interrupted.
    """
    started_at = time.monotonic()
    from infra.interrupts import Interrupts

    interrupts = Interrupts()
    with interrupts.listening():  # before the slow imports below, so that Ctrl-C never shows a traceback
        setup, folder = _prepare(config_path, chosen, seed, on_market=market)
        raise SystemExit(_run(setup, folder, interrupts, started_at, as_json=as_json, keep=keep))


def _prepare(
    config_path: Path | None, chosen: Path | None, seed: int, *, on_market: bool
) -> tuple[DemoSetup, DemoFolder]:
    from infra.demo.folder import DemoFolder, FolderError
    from infra.demo.scenario import DemoSetup, UnsuitableConfigError, photo_pipeline
    from webhook.config_faults import ConfigError
    from webhook.config_file import load
    from workers.handlers.registry import options_model

    with failing(ConfigError, FolderError, UnsuitableConfigError):
        path = configuration(config_path)
        config = load(path, options_model)
        name = photo_pipeline(config)
        folder = DemoFolder(chosen)
        return DemoSetup(config, path, name, folder.services, overrides(), seed, on_market), folder


def _run(
    setup: DemoSetup, folder: DemoFolder, interrupts: Interrupts, started_at: float, *, as_json: bool, keep: bool
) -> int:
    """Run the demo, show its outcome, and return the exit status."""
    from infra.demo.progress import view
    from infra.demo.results import ResultsError
    from infra.demo.scenario import UnsuitableConfigError, run_demo
    from infra.demo.upload import UploadError
    from infra.demo.watch import WatchError
    from infra.interrupts import Interrupted
    from infra.stack import StackError
    from webhook.cli.terminal import EscapingConsole

    console = EscapingConsole(stderr=as_json)
    try:
        with view(console, plain=as_json) as demo_view:
            outcome = run_demo(setup, demo_view, interrupts)
        interrupts.check()
    except Interrupted:
        folder.tidy()
        echo("Interrupted: everything was stopped, nothing was verified, and no process is left.", err=True)
        return INTERRUPTED
    except (StackError, UploadError, ResultsError, WatchError, UnsuitableConfigError) as error:
        echo(f"yurt demo: {error}\nLogs are kept in {setup.folder}", err=True)
        return NOT_VERIFIED
    return _conclude(outcome, folder, console, started_at, as_json=as_json, keep=keep)


def _conclude(
    outcome: DemoOutcome, folder: DemoFolder, console: Console, started_at: float, *, as_json: bool, keep: bool
) -> int:
    """Verify the results, write the contact sheet, show the numbers, and return the exit status."""
    from infra.demo.report import make_report, summary
    from infra.demo.sheet import render_sheet
    from infra.demo.verify import problems
    from webhook.cli.terminal import link

    wrong = [*problems(outcome.inventory), *(outcome.bill.problems() if outcome.bill else ())]
    report = make_report(outcome.inventory, outcome.uploads, time.monotonic() - started_at, wrong)
    folder.sheet.write_text(render_sheet(outcome.inventory, report, wrong), encoding="utf-8")
    console.print(summary(report, outcome.inventory))
    if outcome.bill:
        console.print(outcome.bill.summary())
    for problem in wrong:
        console.print(f"✗ {problem}", style="red", highlight=False, soft_wrap=True)
    if wrong or keep:
        console.print(f"Logs and database: {folder.services}", highlight=False)
    else:
        folder.tidy()
    console.print(_verdict(len(wrong)), style="bold red" if wrong else "bold green")
    console.print("Contact sheet, all originals and results side by side:", link(folder.sheet), soft_wrap=True)
    console.print(_next_steps(yurt_command()), highlight=False, soft_wrap=True)
    if as_json:
        echo_json({**report.model_dump(mode="json"), **({"bill": outcome.bill.as_dict()} if outcome.bill else {})})
    return NOT_VERIFIED if wrong else 0


def _next_steps(yurt: str) -> str:
    return f"""
Try next:
  {yurt} up              the same services, kept running, for files of your own
  {yurt} init my-yurt    a configuration for a bucket of your own
  {yurt} --help          all commands"""


def _verdict(wrong: int) -> str:
    if not wrong:
        return "Verified: every result is right."
    return "Not verified: one thing is wrong." if wrong == 1 else f"Not verified: {wrong} things are wrong."
