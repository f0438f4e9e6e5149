"""One provider's part of the autoscaler: its list compared with the ledger's rows, and its unknown machines slain."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import structlog

from webhook.fleet.activity import PoolActivity, ProviderActivity, error_fields, logged_failure, reason_of
from webhook.fleet.pool_at_provider import PoolAtProvider
from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.providers import Instance
from webhook.fleet.scaling import Listing, with_silence_heard
from webhook.fleet.strangers import Strangers
from webhook.ledger.machines import Machine
from webhook.pool_settings import Pool

log = structlog.get_logger()

_NO_POOL = Pool(limit=0)
"""Settings of a pool that is not configured any more."""


class ProviderLoop:
    """One provider: its list, and the machines of all pools there."""

    def __init__(
        self,
        calls: ProviderCalls,
        activity: ProviderActivity,
        pools: Mapping[str, Pool],
        activities: dict[str, PoolActivity],
    ) -> None:
        """``activities`` are those of all pools, by name: one is added for a pool that is no longer configured."""
        self._calls = calls
        self._settings = pools
        self._activity = activity
        self._activities = activities
        self._pools = {
            name: PoolAtProvider(name, pool, calls, activities[name])
            for name, pool in pools.items()
            if calls.name in pool.provider_names
        }
        self._strangers = Strangers(calls)
        self._listening_since: float | None = None
        self._empty_since: float | None = None

    async def turn(self) -> None:
        """Look at everything once, and do what is to be done."""
        with logged_failure("turn failed", provider=self._calls.name):
            # The list before the rows: what the list shows was intended before, so its row is in the snapshot.
            asked = self._calls.clock()
            instances = await self._list()
            machines = await self._machines()
            listing = self._listing(instances, self._calls.clock() - asked)
            # Before anything may be ordered: nothing is, beside another installation's machines.
            to_slay = await self._unknown_to_slay(instances, {machine.label for machine in machines})
            mine: dict[str, list[Machine]] = {name: [] for name in self._pools}
            for machine in machines:
                if machine.provider == self._calls.name:
                    mine.setdefault(machine.pool, []).append(machine)
            await asyncio.gather(
                *(self._slay_unknown(instance) for instance in to_slay),
                *(self.machines_of(name).look_after(rows, listing) for name, rows in mine.items()),
            )

    async def _machines(self) -> list[Machine]:
        """The rows, with no more silence than this autoscaler has been there to hear."""
        try:
            machines = await self._calls.within(self._calls.fleet.machines())
        except Exception:
            # Without rows no call of a worker was seen: silence counts anew from the next answer.
            self._listening_since = None
            raise
        if self._listening_since is None:
            self._listening_since = self._calls.clock()
        listening_seconds = self._calls.clock() - self._listening_since
        return [
            with_silence_heard(self._settings.get(machine.pool, _NO_POOL), machine, listening_seconds)
            for machine in machines
        ]

    async def _list(self) -> Sequence[Instance] | None:
        try:
            return await self._calls.list()
        except Exception as error:
            self._activity.list_failures += 1
            self._activity.last_error = reason_of(error)
            log.warning("list failed", provider=self._calls.name, **error_fields(error))
            return None

    def _listing(self, instances: Sequence[Instance] | None, age_seconds: float) -> Listing | None:
        if instances is None or instances:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = self._calls.clock()
        if instances is None:
            return None
        empty_seconds = 0.0 if self._empty_since is None else self._calls.clock() - self._empty_since
        return Listing({i.label: i for i in instances}, age_seconds, self._calls.lag_seconds, empty_seconds)

    def listed(self) -> frozenset[int]:
        """The machines that the provider's last list showed."""
        return frozenset().union(*(pool.listed for pool in self._pools.values()))

    def machines_of(self, name: str) -> PoolAtProvider:
        """A pool's machines here, also of one that is not configured here any more."""
        if name not in self._pools:
            activity = self._activities.setdefault(name, PoolActivity())
            self._pools[name] = PoolAtProvider(name, _NO_POOL, self._calls, activity)
        return self._pools[name]

    async def _unknown_to_slay(
        self, instances: Sequence[Instance] | None, known: Collection[str]
    ) -> Sequence[Instance]:
        if instances is None:
            return ()
        return await self._strangers.unknown_to_slay([one for one in instances if one.label not in known])

    async def _slay_unknown(self, instance: Instance) -> None:
        with logged_failure("slaying an unknown machine failed", label=instance.label, ref=instance.ref):
            if await self._calls.slay(instance):
                self._activity.unknown_slain += 1
                log.warning("unknown machine slain", label=instance.label, ref=instance.ref, provider=self._calls.name)
