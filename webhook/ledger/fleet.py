"""Stores machines and workers' tokens in the ledger, for the autoscaler and for authentication.

Tokens are random and stored only as SHA-256, so that a reader of the database cannot call in a worker's name.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from webhook.ledger.arrivals import ArrivalHistory, arrival_history
from webhook.ledger.callers import Caller, pauses
from webhook.ledger.costs import FREE, UNLIMITED, accrue, affords, reprice, spend_once, spending_today
from webhook.ledger.distrust import rework
from webhook.ledger.installation import InstallationLedger
from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import (
    ENDED_NOW,
    Budget,
    Cause,
    Demand,
    HandlingReport,
    Intent,
    LastSigns,
    Machine,
    MachineState,
    NotIntended,
    PoolReport,
    ProviderReport,
    SpendingToday,
    Terms,
    Wish,
    Woken,
    machine_of,
    new_label,
)
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    import asyncpg

    from webhook.ledger.database import Connection


PAUSE_SECONDS = 30.0
"""Until a handler that could not run on a worker is tried there again; doubles with each attempt that fails."""
PAUSE_LIMIT_SECONDS = 300.0
"""Longest time between two such attempts."""
LOADING_SECONDS = 3600
"""For so long after it was ready a worker that reports that it fetches or loads models is not taken for idle."""


OPERATOR = "operator"
"""Reason for which a machine is drained or slain that a person wants to be rid of."""
_INTERRUPTIONS = frozenset({"drain-deadline", OPERATOR})
"""Reasons for which a machine is slain that may be in the midst of its work, and well."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A process that calls home."""

    once: str
    instance: str
    token_hash: bytes
    return_hash: bytes | None

    @property
    def of_invitation(self) -> str:
        """What takes the place of the one-time token where several workers have the same: one for each process."""
        return f"{self.once}:{self.instance}"


@dataclass(frozen=True, slots=True)
class RegisteredWorker:
    """A worker that exchanged its one-time token: its machine, slots and the token for all further calls."""

    id: int
    pool: str
    provider: str
    slots: int
    label: str
    token: str
    credential: str
    """With which a later process of the worker comes back. Empty where it asked for none."""


class PoolFull(Exception):
    """The pool has as many machines as its limit allows."""


