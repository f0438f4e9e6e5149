"""The demo's outcome in numbers, each of them counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.demo.inventory import Inventory
from infra.demo.upload import Answered


class Latency(BaseModel):
    """Milliseconds."""

    model_config = ConfigDict(frozen=True)

    p50: int
    p95: int


class Report(BaseModel):
    """What ``yurt demo --json`` prints."""

    model_config = ConfigDict(frozen=True)

    uploads: int
    """PUTs that the bucket answered."""
    events: int
    """Events that reached the control plane."""
    duplicates: int
    """Events recognised as the very delivery heard before."""
    stale: int
    """Events proven older than what was known. Tigris sends nothing to prove it by: then it is 0."""
    coalesced: int
    """Events that joined a change that was waiting already."""
    quarantined: int
    """Events that could not be read."""
    done: int
    """Objects with a result."""
    parked: int
    """Objects given up."""
    unchanged: int
    """Changes that turned out to be none: the store answered 304."""
    minted: int
    slain: int
    upload_to_result_ms: Latency
    """From the answer to an object's last PUT to the moment at which its manifest was written. Both are read from
    this machine's clock; the manifest's own PUT, some milliseconds, comes on top."""
    seconds: float
    """All of it, with starting and stopping."""
    verified: bool


def report(found: Inventory, answered: Answered, seconds: float, faults: Sequence[str]) -> Report:
    """Count everything."""
    last = found.last
    return Report(
        uploads=answered.puts,
        events=last.received,
        duplicates=last.event("duplicate"),
        stale=last.event("stale"),
        coalesced=last.event("coalesced"),
        quarantined=last.event("quarantined"),
        done=last.objects("done"),
        parked=last.objects("parked"),
        unchanged=last.change("unchanged"),
        minted=last.minted,
        slain=last.slain,
        upload_to_result_ms=_latency(found, answered.at),
        seconds=round(seconds, 1),
        verified=not faults,
    )


def summary(told: Report, found: Inventory, sheet: str) -> RenderableType:
    """The table at the end."""
    table = Table(title="What happened", title_justify="left", title_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, number, note in _rows(told, found):
        table.add_row(name, number, note)
    parts: list[RenderableType] = [table]
    parts += [_parked(found)] if told.parked else []
    return Group(*parts, Text.assemble("Contact sheet: ", (sheet, "bold")))


def _rows(told: Report, found: Inventory) -> list[tuple[str, str, str]]:
    hub = found.last.hub
    repeated = (
        f"the bucket sent {hub.duplicates} twice, {hub.held} late and {hub.reordered} out of order, and dropped "
        f"{hub.dropped}: finding those takes a sweep, which is yet to come"
    )
    latency = told.upload_to_result_ms
    return [
        ("uploads", f"{told.uploads}", f"of {len(found.findings)} objects"),
        ("events received", f"{told.events}", repeated),
        ("duplicates", f"{told.duplicates}", "the very delivery heard before"),
        ("stale", f"{told.stale}", "proven older; Tigris sends nothing to prove it by"),
        ("coalesced", f"{told.coalesced}", "joined a change that was waiting already"),
        ("unchanged", f"{told.unchanged}", "looked at again: the content was the same (304)"),
        ("quarantined", f"{told.quarantined}", "could not be read"),
        ("objects done", f"{told.done}", ""),
        ("objects parked", f"{told.parked}", ""),
        ("workers minted, slain", f"{told.minted}, {told.slain}", ""),
        ("upload → result", f"{latency.p50} / {latency.p95} ms", "p50 / p95, events held back and booting included"),
        ("seconds", f"{told.seconds}", ""),
    ]


def _parked(found: Inventory) -> Table:
    table = Table(title="Parked", title_justify="left", title_style="bold")
    for heading in ("object", "reason", "why"):
        table.add_column(heading, overflow="fold")
    for row in found.last.parked:
        table.add_row(Text(row.key), Text(row.reason), Text(row.message))
    return table


def _latency(found: Inventory, answered_at: Mapping[str, float]) -> Latency:
    taken = sorted(
        round((manifest.finished_at.timestamp() - answered_at[finding.key]) * 1000)
        for finding in found.findings
        if finding.key in answered_at and (manifest := finding.manifest)
    )
    return Latency(p50=_nearest_rank(taken, 0.50), p95=_nearest_rank(taken, 0.95))


def _nearest_rank(ordered: Sequence[int], share: float) -> int:
    """The smallest value that so large a share of all does not exceed; 0 where there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0
