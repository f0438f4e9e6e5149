"""``python -m tests.chaos``: exits with 0 without violations, 1 with some, 2 if the run failed, 130 on Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.chaos import report
from tests.chaos.run import ChaosOptions, ChaosOutcome, ChaosRun
from tests.chaos.service import ChaosError

_INTERRUPTED = 130
_LINE_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""


def main() -> None:
    """Run and report."""
    arguments = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="yurt-chaos-", dir=arguments.folder))
    console = Console(stderr=True)
    options = ChaosOptions(
        arguments.uploads,
        arguments.minutes * 60,
        arguments.faults,
        arguments.seed,
        sweeps=not arguments.without_sweeps,
    )
    console.print(f"Seed {options.seed}. Logs: {folder}", highlight=False, soft_wrap=True)
    status = 2
    try:
        status = _report(asyncio.run(_perform(options, folder, console)), folder)
    except asyncio.CancelledError:
        status = _INTERRUPTED
        console.print("Interrupted.")
    except BaseExceptionGroup as failed:
        _, others = failed.split(ChaosError)
        if others:
            raise
        console.print(*(str(error) for error in _leaves(failed)), sep="\n", soft_wrap=True)
    except ChaosError as failed:
        console.print(str(failed), soft_wrap=True)
    finally:
        if arguments.keep or status not in (0, _INTERRUPTED):
            console.print(f"Kept: {folder}", highlight=False, soft_wrap=True)
        else:
            shutil.rmtree(folder)
    sys.exit(status)


async def _perform(options: ChaosOptions, folder: Path, console: Console) -> ChaosOutcome:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            line = stack.enter_context(console.status("starting"))
            return await ChaosRun(options, folder, line.update).perform()
        return await ChaosRun(options, folder, _Lines(console).show).perform()


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_at = 0.0

    def show(self, line: str) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _LINE_SECONDS
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _report(outcome: ChaosOutcome, folder: Path) -> int:
    console = Console(width=None if sys.stdout.isatty() else 200)
    report.show_violations(console, outcome.violations, outcome.writers.histories, folder, outcome.log)
    report.show(console, outcome.figures)
    return int(bool(outcome.violations))


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--uploads", type=int, default=5000, help="deletes come on top (default 5000)")
    parser.add_argument("--minutes", type=float, default=8.0, help="of writing and injecting faults (default 8)")
    parser.add_argument("--faults", type=int, default=360, help="kills, stops, cuts and store faults (default 360)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="default: drawn at random")
    parser.add_argument("--folder", type=Path, help="where to make the run's own folder (default: the system's)")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder also when all is well")
    parser.add_argument(
        "--without-sweeps", action="store_true", help="to see it fail: events that the hub loses are never looked for"
    )
    return parser


if __name__ == "__main__":
    main()
