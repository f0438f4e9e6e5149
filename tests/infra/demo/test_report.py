from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from infra.demo.inventory import Inventory
from infra.demo.report import make_report, summary
from infra.demo.upload import CompletedUploads
from tests.infra.demo.fixtures import FINISHED_AT, REPORT_KEYS, snapshot


def test_json_has_these_keys_and_no_others(inventory: Inventory) -> None:
    report = json.loads(make_report(inventory, CompletedUploads(puts=9), 12.34, ()).model_dump_json())
    assert list(report) == REPORT_KEYS
    assert set(report["upload_to_result_ms"]) == {"p50", "p95"}
    assert report["seconds"] == 12.3


def test_every_number_is_counted(inventory: Inventory) -> None:
    photos = [result.photo for result in inventory.results]
    last = snapshot(photos, inventory.snapshot.status["parked"], unrouted={"quarantined": 1, "received": 1})
    last.status["pipelines"]["photos"]["events"] |= {"stale": 4, "coalesced": 5}
    last.status["pipelines"]["photos"]["changes"] |= {"unchanged": 6}
    report = make_report(replace(inventory, snapshot=last), CompletedUploads(puts=9), 1.0, ())
    assert (report.uploads, report.events, report.duplicates) == (9, len(photos) + 3, 2)
    assert (report.stale, report.coalesced, report.unchanged, report.quarantined) == (4, 5, 6, 1)
    assert (report.done, report.parked, report.minted, report.slain) == (len(photos) - 1, 1, 2, 2)


def test_one_fault_and_it_is_not_verified(inventory: Inventory) -> None:
    assert make_report(inventory, CompletedUploads(), 1.0, ()).verified
    assert not make_report(inventory, CompletedUploads(), 1.0, ("wrong",)).verified


def test_latency_is_from_the_last_put_to_the_manifest(inventory: Inventory) -> None:
    done = [result.key for result in inventory.results if result.manifest]
    uploads = CompletedUploads(
        answered_at={key: FINISHED_AT.timestamp() - (1 + number) for number, key in enumerate(done)}
    )
    latency = make_report(inventory, uploads, 1.0, ()).upload_to_result_ms
    assert (latency.p50, latency.p95) == (1000 * -(-len(done) // 2), 1000 * len(done))


def test_no_results_have_no_latency(inventory: Inventory) -> None:
    assert make_report(replace(inventory, results=[]), CompletedUploads(), 1.0, ()).upload_to_result_ms.p95 == 0


def test_the_tables_show_the_numbers_and_the_reasons(inventory: Inventory) -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(summary(make_report(inventory, CompletedUploads(puts=9), 1.0, ()), inventory))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "uploads",
        "p50 / p95",
        "the next sweep finds the object of a lost event",
        "uploads/truncated.jpg",
        "cut off",
    ):
        assert words in printed
