"""Collects the Prometheus metrics. Counters of the ledger are read from it, so they survive restarts of the process.

``docs/operations.md`` explains every metric; a test holds both to each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from webhook.cold_starts import ColdStarts
from webhook.ledger.ledger import Ledger
from webhook.ledger.services import ServiceLoad
from webhook.ledger.sweeps import COUNTED
from webhook.loops import LoopHealth

EVENTS = ("received", "accepted", "coalesced", "duplicate", "stale", "ignored", "quarantined")
CHANGES = ("done", "unchanged", "superseded", "gone", "forgotten")

Rows = Iterable[tuple[str | float | Decimal, ...]]
"""Of each sample its labels and its value."""
STANDING_SECONDS = 15.0
"""Counting rows by state, and adding up what was ever spent, reads whole tables: not at every scrape."""


@dataclass(slots=True)
class LedgerSnapshot:
    """The ledger's counts as they were read last."""

    totals: list[tuple[str, str, int]] = field(default_factory=list)
    """Pipeline ("" for none), counter, value."""
    standing: list[tuple[str, str, int]] = field(default_factory=list)
    """Pipeline, state, objects."""
    oldest: list[tuple[str, float]] = field(default_factory=list)
    """Pipeline, seconds."""
    unavailable: list[tuple[str, int]] = field(default_factory=list)
    """Pipeline, ready machines on which its handler cannot run."""
    workers: list[tuple[str, str, int]] = field(default_factory=list)
    """Pool, state, machines."""
    fleet: list[tuple[str, int, int]] = field(default_factory=list)
    """Pool, machines ever minted, of these slain."""
    pool_reports: list[tuple[str, str, bool, int, bool]] = field(default_factory=list)
    """Pool, state of its breaker, whether it is frozen, starts that ever failed, whether machines are wanting."""
    spent: list[tuple[str, str, str, Decimal]] = field(default_factory=list)
    """Pool, provider, phase, US dollars that were ever spent."""
    ahead: list[tuple[str, str, int, int, int, Decimal]] = field(default_factory=list)
    """Pool, reason, machines minted ahead that are not gone, ever, that got a lease, US dollars until they did."""
    spent_today: dict[str, Decimal] = field(default_factory=dict)
    """US dollars by pool."""
    provider_reports: list[tuple[str, int, int]] = field(default_factory=list)
    """Provider, lists that ever failed, unknown machines ever slain."""
    strangers: list[tuple[str, int]] = field(default_factory=list)
    """Provider, machines that it lists of another installation of the same name."""
    sweeps: list[tuple[str, str, float]] = field(default_factory=list)
    """Pipeline, kind, and when the last one that came through began."""
    callbacks: list[tuple[str, int, int, int, float, bool, int]] = field(default_factory=list)
    """Pipeline, callbacks told, waiting, given up, age of the oldest that waits, whether its receiver is off, those
    that are nowhere."""
    unaccounted: tuple[int, int] = (0, 0)
    """Events and changes that are not where they should be: must be 0."""


