"""One provider's part of the autoscaler: its list compared with the ledger's rows, and its unknown machines slain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog

from webhook.config import Pool
from webhook.fleet.activity import PoolActivity, ProviderActivity, error_fields, logged_failure, reason_of
from webhook.fleet.fleet import Fleet
from webhook.fleet.pool_loop import PoolLoop
from webhook.fleet.providers import Instance, Provider
from webhook.fleet.scaling import Listing, with_silence_heard
from webhook.ledger.machines import Machine

log = structlog.get_logger()

ASK_AGAIN_SECONDS = 10.0
"""A provider that agreed to destroy a machine and still lists it is asked again after so long."""

T = TypeVar("T")


class ProviderLoop:
    """One provider: its list, and the pools that have machines there."""

    def __init__(
        self,
        *,
        name: str,
        provider: Provider,
        activity: ProviderActivity,
        fleet: Fleet,
        pools: Mapping[str, Pool],
        activities: dict[str, PoolActivity],
        url: str,
        call_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self.name = name
        self.provider = provider
        self.fleet = fleet
        self.url = url
        self._activity = activity
        self._activities = activities
        self._call_seconds = call_seconds
        self._pools = {
            pool_name: PoolLoop(pool_name, pool, self, activities[pool_name])
            for pool_name, pool in pools.items()
            if pool.provider == name
        }
        self._asked_at: dict[str, float] = {}
        """When the provider was last asked to destroy a machine, by label."""
        self._listening_since: float | None = None

    async def within(self, call: Awaitable[T]) -> T:
        """Give up a call to ledger or provider after a while. Raises `TimeoutError`."""
        return await asyncio.wait_for(call, self._call_seconds)

    async def turn(self) -> None:
        """Look at everything once, and do what is to be done."""
        with logged_failure("turn failed", provider=self.name):
            # The list before the rows: what the list shows was intended before, so its row is in the snapshot.
            asked = self.clock()
            instances = await self._list()
            machines = await self._machines()
            listing = self._listing(instances, self.clock() - asked)
            mine: dict[str, list[Machine]] = {name: [] for name in self._pools}
            for machine in machines:
                if machine.provider == self.name:
                    mine.setdefault(machine.pool, []).append(machine)
            await asyncio.gather(
                self._slay_unknown(instances or (), {machine.label for machine in machines}),
                *(self._pool(name).turn(rows, listing) for name, rows in mine.items()),
            )

    async def _machines(self) -> list[Machine]:
        """The rows, with no more silence than this autoscaler has been there to hear."""
        try:
            machines = await self.within(self.fleet.machines())
        except Exception:
            # Without rows no call of a worker was seen: silence counts anew from the next answer.
            self._listening_since = None
            raise
        if self._listening_since is None:
            self._listening_since = self.clock()
        listening_seconds = self.clock() - self._listening_since
        return [with_silence_heard(machine, listening_seconds) for machine in machines]

    async def _list(self) -> Sequence[Instance] | None:
        try:
            instances = await self.within(self.provider.list())
        except Exception as error:
            self._activity.list_failures += 1
            self._activity.last_error = reason_of(error)
            log.warning("list failed", provider=self.name, **error_fields(error))
            return None
        # Forget machines that are no longer listed, so that the memory does not grow.
        listed = {instance.label for instance in instances}
        self._asked_at = {label: at for label, at in self._asked_at.items() if label in listed}
        return instances

    def _listing(self, instances: Sequence[Instance] | None, age_seconds: float) -> Listing | None:
        if instances is None:
            return None
        return Listing({i.label: i for i in instances}, age_seconds, self.provider.lag_seconds)

    def _pool(self, name: str) -> PoolLoop:
        """The pool, or for one that is not configured here any more one that only empties."""
        if name not in self._pools:
            activity = self._activities.setdefault(name, PoolActivity())
            self._pools[name] = PoolLoop(name, Pool(provider=self.name, limit=0), self, activity)
        return self._pools[name]

    async def _slay_unknown(self, instances: Iterable[Instance], known: set[str]) -> None:
        unknown = [instance for instance in instances if instance.label not in known]
        await asyncio.gather(*(self._slay_one_unknown(instance) for instance in unknown))

    async def _slay_one_unknown(self, instance: Instance) -> None:
        with logged_failure("slaying an unknown machine failed", label=instance.label, ref=instance.ref):
            if await self.slay(instance):
                self._activity.unknown_slain += 1
                log.warning("unknown machine slain", label=instance.label, ref=instance.ref, provider=self.name)

    async def slay(self, instance: Instance) -> bool:
        """Ask the provider to destroy it, but not again and again. Returns whether it was asked."""
        # Destroying takes a while: a request at each turn would only use up the provider's rate limit.
        asked = self._asked_at.get(instance.label)
        if asked is not None and self.clock() - asked < ASK_AGAIN_SECONDS:
            return False
        await self.within(self.provider.slay(instance))
        self._asked_at[instance.label] = self.clock()
        return True
