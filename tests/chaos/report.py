"""Report of a chaos run: table of figures, violations, and the history of each object concerned."""

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
"""Injected faults are shown with an object's history if they happened this close to one of its last writes."""
_QUIET = {"timestamp", "level", "key", "pipeline", "logger"}


@dataclass(slots=True)
class Figures:
    """Counts of a run."""

    seed: int = 0
    seconds: float = 0.0
    objects: int = 0
    uploads: int = 0
    overwrites: int = 0
    deletes: int = 0
    hub: dict[str, Any] = field(default_factory=dict)
    injections: Counter[str] = field(default_factory=Counter)
    """Injected faults by kind."""
    missed: int = 0
    machines: int = 0
    """The most at one time."""
    results: int = 0
    """Results that were published and settled."""
    looks: int = 0
    settles: int = 0
    told: int = 0
    """Settles that the app was told of."""
    told_again: int = 0
    """Settles that it was told of more than once, under the same id."""
    violations: Counter[str] = field(default_factory=Counter)
    """Violations by kind."""

    def kind(self, prefix: str) -> int:
        """Injected faults whose kind begins with a prefix."""
        return sum(count for name, count in self.injections.items() if name.startswith(prefix))

    @property
    def injected(self) -> int:
        """Injected faults of all kinds."""
        return sum(self.injections.values())


def show(console: Console, figures: Figures) -> None:
    """Print the table of figures."""
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
    for word, prefix in (
        ("kills", "kill-"), ("stops", "stop-"), ("cuts", "cut-"), ("store faults", "store-"), ("app faults", "app-"),
    ):  # fmt: skip
        kinds = sorted(
            (name.removeprefix(prefix), n) for name, n in figures.injections.items() if name.startswith(prefix)
        )
        yield word, f"{figures.kind(prefix)}: " + ", ".join(f"{kind} {count}" for kind, count in kinds)
    yield (
        "kills and faults",
        f"{figures.injected}" + (f", and {figures.missed} that found no target" * bool(figures.missed)),
    )
    yield "results", f"{figures.results}, looked at {figures.looks} times"
    yield "callbacks", f"{figures.told} of {figures.settles} settles, {figures.told_again} of them more than once"
    yield "machines", f"{figures.machines} at once at most"
    for kind in ("lost", "stale", "unsettled"):
        yield kind, str(figures.violations[kind])
    others = {wrong: n for wrong, n in figures.violations.items() if wrong not in ("lost", "stale", "unsettled")}
    yield "otherwise wrong", ", ".join(f"{wrong} {count}" for wrong, count in sorted(others.items())) or "0"


def show_violations(
    console: Console,
    violations: Sequence[Violation],
    histories: Mapping[str, History],
    folder: Path,
    log: Sequence[tuple[float, str]],
) -> None:
    """Print the violations, and the history of the first few objects concerned."""
    for violation in violations[:_SHOWN_FAULTS]:
        console.print(
            f"{violation.kind}: {violation.key} {violation.text}", markup=False, highlight=False, soft_wrap=True
        )
    if len(violations) > _SHOWN_FAULTS:
        console.print(f"… and {len(violations) - _SHOWN_FAULTS} more")
    concerned = list(dict.fromkeys(violation.key for violation in violations if violation.key in histories))
    for key in concerned[:_SHOWN_OBJECTS]:
        console.print(f"\n{key}", markup=False, style="bold")
        for line in story(histories[key], folder, log)[-_SHOWN_LINES:]:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def story(history: History, folder: Path, log: Sequence[tuple[float, str]] = ()) -> list[str]:
    """Writes, log lines and results of one object, in order of time."""
    lines = [*_writes(history), *_observed(history), *_logged(history.key, folder)]
    moments = [write.at for write in history.writes[-3:]]
    lines += [
        (at, f"monkey    {text}") for at, text in log if any(abs(at - moment) < _NEAR_SECONDS for moment in moments)
    ]
    return [f"{_clock(at)} {text}" for at, text in sorted(lines)]


def _writes(history: History) -> Iterator[tuple[float, str]]:
    for number, write in enumerate(history.writes):
        what = f"content {write.content.number} {write.etag}" if write.content else "deleted"
        where = f", announced late ({write.region})" if write.region else ""
        yield write.at, f"write {number:<3} {write.kind}: {what}{where}{'' if write.done_at else ', never answered'}"


def _observed(history: History) -> Iterator[tuple[float, str]]:
    for observation in history.observations:
        what = f"manifest of token {observation.token}" if observation.token is not None else f"copy {observation.etag}"
        yield observation.at, f"published {what}{' – ' + observation.fault if observation.fault else ''}"


def _logged(key: str, folder: Path) -> Iterator[tuple[float, str]]:
    """Log lines of replicas and agents with this key."""
    for path in sorted(folder.rglob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if "{" not in line or key.rpartition("/")[2] not in line:
                continue
            try:
                fields = json.loads(line)
                at = datetime.fromisoformat(fields["timestamp"]).timestamp()
            except (ValueError, KeyError, TypeError):
                continue
            if fields.get("key") == key:
                facts = ", ".join(f"{name} {value}" for name, value in fields.items() if name not in {*_QUIET, "event"})
                yield at, f"{path.stem[-9:]:<9} {fields.get('event')}: {facts}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