class Metrics:
    """Holds the metrics of one process and the last snapshot of the ledger."""

    def __init__(self, health: LoopHealth | None = None, budgets: Mapping[str, Decimal | None] | None = None) -> None:
        """``budgets``: what each pool may spend in one day, in US dollars; None: no limit."""
        self.budgets = budgets or {}
        self.registry = CollectorRegistry()
        self.snapshot = LedgerSnapshot()
        self._standing_until = 0.0
        self.notification_seconds = Histogram(
            "yurt_notification_seconds",
            "From the body's last byte to the commit of a notification request",
            ["source"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self.refused = Counter(
            "yurt_notifications_refused",
            "Notification requests that were answered 4xx, by source and code of the answer",
            ["source", "error"],
            registry=self.registry,
        )
        self.unreadable = Counter(
            "yurt_notifications_unreadable",
            "Events and whole bodies that this process could not read",
            ["source"],
            registry=self.registry,
        )
        self.connections = Gauge("yurt_connections", "Open connections of this process", registry=self.registry)
        self.connections_refused = Counter(
            "yurt_connections_refused",
            "Connections that were refused or closed to make room, and requests refused as too many, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.leased = Counter("yurt_leases", "Leases given by this process", registry=self.registry)
        self.settled = Counter(
            "yurt_settlements",
            "Settlements by outcome; refused: the lease was lost before",
            ["outcome"],
            registry=self.registry,
        )
        self.service_requests = Counter(
            "yurt_service_requests",
            "Requests to services by outcome: the answer's class, or why there was none",
            ["service", "outcome"],
            registry=self.registry,
        )
        self.service_waiting = Gauge(
            "yurt_service_waiting",
            "Requests to services that wait for a machine at this process",
            ["service"],
            registry=self.registry,
        )
        self.service_in_flight = Gauge(
            "yurt_service_in_flight",
            "Requests to services that are under way at this process",
            ["service"],
            registry=self.registry,
        )
        self.callback_seconds = Histogram(
            "yurt_callback_seconds",
            "From the settling of an object until its app was told",
            ["pipeline"],
            registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 1, 10, 60, 600, 3600, 86_400),
        )
        self.reaped = Counter(
            "yurt_leases_expired", "Leases taken back by this process after their deadline", registry=self.registry
        )
        self.leading = Gauge("yurt_leader", "1 on the replica that runs the autoscaler", registry=self.registry)
        self.failing_loops = Gauge(
            "yurt_failing_loops", "Background loops whose last turn failed", registry=self.registry
        )
        self.failing_loops.set_function(lambda: len(health.failing()) if health else 0)
        self.cold_start_seconds = Histogram(
            "yurt_cold_start_seconds",
            "Steps of a machine's start until its first result, or until its first server is ready",
            ["pool", "phase"],
            registry=self.registry,
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 1200),
        )
        self._cold_starts = ColdStarts(self.cold_start_seconds)
        self.registry.register(_LedgerCollector(self))

    def show_services(self, loads: Mapping[str, Callable[[], ServiceLoad]]) -> None:
        """Have the gauges show the requests of these services, and of no others, whenever they are read."""
        self.service_waiting.clear()
        self.service_in_flight.clear()
        for name, load in loads.items():
            self.service_waiting.labels(name).set_function(partial(_waiting, load))
            self.service_in_flight.labels(name).set_function(partial(_in_flight, load))

    def callback_told(self, pipeline: str, seconds: float) -> None:
        """Note that an app was told, so many seconds after its object was settled."""
        self.callback_seconds.labels(pipeline).observe(seconds)

    async def refresh(self, ledger: Ledger) -> None:
        """Read the ledger's counters again. Raises LedgerUnavailable."""
        now = self.snapshot
        now.totals = [(r["pipeline"] or "", r["name"], r["value"]) for r in await ledger.fetch("totals")]
        now.oldest = _longest((r["pipeline"], r["seconds"]) for r in await ledger.fetch("oldest"))
        now.unavailable = [(r["pipeline"], r["workers"]) for r in await ledger.fetch("unavailable_handlers")]
        now.workers = [(r["pool"], r["state"], r["machines"]) for r in await ledger.fetch("workers_standing")]
        now.fleet = [(r["pool"], r["minted"], r["slain"]) for r in await ledger.fetch("minted_ever")]
        now.pool_reports = [
            (r["pool"], r["breaker"], r["frozen"], r["failed_starts"], bool(r["not_minted"]))
            for r in await ledger.fetch("pool_reports")
        ]
        now.spent_today = {r["pool"]: r["spent_today_usd"] for r in await ledger.fetch("spending_by_pool")}
        now.ahead = [
            (r["pool"], r["cause"], r["present"], r["minted"], r["helped"], r["usd"])
            for r in await ledger.fetch("ahead")
        ]
        now.provider_reports = [
            (r["provider"], r["list_failures"], r["unknown_slain"]) for r in await ledger.fetch("provider_reports")
        ]
        now.strangers = [(r["provider"], r["machines"]) for r in await ledger.fetch("strangers_standing")]
        now.sweeps = [(r["pipeline"], r["kind"], r["moment"]) for r in await ledger.fetch("sweeps_good")]
        await self._cold_starts.refresh(ledger)
        if time.monotonic() >= self._standing_until:
            now.spent = [(r["pool"], r["provider"], r["phase"], r["usd"]) for r in await ledger.fetch("spent_ever")]
            now.standing = [(r["pipeline"], r["state"], r["objects"]) for r in await ledger.fetch("standing")]
            [row] = await ledger.fetch("balance")
            now.unaccounted = (row["events"], row["changes"])
            now.callbacks = [
                (r["pipeline"], r["told"], r["waiting"], r["given_up"], r["oldest_seconds"], r["off"], r["unaccounted"])
                for r in await ledger.fetch("callback_counts")
            ]
            self._standing_until = time.monotonic() + STANDING_SECONDS

    def render(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self.registry)


def _waiting(load: Callable[[], ServiceLoad]) -> float:
    return load().waiting


def _in_flight(load: Callable[[], ServiceLoad]) -> float:
    return load().in_flight


class _LedgerCollector:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Names without values, for the registry's check of duplicates."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Make metrics of the last snapshot."""
        now = self._metrics.snapshot
        yield _counter(
            "yurt_events", "Events by verdict, once a pipeline", ("pipeline", "verdict"), _named(now.totals, EVENTS)
        )
        yield _counter(
            "yurt_changes", "Accepted changes that ended, by how", ("pipeline", "outcome"), _named(now.totals, CHANGES)
        )
        yield _counter(
            "yurt_swept_objects", "What sweeps listed and found", ("pipeline", "result"), _named(now.totals, COUNTED)
        )
        yield _gauge(
            "yurt_sweep_success_timestamp_seconds",
            "When the last sweep that came through began",
            ("pipeline", "kind"),
            now.sweeps,
        )
        yield _gauge("yurt_objects", "Objects by state", ("pipeline", "state"), now.standing)
        yield _gauge(
            "yurt_oldest_due_seconds", "For how long the longest waiting object has been due", ("pipeline",), now.oldest
        )
        yield _gauge(
            "yurt_handler_unavailable_workers",
            "Ready machines on which the pipeline's handler cannot run",
            ("pipeline",),
            now.unavailable,
        )
        yield _gauge("yurt_workers", "Machines that are not gone, by state", ("pool", "state"), now.workers)
        yield _counter(
            "yurt_workers_minted",
            "Machines that a provider accepted",
            ("pool",),
            [(pool, n) for pool, n, _ in now.fleet],
        )
        yield _counter(
            "yurt_workers_slain", "Machines that are gone again", ("pool",), [(pool, n) for pool, _, n in now.fleet]
        )
        yield from _fleet_metrics(now)
        yield from _ahead_metrics(now)
        yield from _money_metrics(now, self._metrics.budgets)
        yield from _callback_metrics(now)
        events, changes = now.unaccounted
        yield _gauge(
            "yurt_unaccounted",
            "Events and changes that are nowhere: must be 0",
            ("unit",),
            [("events", events), ("changes", changes)],
        )


def _fleet_metrics(now: LedgerSnapshot) -> Iterator[Metric]:
    """Make metrics of the reports that the leader's autoscaler writes on pools and providers."""
    pools, providers = now.pool_reports, now.provider_reports
    yield _gauge(
        "yurt_breaker_open",
        "1 while failed starts keep machines from being minted, or all but one",
        ("pool",),
        [(pool, float(breaker != "closed")) for pool, breaker, *_ in pools],
    )
    yield _gauge(
        "yurt_pool_frozen",
        "1 while the provider's list fails or cannot be true, so that nothing is minted",
        ("pool",),
        [(pool, float(frozen)) for pool, _, frozen, *_ in pools],
    )
    yield _counter(
        "yurt_failed_starts",
        "Machines that were not accepted or did not call home in time",
        ("pool",),
        [(pool, failed) for pool, _, _, failed, _ in pools],
    )
    yield _gauge(
        "yurt_pool_not_minted",
        "1 while machines are wanted and cannot be minted",
        ("pool",),
        [(pool, float(waits)) for pool, *_, waits in pools],
    )
    yield _counter(
        "yurt_provider_list_failures",
        "Lists of machines that failed",
        ("provider",),
        [(provider, failures) for provider, failures, _ in providers],
    )
    yield _counter(
        "yurt_unknown_machines_slain",
        "Machines slain that the ledger did not know",
        ("provider",),
        [(provider, slain) for provider, _, slain in providers],
    )
    yield _gauge(
        "yurt_stranger_machines",
        "Machines of another installation of the same name, beside which nothing is minted",
        ("provider",),
        now.strangers,
    )


def _ahead_metrics(now: LedgerSnapshot) -> Iterator[Metric]:
    """Make metrics of machines that were minted before there was work: number, use and cost."""
    labels = ("pool", "reason")
    yield _gauge(
        "yurt_ahead_machines",
        "Machines that were minted ahead of the work and are not gone",
        labels,
        [(pool, reason, present) for pool, reason, present, *_ in now.ahead],
    )
    yield _counter(
        "yurt_ahead_minted",
        "Machines that were minted ahead of the work",
        labels,
        [(pool, reason, minted) for pool, reason, _, minted, *_ in now.ahead],
    )
    yield _counter(
        "yurt_ahead_helped",
        "Machines that were minted ahead of the work and got a lease",
        labels,
        [(pool, reason, helped) for pool, reason, *_, helped, _ in now.ahead],
    )
    yield _counter(
        "yurt_ahead_usd",
        "US dollars that machines minted ahead of the work cost until their first lease",
        labels,
        [(pool, reason, usd) for pool, reason, *_, usd in now.ahead],
    )


def _money_metrics(now: LedgerSnapshot, budgets: Mapping[str, Decimal | None]) -> Iterator[Metric]:
    """Make metrics of what machines cost, and what they may. Floating point, as Prometheus has nothing else."""
    yield _counter(
        "yurt_spent_usd", "US dollars that machines have cost, by phase", ("pool", "provider", "phase"), now.spent
    )
    today = {**dict.fromkeys(filter(None, budgets), Decimal(0)), **now.spent_today}
    yield _gauge("yurt_spent_today_usd", "US dollars spent today (UTC)", ("pool",), [*today.items()])
    yield _gauge(
        "yurt_budget_usd",
        "US dollars that may be spent in one day (UTC); without a pool: by all together",
        ("pool",),
        [(pool, usd) for pool, usd in budgets.items() if usd is not None],
    )


def _callback_metrics(now: LedgerSnapshot) -> Iterator[Metric]:
    """Make metrics of what apps were told, and are still to be told."""
    yield _gauge(
        "yurt_callbacks",
        "Callbacks ever made, by what became of them",
        ("pipeline", "state"),
        [
            (pipeline, state, number)
            for pipeline, told, waiting, given_up, *_ in now.callbacks
            for state, number in (("told", told), ("waiting", waiting), ("given-up", given_up))
        ],
    )
    yield _gauge(
        "yurt_callback_oldest_seconds",
        "For how long the oldest callback has been waiting",
        ("pipeline",),
        [(row[0], row[4]) for row in now.callbacks],
    )
    yield _gauge(
        "yurt_callbacks_off",
        "1 while the receiver has turned its callbacks off",
        ("pipeline",),
        [(row[0], float(row[5])) for row in now.callbacks],
    )
    yield _gauge(
        "yurt_callbacks_unaccounted",
        "Settled objects that are neither told, waiting nor given up: must be 0",
        ("pipeline",),
        [(row[0], row[6]) for row in now.callbacks],
    )


def _longest(rows: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Keep the longest time of each pipeline: one that was moved to another bucket has a row for each bucket."""
    longest: dict[str, float] = {}
    for pipeline, seconds in rows:
        longest[pipeline] = max(seconds, longest.get(pipeline, 0))
    return sorted(longest.items())


def _named(totals: Iterable[tuple[str, str, int]], names: tuple[str, ...]) -> list[tuple[str, str, int]]:
    return [row for row in totals if row[1] in names]


def _counter(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), rows)


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), rows)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: Rows) -> Metric:
    for *labels, value in rows:
        family.add_metric([str(label) for label in labels], float(value))
    return family