class LedgerFleet(InstallationLedger):
    """Implements ``webhook.fleet.fleet.Fleet`` on the ledger, and authenticates workers.

    Every method raises LedgerUnavailable while the database does not answer.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        owner: str,
        pipelines: Callable[[str], Sequence[int]],
        slots: Mapping[str, int],
        limits: Mapping[str, int],
        services: Callable[[str], Mapping[str, int]] = lambda _: {},
    ) -> None:
        """``pipelines`` gives the numbers of a pool's pipelines for which leases are handed out now.

        ``slots`` and ``limits`` are settings of pools: objects that a machine handles at once, and machines at most.
        ``services`` gives the services of a pool, and the requests that one machine works on at once.
        """
        super().__init__(ledger)
        self._database = ledger.database
        self._owner = owner
        self._pipelines = pipelines
        self._slots = slots
        self._limits = limits
        self._services = services

    # ── for the autoscaler ───────────────────────────────────────────────────────────────────────────────────────────

    async def demand(self, pool: str, most: int) -> Demand:
        """Count the pool's pending and leased objects, and machines that its services need.

        ``pending`` only up to ``most`` for each pipeline.
        """
        # A machine more would change nothing for a handler that can run on none.
        stuck = {row["pipeline_id"] for row in await self._ledger.fetch("unavailable_everywhere", pool)}
        [row] = await self._ledger.fetch("demand", [n for n in self._pipelines(pool) if n not in stuck], most)
        return Demand(min(most, row["pending"]), row["leased"], await self._for_services(pool))

    async def _for_services(self, pool: str) -> int:
        services = self._services(pool)
        if not services:
            return 0
        [row] = await self._ledger.fetch("service_demand", [*services], [*services.values()])
        return int(row["machines"])

    async def machines(self) -> Sequence[Machine]:
        """Return every machine that is not gone."""
        rows = await self._ledger.fetch("machines")
        return [machine_of(row) for row in rows]

    async def intend(
        self,
        pool: str,
        provider: str,
        limit: int,
        terms: Terms = FREE,
        budget: Budget = UNLIMITED,
        cause: Cause = Cause.DEMAND,
    ) -> Intent | NotIntended:
        """Write the intent to mint one machine, unless the pool is full or the day's budget could be exceeded."""
        label = await self._new_label(pool)
        token = secrets.token_urlsafe(32)

        async def write(connection: Connection) -> int | NotIntended:
            if not await affords(connection, pool, terms, budget):
                return NotIntended.BUDGET
            # Without the lock two replicas could count the same machines and both mint the last one of the limit.
            await connection.execute(QUERIES["lock_pool"], pool)
            id: int | None = await connection.fetchval(
                QUERIES["intend"], pool, provider, label, self._slots.get(pool, 1), _hash(token), limit,
                storable(terms.offer), storable(terms.machine), storable(terms.host),
                terms.usd_per_hour, terms.usd_once, terms.reserve_seconds, cause,
            )  # fmt: skip
            return NotIntended.LIMIT if id is None else id

        id = await self._database.transact(write)
        return id if isinstance(id, NotIntended) else Intent(id=id, label=label, token=token)

    async def wake(self, pool: str, machines: int, seconds: float) -> Woken:
        """Wish for so many machines, for so long. Says what has become of the wishes for the pool."""
        await self._execute("wake", pool, machines, seconds)
        [row] = await self._ledger.fetch("woken", pool)
        return Woken(**row)

    async def wished(self, pool: str) -> Wish:
        """How many machines of a pool are wished for now."""
        [row] = await self._ledger.fetch("wished", pool)
        return Wish(**row)

    async def arrivals(self, pool: str) -> ArrivalHistory:
        """When something arrived for a pool in the last weeks, and how long its machines take to boot."""
        return await arrival_history(self._ledger, pool, self._pipelines(pool), self._services(pool))

    async def _new_label(self, pool: str) -> str:
        return new_label(self._owner, pool, await self.installation())

    async def spending_today(self, pool: str) -> SpendingToday:
        """What was spent today (UTC) up to now, and what machines can still cost: of a pool, and of all."""
        return await self._database.transact(partial(spending_today, pool=pool))

    async def reprice(self, id: int, usd_per_hour: Decimal) -> bool:
        """Note that a machine costs something else from now on."""
        return await self._database.transact(partial(reprice, id=id, usd_per_hour=usd_per_hour))

    async def accrue(self, ids: Collection[int] | None = None) -> None:
        """Add what machines (None: all) have cost to what was spent, and begin a day's count of results."""
        await self._database.transact(partial(accrue, ids=None if ids is None else [*ids]))
        await self._execute("begin_day")

    async def avoid(self, machine: Machine, reason: str, seconds: float) -> None:
        """Rent a physical machine, whose name has to be known, no more for so long."""
        await self._execute("avoid", machine.provider, storable(machine.machine), machine.host, reason, seconds)

    async def avoided(self, provider: str) -> frozenset[str]:
        """Physical machines of a provider that are not to be rented now."""
        return frozenset(row["machine"] for row in await self._ledger.fetch("avoided", provider))

    async def minted(self, id: int, ref: str) -> bool:
        """Record the provider's name for the machine, which has accepted it."""

        async def write(connection: Connection) -> bool:
            row = await connection.fetchrow(QUERIES["minted"], id, storable(ref))
            if row is not None and row["first"]:
                await spend_once(connection, row["pool"], row["provider"], row["usd_once"])
            return row is not None

        return await self._database.transact(write)

    async def drain(self, id: int, reason: str) -> bool:
        """Mark a ready machine as draining: it gets no more leases."""
        return await self._change("drain", id, reason, "")

    async def suspect(self, id: int, why: str) -> bool:
        """Mark a ready worker as draining, since it fails where others do not. ``why`` is for people."""
        return await self._change("drain", id, "errors", storable(why))

    async def track_records(self) -> list[asyncpg.Record]:
        """How the latest leases of ready workers ended, by pipeline."""
        return await self._ledger.fetch("track_records")

    async def slaying(self, id: int, reason: str, seen: MachineState) -> bool:
        """Revoke the machine's tokens and take its leases back: what may have ended it is suspected of that."""
        return await self._end("slaying", id, reason, str(seen), interrupted=reason in _INTERRUPTIONS)

    async def gone(self, id: int, signs: LastSigns = ENDED_NOW) -> bool:
        """Mark a machine as gone, so that it no longer counts against the pool's limit."""
        # A claim that was under way when the tokens were revoked may have committed a lease after that.
        return await self._end("gone", id, signs=signs)

    async def _end(
        self, query: str, id: int, *arguments: object, interrupted: bool = False, signs: LastSigns | None = None
    ) -> bool:
        async def write(connection: Connection) -> bool:
            if signs is not None:
                await accrue(connection, [id], signs)  # the last time: it costs nothing from now on
            row = await connection.fetchrow(QUERIES[query], id, *arguments)
            if row is not None:
                await self._ledger.take_back(connection, id, interrupted=interrupted)
                if row.get("reason") == "distrusted":  # nor may a settlement that was under way stand
                    await rework(connection, id)
            return row is not None

        return await self._database.transact(write)

    async def _change(self, query: str, *arguments: object) -> bool:
        async with self._database.connection() as connection:
            return await connection.fetchval(QUERIES[query], *arguments) is not None

    async def report(self, pools: Mapping[str, PoolReport], providers: Mapping[str, ProviderReport]) -> None:
        """Record reports about minting: states replace the earlier ones, counts are added to them."""

        async def write(connection: Connection) -> None:
            await connection.execute(QUERIES["report_pools"], *_columns(pools, PoolReport))
            await connection.execute(QUERIES["report_providers"], *_columns(providers, ProviderReport))

        await self._database.transact(write)

    # ── for the workers ──────────────────────────────────────────────────────────────────────────────────────────────

    async def invite(self, pool: str, provider: str, uses: int | None, valid_seconds: float | None) -> str:
        """Write an invitation for several workers; return its token.

        ``uses`` is the number of workers that may join, and ``valid_seconds`` how long they may; None: without end.
        """
        token = secrets.token_urlsafe(32)
        await self._execute("invite", pool, provider, _hash(token), uses, valid_seconds)
        return token

    async def prune_invitations(self) -> None:
        """Delete the invitations that were used up or have expired."""
        await self._execute("prune_invitations")

    async def may_call_home(self, once: str) -> bool:
        """Whether a token is a one-time token, an invitation or a credential that is known: `hello` decides the rest.

        An invitation that was used up is known for a while longer: a worker whose answer was lost calls again.
        """
        [row] = await self._ledger.fetch("may_call_home", _hash(once))
        return bool(row["known"])

    async def hello(
        self,
        once: str,
        instance: str,
        *,
        returns: bool = False,
        unjailed: str = "",
        serves: bool = False,
        process_seconds: float | None = None,
    ) -> RegisteredWorker | None:
        """Exchange a machine's one-time token, an invitation or a worker's credential for a token of further calls.

        A process with a worker's credential takes the worker over: the token of the process before is worth nothing
        from then on, and its leases are taken back as those of a lost worker. ``returns`` asks for such a credential.
        ``unjailed`` is why the worker's machine cannot jail handlers, ``serves`` whether it runs servers of services;
        its process has run for ``process_seconds``.

        None: unknown, used by another process, or revoked. Raises PoolFull.
        """
        token, credential = secrets.token_urlsafe(32), secrets.token_urlsafe(32) if returns else ""
        caller = _Arrival(once, instance, _hash(token), _hash(credential) if returns else None)

        async def write(connection: Connection) -> tuple[asyncpg.Record | None, bool]:
            row, came_back = await self._arrive(connection, caller)
            if row is not None:
                said = (storable(unjailed), serves, process_seconds)
                await connection.execute(QUERIES["report_process"], row["id"], *said)
            return row, came_back

        row, came_back = await self._database.transact(write)
        if row is None:
            return None
        kept = once if came_back else credential
        return RegisteredWorker(row["id"], row["pool"], row["provider"], row["slots"], row["label"], token, kept)

    async def _arrive(self, connection: Connection, arrival: _Arrival) -> tuple[asyncpg.Record | None, bool]:
        """Find or make the arrival's worker; return it, and whether it came back by its credential. Raises PoolFull."""
        for known in (arrival.once, arrival.of_invitation):
            row = await connection.fetchrow(
                QUERIES["hello"], _hash(known), arrival.instance, arrival.token_hash, arrival.return_hash
            )
            if row is not None:
                return row, False
        row = await connection.fetchrow(QUERIES["come_back"], _hash(arrival.once), arrival.instance, arrival.token_hash)
        if row is None:
            return await self._join(connection, arrival), False
        if row["restarted"]:
            await self._ledger.take_back(connection, row["id"])  # charged by what the process before reported
            await connection.execute(QUERIES["new_life"], row["id"])
        return row, True

    async def _join(self, connection: Connection, arrival: _Arrival) -> asyncpg.Record | None:
        """Let a worker join by an invitation. Raises PoolFull."""
        invitation = await connection.fetchrow(QUERIES["invitation"], _hash(arrival.once))
        if invitation is None:
            return None
        pool, limit = invitation["pool"], self._limits.get(invitation["pool"], 0)
        label = new_label(self._owner, pool, await connection.fetchval(QUERIES["installation"]))
        await connection.execute(QUERIES["lock_pool"], pool)
        row = await connection.fetchrow(
            QUERIES["join"], pool, invitation["provider"], label, self._slots.get(pool, 1),
            _hash(arrival.of_invitation), invitation["id"], arrival.instance, arrival.token_hash,
            arrival.return_hash, limit,
        )  # fmt: skip
        if row is None:
            raise PoolFull(f"the pool has {limit} machines, its limit, those that boot included")
        return row

    async def authenticate(self, token: str) -> Caller | None:
        """Find the worker that a token belongs to. None: unknown or revoked."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(QUERIES["authenticate"], _hash(token))
        if row is None:
            return None
        paused, trying = pauses(row["unavailable"], row["moment"])
        return Caller(
            row["id"], row["pool"], row["label"], row["state"] == "draining", paused, trying, row["usd_per_hour"],
            row["service"] or "", row["kept"], row["asked"],
        )  # fmt: skip

    async def handler_unavailable(self, id: int, pipeline_id: int, message: str) -> None:
        """Note that a pipeline's handler cannot run on a worker: it gets none of its objects for a while.

        For `PAUSE_SECONDS`, doubled with each further attempt that fails, up to `PAUSE_LIMIT_SECONDS`.
        """
        await self._execute(
            "handler_unavailable", id, str(pipeline_id), storable(message), PAUSE_SECONDS, PAUSE_LIMIT_SECONDS
        )

    async def handler_available(self, id: int, pipeline_id: int) -> None:
        """Note that a pipeline's handler has run on a worker."""
        await self._execute("handler_available", id, str(pipeline_id))

    async def handlers_changed(self, id: int) -> None:
        """Note that a worker's handlers are others than before: all of them are tried again."""
        await self._execute("handlers_changed", id)

    async def asked(self, id: int) -> None:
        """Note that a worker asks for work for the first time: its models are there."""
        await self._execute("asked", id)

    async def active(self, id: int, handling: HandlingReport | None, *, result: bool = False) -> None:
        """Note that the worker got or settled a lease just now, with a ``result``, and what is in its handler.

        Idle time is counted from here. None: the worker does not report what is in its handler.
        """
        report = handling or HandlingReport(None, [], alone=False)
        await self._execute("active", id, report.tokens, report.alone, report.number, result)

    async def loaded(self, id: int, seconds: float) -> None:
        """Note for how long a worker has loaded models into memory: up to its first result."""
        await self._execute("loaded", id, seconds)

    async def progress(self, id: int, report: Mapping[str, object]) -> None:
        """Note what a worker fetches or loads before it can take work. Idle time is counted from here."""
        await self._execute("progress", id, json.dumps(report), LOADING_SECONDS)

    async def report_handling(self, id: int, handling: HandlingReport) -> None:
        """Note what is in the worker's handler. An older report than the last one changes nothing."""
        await self._execute("report_handling", id, handling.tokens, handling.alone, handling.number)

    async def _execute(self, query: str, *arguments: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(QUERIES[query], *arguments)


def _columns(reports: Mapping[str, PoolReport] | Mapping[str, ProviderReport], kind: type) -> list[list[object]]:
    """Turn reports into columns: names of pools or providers, and then each field of the reports."""
    rows = [(storable(name), *map(_storable, astuple(report))) for name, report in reports.items()]
    return [[row[position] for row in rows] for position in range(1 + len(fields(kind)))]


def _storable(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
