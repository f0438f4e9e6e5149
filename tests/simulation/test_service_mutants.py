"""Promises of services hold for a reason: with one guard of a statement removed, the test of its promise fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

import webhook.ledger.ledger
import webhook.ledger.services
from tests.webhook.ledger import service_promises as promises
from webhook.ledger.queries import QUERIES

Promise = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class StatementMutant:
    """One statement without one of its guards, and the promise that no longer holds."""

    statement: str
    guard: str
    instead: str
    promise: Promise


MUTANTS = {
    "requests that wait are no demand": StatementMutant(
        "service_demand",
        "n.waiting + n.in_flight",
        "n.in_flight",
        promises.requests_that_wait_are_demand_and_those_that_left_are_not,
    ),
    "a dead replica's requests are demand for ever": StatementMutant(
        "service_demand",
        "from service_loads as a join replicas as r on r.id = a.replica_id and r.until > (select yurt_now())",
        "from service_loads as a join replicas as r on r.id = a.replica_id",
        promises.requests_that_wait_are_demand_and_those_that_left_are_not,
    ),
    "machines that a service has are not counted": StatementMutant(
        "give_machines",
        "/ n.concurrency) - n.machines)",
        "/ n.concurrency))",
        promises.a_service_gets_as_many_machines_as_its_requests_need,
    ),
    "a machine is taken from another service": StatementMutant(
        "give_machines",
        "and m.used_at <= (select yurt_now()) - make_interval(secs => m.idle_seconds)",
        "",
        promises.a_machine_that_is_idle_for_long_goes_to_another_service_that_needs_one,
    ),
    "a machine has slots for any service": StatementMutant(
        "claim_slots",
        "and m.service = $2",
        "and $2 <> ''",
        promises.no_slot_is_given_to_two_replicas,
    ),
    "a machine that drains is given requests": StatementMutant(
        "claim_slots",
        "and state = 'ready' for share",
        "for share",
        promises.a_machine_that_drains_gets_no_more_requests_and_those_it_has_are_no_demand,
    ),
    "a machine that serves is idle": StatementMutant(
        "machines",
        "l.leased > 0 or m.serving > 0 or",
        "l.leased > 0 or",
        promises.a_machine_that_serves_is_busy_and_idle_since_its_last_request,
    ),
    "slots of a dead replica are lost": StatementMutant(
        "beat",
        "delete from replicas where until <= (select yurt_now()) and id <> $1 returning id",
        "select id from replicas where false",
        promises.slots_of_a_dead_replica_are_free_again,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
async def test_the_promise_fails_without_its_guard(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mutant = MUTANTS[name]
    statement = QUERIES[mutant.statement]
    assert mutant.guard in statement
    mutated = {**QUERIES, mutant.statement: statement.replace(mutant.guard, mutant.instead)}
    for module in (webhook.ledger.ledger, webhook.ledger.services):
        monkeypatch.setattr(module, "QUERIES", mutated)
    with pytest.raises(AssertionError):
        await mutant.promise(postgres_dsn)
