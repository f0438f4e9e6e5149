"""The definitions as they hold now, on this replica: the one view that all parts read.

Each change in the ledger is announced by NOTIFY; a slow look covers what no announcement reached. A view is built whole
and put in the place of the earlier one at once, between two steps of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import structlog
from pydantic import ValidationError

from webhook.config import Definitions, ModelSettings, Pipeline
from webhook.config_faults import ConfigError
from webhook.definitions.assembly import Assembly, Fault, InvalidDefinitions, by_owner, sets_of
from webhook.definitions.changes import changes
from webhook.ledger.database import Database
from webhook.ledger.definitions import FILE, DefinitionsNow, LedgerDefinitions, NameTaken, Replacement
from webhook.ledger.ledger import pipeline_id
from webhook.ledger.policy import Policy
from webhook.live import LiveMapping
from webhook.loops import LoopHealth
from webhook.pipelines import NamedPipeline, Pipelines
from webhook.pool_settings import Pool
from webhook.service_settings import Service

log = structlog.get_logger()

LOOK_SECONDS = 5.0
"""Between two looks at the ledger without an announcement."""
WATCH = "definitions"


@dataclass(frozen=True, slots=True)
class LivePools:
    """The pools as they are defined now, and what is derived from their settings."""

    settings: LiveMapping[str, Pool] = field(default_factory=LiveMapping)
    slots: LiveMapping[str, int] = field(default_factory=LiveMapping)
    limits: LiveMapping[str, int] = field(default_factory=LiveMapping)
    budgets: LiveMapping[str, Decimal | None] = field(default_factory=LiveMapping)
    """What each may spend in one day (UTC), in US dollars; None: no limit. Of all together under the name ""."""


class CurrentDefinitions:
    """What is defined now. Begins empty: `start` writes the file's set and reads all.

    Args:
        database: The ledger's.
        assembly: Checks definitions against each other, and against what this replica was started with.

    """

    def __init__(self, database: Database, assembly: Assembly) -> None:
        self._database = database
        self._config = assembly.config
        self.ledger = LedgerDefinitions(database)
        self.assembly = assembly
        self.revision = -1
        """Of the ledger's definitions, that this view shows."""
        self.definitions = Definitions()
        self.left_out: Mapping[str, Sequence[Fault]] = {}
        """Owners whose sets do not hold on this replica, and why."""
        self.pipelines = Pipelines({}, earlier=self._earlier)
        self.pools = LivePools()
        self.models: LiveMapping[str, ModelSettings] = LiveMapping()
        self.services: LiveMapping[str, Service] = LiveMapping()
        self.policies: LiveMapping[int, Policy] = LiveMapping()
        self.on_change: list[Callable[[], None]] = []
        """Called after each change of the view."""
        self._numbers: dict[tuple[str, str], int] = {}
        self._notified = asyncio.Event()
        self._pools_changed = asyncio.Event()
        self._refreshing = asyncio.Lock()

    async def start(self, who: str) -> None:
        """Write the file's set, on behalf of ``who``, and read everything. Raises ConfigError, LedgerUnavailable."""
        mine = sets_of(self._config)
        try:
            written = await self.ledger.replace(
                Replacement(FILE, mine, who), lambda others, before: self.assembly.check(FILE, others, before, mine)
            )
        except NameTaken as taken:
            raise ConfigError(
                f"{taken}. Choose another name in the file, or remove what was deployed: "
                f"yurt definitions remove {taken.owner.removeprefix('deploy:')}"
            ) from None
        except InvalidDefinitions as error:
            lines = "\n".join(f"  {fault}" for fault in error.faults)
            raise ConfigError(f"with what is deployed, this configuration does not hold:\n{lines}") from None
        if (differs := changes(written.before, mine)) and written.version > 1:
            named = ", ".join(f"{each.kind}.{each.name} {each.change}" for each in differs[:20])
            log.info("definitions of the file changed", version=written.version, changes=named)
        await self.refresh()

    def notified(self) -> None:
        """Look soon: something may have changed."""
        self._notified.set()

    async def watch(self, health: LoopHealth) -> None:
        """Follow the ledger's definitions, for ever."""
        while True:
            self._notified.clear()
            with health.turn(WATCH):
                await self.refresh()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._notified.wait()

    async def pools_other_than(self, pools: Mapping[str, Pool]) -> None:
        """Wait until the pools are others than these."""
        while self.pools.settings.now == pools:
            await self._pools_changed.wait()

    async def refresh(self) -> None:
        """Read what is defined where it has changed. Raises LedgerUnavailable."""
        async with self._refreshing:
            if await self.ledger.revision() == self.revision:
                return
            now = await self.ledger.now()
            assembled = self.assembly.assembled(by_owner(now.definitions))
            ids = {each.name: each.id for each in now.definitions if each.kind == "pipelines"}
            numbers = {name: await self._number(name, p) for name, p in assembled.definitions.pipelines.items()}
            # Nothing is waited for from here on: all parts change at once.
            self.left_out = assembled.left_out
            self._put(assembled.definitions, numbers, ids)
            self.revision = now.revision
        self._note(now)
        for changed in self.on_change:
            changed()

    def _put(self, definitions: Definitions, numbers: Mapping[str, int], ids: Mapping[str, int]) -> None:
        self.definitions = definitions
        self.pipelines.replace(
            {numbers[name]: (name, pipeline) for name, pipeline in definitions.pipelines.items()},
            {numbers[name]: ids[name] for name in definitions.pipelines},
        )
        self.policies.replace({number: policy_of(definitions, name) for name, number in numbers.items()})
        self.models.replace(definitions.models)
        self.services.replace(definitions.services)
        pools = definitions.pools
        self.pools.settings.replace(pools)
        self.pools.slots.replace({name: pool.slots for name, pool in pools.items()})
        self.pools.limits.replace({name: pool.limit for name, pool in pools.items()})
        budgets = {name: pool.budget_usd_per_day for name, pool in pools.items()}
        self.pools.budgets.replace({"": self._config.server.budget_usd_per_day, **budgets})
        self._pools_changed.set()
        self._pools_changed = asyncio.Event()

    def _note(self, now: DefinitionsNow) -> None:
        log.info("definitions", revision=now.revision, number=len(now.definitions))
        for owner, faults in self.left_out.items():
            log.error("definitions left out", owner=owner, faults="; ".join(map(str, faults)))
        if self.file_differs(now):
            log.warning("another file holds", hint="a replica was started later with another yurt.toml: restart this")

    def file_differs(self, now: DefinitionsNow) -> bool:
        """Whether this replica was started with another file than the one whose definitions hold."""
        return by_owner(now.definitions).get(FILE, {}) != sets_of(self._config)

    async def _number(self, name: str, pipeline: Pipeline) -> int:
        """The ledger's number of a pipeline on its bucket."""
        place = name, pipeline.input.bucket
        if place not in self._numbers:
            self._numbers[place] = await pipeline_id(self._database, *place)
        return self._numbers[place]

    async def _earlier(self, definition: int) -> NamedPipeline | None:
        """Find a pipeline by the number of its definition, also one that holds no more."""
        found = await self.ledger.one(definition)
        if found is None:
            return None
        name, body = found
        try:
            return name, Pipeline.model_validate(body)
        except ValidationError:  # of another Yurt
            return None


def policy_of(definitions: Definitions, name: str) -> Policy:
    """How a pipeline's objects are retried, as the ledger needs it."""
    pipeline = definitions.pipelines[name]
    return Policy(
        attempts=pipeline.attempts,
        store_attempts=pipeline.store_attempts,
        absent_checks=pipeline.absent_checks,
        backoff_seconds=pipeline.backoff_seconds,
        backoff_limit_seconds=pipeline.backoff_limit_seconds,
        replica_lag_seconds=pipeline.replica_lag_seconds,
        restores=pipeline.restore_days > 0,
        lease_limit_seconds=pipeline.longest_lease_seconds,
        second_opinion=not definitions.is_trusted(pipeline.pool),
    )
