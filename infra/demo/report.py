"""Counts the demo's outcome, and renders it as the table at the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.demo.inventory import Inventory
from infra.demo.upload import CompletedUploads

_COMMON = 3
"""Labels that are shown of all photos."""


class DemoLatency(BaseModel):
    """Percentiles in milliseconds."""

    model_config = ConfigDict(frozen=True)

    p50: int
    p95: int


class DemoReport(BaseModel):
    """The numbers that ``yurt demo --json`` prints."""

    model_config = ConfigDict(frozen=True)

    uploads: int
    """PUTs that the bucket answered."""
    events: int
    """Events that reached the control plane."""
    duplicates: int
    """Events recognised as a delivery that was received before."""
    stale: int
    """Events proven older than the known version. Tigris sends no order to prove it by: then it is 0."""
    coalesced: int
    """Events that joined a change that was waiting already."""
    quarantined: int
    """Events that could not be read."""
    done: int
    """Objects with a result."""
    parked: int
    """Objects parked."""
    unchanged: int
    """Changes whose content had not changed: the store answered 304."""
    verdicts: dict[str, int]
    """Photos by the verdict of the models that looked at them; empty where none did."""
    minted: int
    slain: int
    upload_to_result_ms: DemoLatency
    """From the answer to an object's last PUT to the moment at which its manifest was written. Both are read from
    this machine's clock; the manifest's own PUT, some milliseconds, comes on top."""
    seconds: float
    """Of the whole demo, starting and stopping included."""
    verified: bool


def make_report(inventory: Inventory, uploads: CompletedUploads, seconds: float, problems: Sequence[str]) -> DemoReport:
    """Count everything. ``seconds``: of the whole demo; ``problems``: what verification found."""
    snapshot = inventory.snapshot
    return DemoReport(
        uploads=uploads.puts,
        events=snapshot.received,
        duplicates=snapshot.event("duplicate"),
        stale=snapshot.event("stale"),
        coalesced=snapshot.event("coalesced"),
        quarantined=snapshot.event("quarantined"),
        done=snapshot.objects("done"),
        parked=snapshot.objects("parked"),
        unchanged=snapshot.change("unchanged"),
        verdicts=dict(Counter(verdict for each in inventory.results if (verdict := each.metadata.get("verdict")))),
        minted=snapshot.minted,
        slain=snapshot.slain,
        upload_to_result_ms=_latency(inventory, uploads.answered_at),
        seconds=round(seconds, 1),
        verified=not problems,
    )


def summary(report: DemoReport, inventory: Inventory) -> RenderableType:
    """The tables at the end."""
    table = Table(title="What happened", title_justify="left", title_style="bold", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, number, note in explained_counts(report, inventory):
        table.add_row(name, number, note)
    parts: list[RenderableType] = [table]
    parts += [_parked(inventory)] if report.parked else []
    return Group(*parts)


def explained_counts(report: DemoReport, inventory: Inventory) -> list[tuple[str, str, str]]:
    """Every number of the report: its name, the number, and what it means."""
    hub = inventory.snapshot.hub
    disorder = (
        f"the bucket sent {hub.duplicates} twice, {hub.held} late and {hub.reordered} out of order, and lost "
        f"{hub.dropped}; the next sweep finds the object of a lost event"
    )
    latency = report.upload_to_result_ms
    return [
        ("uploads", f"{report.uploads}", f"of {len(inventory.results)} objects"),
        ("events received", f"{report.events}", disorder),
        ("duplicates", f"{report.duplicates}", "deliveries that were received before"),
        ("stale", f"{report.stale}", "proven older; Tigris sends no order to prove it by"),
        ("coalesced", f"{report.coalesced}", "joined a change that was already waiting"),
        ("unchanged", f"{report.unchanged}", "fetched again, but the content was the same (304)"),
        ("quarantined", f"{report.quarantined}", "could not be read"),
        ("objects done", f"{report.done}", "have all their results"),
        ("objects parked", f"{report.parked}", "two files are broken on purpose"),
        *_verdicts(report, inventory),
        ("workers minted, slain", f"{report.minted}, {report.slain}", "started for the photos, ended when idle"),
        ("upload → result", f"{latency.p50} / {latency.p95} ms", "p50 / p95, with starting workers and late events"),
        ("seconds", f"{report.seconds}", "with starting and stopping everything"),
    ]


def _verdicts(report: DemoReport, inventory: Inventory) -> Iterator[tuple[str, str, str]]:
    if report.verdicts:
        said = ", ".join(f"{number} {verdict}" for verdict, number in sorted(report.verdicts.items()))
        seen = Counter(label for result in inventory.results if (label := _surest(result.metadata)))
        common = ", ".join(label for label, _ in seen.most_common(_COMMON))
        yield "verdicts", said, f"of {' and '.join(inventory.options.checks)}, which see in most: {common}"


def _surest(metadata: Mapping[str, Any]) -> str | None:
    """What the last check is surest of."""
    *_, last = metadata.get("checks") or [{"labels": []}]
    return last["labels"][0]["label"] if last["labels"] else None


def _parked(inventory: Inventory) -> Table:
    table = Table(title="Parked", title_justify="left", title_style="bold")
    for heading in ("object", "reason", "why"):
        table.add_column(heading, overflow="fold")
    for row in inventory.snapshot.parked:
        table.add_row(Text(row.key), Text(row.reason), Text(row.message))
    return table


def _latency(inventory: Inventory, answered_at: Mapping[str, float]) -> DemoLatency:
    latencies = sorted(
        round((manifest.finished_at.timestamp() - answered_at[result.key]) * 1000)
        for result in inventory.results
        if result.key in answered_at and (manifest := result.manifest)
    )
    return DemoLatency(p50=_nearest_rank(latencies, 0.50), p95=_nearest_rank(latencies, 0.95))


def _nearest_rank(ordered: Sequence[int], share: float) -> int:
    """The percentile by the nearest-rank method; 0 where there are no values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0
