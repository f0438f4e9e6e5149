"""Random changes of definitions by several owners over several replicas, compared with a model after each step.

What is promised: a set is replaced whole or not at all, names are unique, every replica comes to show the same, and a
lease keeps the version that it was given. Each guard is taken out once to see that the model notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests import postgres
from tests.webhook.plane import configured, pipeline
from webhook.app import prepare
from webhook.config import Pipeline
from webhook.definitions.assembly import Assembly, InvalidDefinitions, parsed
from webhook.definitions.current import CurrentDefinitions
from webhook.ledger import definitions
from webhook.ledger.database import Database
from webhook.ledger.definitions import (
    FILE,
    LedgerDefinitions,
    NameTaken,
    Replacement,
    Sets,
    VersionConflict,
)
from webhook.ledger.ledger import LiveLease
from webhook.ledger.queries import QUERIES
from webhook.pipelines import Pipelines
from workers.handlers.registry import options_model

OWNERS = ("deploy:a", "deploy:b", "deploy:c")
NAMES = ("one", "two", "three", "four")
REPLICAS = 3
STEPS = 40
SEEDS = range(3)
MUTANT_SEEDS = range(6)
"""Each mutant has to be noticed in one of these."""


class ModelViolation(AssertionError):
    """The code did what the model does not allow."""


@dataclass
class DefinitionModel:
    """What has to hold: the sets of all owners, their earlier versions, and what each lease was given."""

    planes: list[CurrentDefinitions]
    draw: random.Random
    sets: dict[str, Sets] = field(default_factory=dict)
    versions: dict[str, list[Sets]] = field(default_factory=lambda: {owner: [] for owner in OWNERS})
    leases: list[tuple[LiveLease, str, Pipeline]] = field(default_factory=list)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def step(self) -> None:
        """Do one thing at one replica, and look at everything."""
        plane = self.draw.choice(self.planes)
        await self.draw.choice([self.replace, self.replace, self.roll_back, self.look, self.lease])(plane)
        await self.check()

    async def replace(self, plane: CurrentDefinitions) -> None:
        owner = self.draw.choice(OWNERS)
        names = self.draw.sample(NAMES, self.draw.randint(0, 2))
        tables: dict[str, Any] = {
            "pipelines": {name: self._pipeline(name) for name in names},
            "pools": {name: {"provider": "none"} for name in NAMES if self.draw.random() < 0.1},
        }
        await self._put(
            plane, owner, parsed(tables), self.draw.choice([None, None, None, len(self.versions[owner]), 99])
        )

    async def roll_back(self, plane: CurrentDefinitions) -> None:
        owner = self.draw.choice(OWNERS)
        if earlier := self.versions[owner]:
            number = self.draw.randint(1, len(earlier))
            restored = await plane.ledger.at(owner, number)
            require(restored == earlier[number - 1], f"version {number} of {owner} is {restored}")
            await self._put(plane, owner, earlier[number - 1], None)

    async def look(self, plane: CurrentDefinitions) -> None:
        await plane.refresh()

    async def lease(self, plane: CurrentDefinitions) -> None:
        """Note what a lease would be given that this replica hands out now."""
        for number, named in plane.pipelines.by_id.items():
            lease = LiveLease(1, 1, number, "a.jpg", {}, 0, 60, plane.pipelines.definitions[number])
            self.leases.append((lease, *named))

    def _pipeline(self, name: str) -> dict[str, Any]:
        pool = self.draw.choice(["local"] * 8 + [*NAMES])
        return pipeline(f"{name}-in", f"{name}-out", pool=pool, attempts=self.draw.randint(1, 3))

    async def _put(self, plane: CurrentDefinitions, owner: str, sets: Sets, expected: int | None) -> None:
        order = Replacement(owner, sets, "a test", expected_version=expected)
        try:
            replaced = await plane.ledger.replace(
                order, lambda others, before: plane.assembly.check(owner, others, before, sets)
            )
        except (NameTaken, InvalidDefinitions, VersionConflict):
            require(not self._allowed(owner, sets, expected), f"{sets} of {owner} was refused")
            return
        require(self._allowed(owner, sets, expected), f"{sets} of {owner} was accepted")
        require(replaced.before == self.sets.get(owner, {}), f"before it was {replaced.before}")
        if sets != self.sets.get(owner, {}):
            self.sets[owner] = sets
            self.versions[owner].append(sets)
        require(replaced.version == len(self.versions[owner]), f"{owner} is at version {replaced.version}")

    def _allowed(self, owner: str, sets: Sets, expected: int | None) -> bool:
        others = {place for other, one in self.sets.items() if other != owner for place in one}
        if expected not in (None, len(self.versions[owner])) or others & set(sets):
            return False
        after = {**self.sets, owner: sets}
        pools = {"local", *(name for one in after.values() for kind, name in one if kind == "pools")}
        return all(
            body.get("pool", "local") in pools
            for one in after.values()
            for (kind, _), body in one.items()
            if kind == "pipelines"
        )

    # ── what holds after each step ───────────────────────────────────────────────────────────────────────────────────

    async def check(self) -> None:
        now = await self.planes[0].ledger.now()
        held: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
        for each in now.definitions:
            held.setdefault(each.owner, {})[each.kind, each.name] = each.body
        held.pop(FILE, None)
        require(held == {owner: one for owner, one in self.sets.items() if one}, f"the ledger holds {held}")
        for lease, name, given in self.leases:
            for plane in self.planes:
                found = await plane.pipelines.of_lease(lease)
                require(found == (name, given), f"a lease of {name} was given {given}, and has {found}")

    async def end(self) -> None:
        """Every replica comes to show the same."""
        await asyncio.gather(*(plane.refresh() for plane in self.planes))
        defined = {
            name: body for one in self.sets.values() for (kind, name), body in one.items() if kind == "pipelines"
        }
        for plane in self.planes:
            shown = dict(plane.pipelines.by_id.values())
            expected = {name: Pipeline.model_validate(body) for name, body in defined.items()}
            require(shown == {"photos": shown.get("photos"), **expected}, f"a replica shows {shown}")
            require(not plane.left_out, f"left out: {plane.left_out}")
            pools = {name for one in self.sets.values() for kind, name in one if kind == "pools"}
            require(set(plane.pools.settings) == {"local", *pools}, f"a replica has pools {set(plane.pools.settings)}")


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ModelViolation(message)


@contextlib.asynccontextmanager
async def replicas(postgres_dsn: str) -> AsyncIterator[list[CurrentDefinitions]]:
    async with postgres.database(postgres_dsn) as (_, dsn), contextlib.AsyncExitStack() as stack:
        await prepare(dsn)
        planes = []
        for _ in range(REPLICAS):
            database = await Database.connect(dsn, connections=2)
            stack.push_async_callback(database.aclose)
            planes.append(CurrentDefinitions(database, Assembly(configured(), options_model)))
        for plane in planes:
            await plane.start("a test")
        yield planes


async def run(postgres_dsn: str, seed: int) -> DefinitionModel:
    async with replicas(postgres_dsn) as planes:
        model = DefinitionModel(planes, random.Random(seed))
        for _ in range(STEPS):
            await model.step()
        await model.end()
        return model


@pytest.mark.parametrize("seed", SEEDS)
async def test_sets_versions_views_and_leases_are_those_of_the_model(postgres_dsn: str, seed: int) -> None:
    model = await run(postgres_dsn, seed)
    assert sum(map(len, model.versions.values())) >= 5, "most steps were refused"
    assert model.leases


# ── negative models: a guard is taken out, and the model notices ─────────────────────────────────────────────────────


def _with_statement(patch: pytest.MonkeyPatch, name: str, sql: str) -> None:
    assert sql != QUERIES[name]
    patch.setattr(definitions, "QUERIES", {**QUERIES, name: sql})


def _without_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assembly, "check", lambda *_: None)


def _without_keeping_versions(patch: pytest.MonkeyPatch) -> None:
    async def present(self: Pipelines, lease: LiveLease) -> Any:
        return self.by_id.get(lease.pipeline_id)

    patch.setattr(Pipelines, "of_lease", present)


def _without_refresh(patch: pytest.MonkeyPatch) -> None:
    async def current(self: LedgerDefinitions) -> int:
        return 1

    patch.setattr(LedgerDefinitions, "revision", current)


def _written_in_part(patch: pytest.MonkeyPatch) -> None:
    sql = QUERIES["add_definitions"] + " limit 1"
    _with_statement(patch, "add_definitions", sql)


def _removed_in_part(patch: pytest.MonkeyPatch) -> None:
    sql = QUERIES["end_definitions"].replace("any ($2::bigint[])", "($2::bigint[])[1]")
    _with_statement(patch, "end_definitions", sql)


def _history_of_the_present(patch: pytest.MonkeyPatch) -> None:
    sql = QUERIES["definitions_at"].replace("coalesce(d.until > c.revision, true)", "d.until is null")
    _with_statement(patch, "definitions_at", sql)


def _without_expected_version(patch: pytest.MonkeyPatch) -> None:
    original = LedgerDefinitions.replace

    async def replace(self: LedgerDefinitions, order: Replacement, check: Any) -> Any:
        return await original(self, Replacement(order.owner, order.definitions, order.changed_by), check)

    patch.setattr(LedgerDefinitions, "replace", replace)


MUTANTS = [
    _without_check,
    _without_keeping_versions,
    _without_refresh,
    _written_in_part,
    _removed_in_part,
    _history_of_the_present,
    _without_expected_version,
]


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_each_guard_that_is_taken_out_is_noticed(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mutant(monkeypatch)
    for seed in MUTANT_SEEDS:
        try:
            await run(postgres_dsn, seed)
        except Exception:
            return
    pytest.fail("nothing was noticed")
