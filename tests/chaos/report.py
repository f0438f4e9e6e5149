"""What a person reads: a line of progress, a small table, and the history of each object that is not right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.checks import Violation
from tests.chaos.history import History

_SHOWN_OBJECTS = 5
_SHOWN_FAULTS = 30
_SHOWN_LINES = 80
_NEAR_SECONDS = 3.0
"""Deeds of the monkey shown with an object's history happened so shortly before or after one of its writes."""
_QUIET = {"timestamp", "level", "key", "pipeline", "logger"}


@dataclass(slots=True)
class Figures:
    """What is counted."""

    seed: int = 0
    seconds: float = 0.0
    objects: int = 0
    uploads: int = 0
    overwrites: int = 0
    deletes: int = 0
    hub: dict[str, Any] = field(default_factory=dict)
    deeds: Counter[str] = field(default_factory=Counter)
    """Of the monkey that hit, by kind."""
    missed: int = 0
    machines: int = 0
    """At once, at most."""
    results: int = 0
    """Runs of the handler that were published and settled."""
    looks: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """What is wrong, by kind."""

    def kind(self, prefix: str) -> int:
        """Deeds whose name begins so."""
        return sum(count for deed, count in self.deeds.items() if deed.startswith(prefix))

    @property
    def struck(self) -> int:
        """Kills and faults of any kind."""
        return self.kind("kill") + self.kind("stop") + self.kind("cut") + self.kind("store")


def show(console: Console, figures: Figures) -> None:
    """The table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in _lines(figures):
        table.add_row(name, value)
    console.print(table)


def _lines(figures: Figures) -> Iterator[tuple[str, str]]:
    hub = figures.hub
    yield "seed", f"{figures.seed}, {figures.seconds:.0f} s"
    yield "uploads", f"{figures.uploads} of {figures.objects} objects: {figures.overwrites} overwrites"
    yield "deletes", str(figures.deletes)
    yield (
        "events",
        f"{hub.get('events', 0)}: lost {hub.get('dropped', 0)}, given up {hub.get('given_up', 0)}, never announced "
        f"{hub.get('superseded', 0)}, duplicated {hub.get('duplicates', 0)}, reordered {hub.get('reordered', 0)}, "
        f"held back {hub.get('held', 0)}",
    )
    for word, prefix in (("kills", "kill-"), ("stops", "stop-"), ("cuts", "cut-"), ("store faults", "store-")):
        kinds = sorted((deed.removeprefix(prefix), n) for deed, n in figures.deeds.items() if deed.startswith(prefix))
        yield word, f"{figures.kind(prefix)}: " + ", ".join(f"{kind} {count}" for kind, count in kinds)
    yield "kills and faults", f"{figures.struck}" + (f", and {figures.missed} that hit nobody" * bool(figures.missed))
    yield "results", f"{figures.results}, looked at {figures.looks} times"
    yield "machines", f"{figures.machines} at once at most"
    for wrong in ("lost", "stale", "unsettled"):
        yield wrong, str(figures.found[wrong])
    others = {wrong: n for wrong, n in figures.found.items() if wrong not in ("lost", "stale", "unsettled")}
    yield "otherwise wrong", ", ".join(f"{wrong} {count}" for wrong, count in sorted(others.items())) or "0"


def tell(
    console: Console,
    faults: Sequence[Violation],
    histories: Mapping[str, History],
    folder: Path,
    deeds: Sequence[tuple[float, str]],
) -> None:
    """What is wrong, and all that is known of the first few objects concerned."""
    for fault in faults[:_SHOWN_FAULTS]:
        console.print(f"{fault.wrong}: {fault.key} {fault.text}", markup=False, highlight=False, soft_wrap=True)
    if len(faults) > _SHOWN_FAULTS:
        console.print(f"… and {len(faults) - _SHOWN_FAULTS} more")
    concerned = list(dict.fromkeys(fault.key for fault in faults if fault.key in histories))
    for key in concerned[:_SHOWN_OBJECTS]:
        console.print(f"\n{key}", markup=False, style="bold")
        for line in story(histories[key], folder, deeds)[-_SHOWN_LINES:]:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def story(history: History, folder: Path, deeds: Sequence[tuple[float, str]] = ()) -> list[str]:
    """One object's writes, leases and results, in order of time."""
    told = [*_writes(history), *_sightings(history), *_logged(history.key, folder)]
    moments = [write.at for write in history.writes[-3:]]
    told += [
        (at, f"monkey    {text}") for at, text in deeds if any(abs(at - moment) < _NEAR_SECONDS for moment in moments)
    ]
    return [f"{_clock(at)} {text}" for at, text in sorted(told)]


def _writes(history: History) -> Iterator[tuple[float, str]]:
    for number, write in enumerate(history.writes):
        what = f"content {write.content.number} {write.etag}" if write.content else "deleted"
        where = f", heard of late ({write.region})" if write.region else ""
        yield write.at, f"write {number:<3} {write.kind}: {what}{where}{'' if write.done_at else ', never answered'}"


def _sightings(history: History) -> Iterator[tuple[float, str]]:
    for seen in history.sightings:
        what = f"manifest of token {seen.token}" if seen.token is not None else f"copy {seen.etag}"
        yield seen.at, f"published {what}{' – ' + seen.fault if seen.fault else ''}"


def _logged(key: str, folder: Path) -> Iterator[tuple[float, str]]:
    """What replicas and agents logged with this key."""
    for path in sorted(folder.rglob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if "{" not in line or key.rpartition("/")[2] not in line:
                continue
            try:
                said = json.loads(line)
                at = datetime.fromisoformat(said["timestamp"]).timestamp()
            except (ValueError, KeyError, TypeError):
                continue
            if said.get("key") == key:
                facts = ", ".join(f"{name} {value}" for name, value in said.items() if name not in {*_QUIET, "event"})
                yield at, f"{path.stem[-9:]:<9} {said.get('event')}: {facts}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
