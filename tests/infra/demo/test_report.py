from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from infra.demo.inventory import Inventory
from infra.demo.report import report, summary
from infra.demo.upload import Answered
from tests.infra.demo.fixtures import snapshot

KEYS = [
    *("uploads", "events", "duplicates", "stale", "coalesced", "quarantined", "done", "parked", "unchanged"),
    *("minted", "slain", "upload_to_result_ms", "seconds", "verified"),
]
FINISHED_AT = datetime(2026, 6, 1, 12, 0, 2, tzinfo=UTC).timestamp()
"""Of every manifest that the darkroom makes."""


def test_json_has_these_keys_and_no_others(found: Inventory) -> None:
    told = json.loads(report(found, Answered(puts=9), 12.34, ()).model_dump_json())
    assert list(told) == KEYS
    assert set(told["upload_to_result_ms"]) == {"p50", "p95"}
    assert told["seconds"] == 12.3


def test_every_number_is_counted(found: Inventory) -> None:
    photos = [one.photo for one in found.findings]
    last = snapshot(photos, found.last.status["parked"], unrouted={"quarantined": 1, "received": 1})
    last.status["pipelines"]["photos"]["events"] |= {"stale": 4, "coalesced": 5}
    last.status["pipelines"]["photos"]["changes"] |= {"unchanged": 6}
    told = report(replace(found, last=last), Answered(puts=9), 1.0, ())
    assert (told.uploads, told.events, told.duplicates) == (9, len(photos) + 3, 2)
    assert (told.stale, told.coalesced, told.unchanged, told.quarantined) == (4, 5, 6, 1)
    assert (told.done, told.parked, told.minted, told.slain) == (len(photos) - 1, 1, 2, 2)


def test_one_fault_and_it_is_not_verified(found: Inventory) -> None:
    assert report(found, Answered(), 1.0, ()).verified
    assert not report(found, Answered(), 1.0, ("wrong",)).verified


def test_latency_is_from_the_last_put_to_the_manifest(found: Inventory) -> None:
    done = [one.key for one in found.findings if one.manifest]
    answered = Answered(at={key: FINISHED_AT - (1 + number) for number, key in enumerate(done)})
    latency = report(found, answered, 1.0, ()).upload_to_result_ms
    assert (latency.p50, latency.p95) == (1000 * -(-len(done) // 2), 1000 * len(done))


def test_no_results_have_no_latency(found: Inventory) -> None:
    assert report(replace(found, findings=[]), Answered(), 1.0, ()).upload_to_result_ms.p95 == 0


def test_the_table_tells_the_numbers_the_reasons_and_the_sheet(found: Inventory) -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(summary(report(found, Answered(puts=9), 1.0, ()), found, "/somewhere/sheet.html"))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("uploads", "p50 / p95", "dropped 0", "uploads/truncated.jpg", "cut off", "/somewhere/sheet"):
        assert words in said
