"""``make bench``: runs the benchmarks, prints a table and writes ``bench.json``."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tests.bench import (
    callbacks,
    checks,
    events,
    fleet,
    functions,
    latency,
    ledger,
    models,
    page,
    photos,
    services,
    sweep,
)
from tests.bench.report import BenchFigure, show, write

_PARTS: dict[str, Callable[[Path], Awaitable[list[BenchFigure]]]] = {
    "ledger": ledger.measure,
    "photos": photos.measure,
    "checks": checks.measure,
    "latency": latency.measure,
    "sweep": sweep.measure,
    "fleet": fleet.measure,
    "models": models.measure,
    "functions": functions.measure,
    "services": services.measure,
    "events": events.measure,
    "callbacks": callbacks.measure,
    "page": page.measure,
}


def main() -> None:
    """Run the parts named on the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; default: all")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where to write the figures")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(_PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}")
    rows: list[BenchFigure] = []
    for name in options.parts or _PARTS:
        print(f"Measuring {name} …", flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="yurt-bench-") as folder,
            asyncio.Runner(loop_factory=uvloop.Loop) as runner,
        ):
            rows += runner.run(_part(name, Path(folder)))
    show(rows)
    write(rows, options.json)
    print(f"Figures: {options.json}")
    raise SystemExit(any(row.met is False for row in rows))


async def _part(name: str, folder: Path) -> list[BenchFigure]:
    return await _PARTS[name](folder)


main()
