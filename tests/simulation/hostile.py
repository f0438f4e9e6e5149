"""A hostile worker: it knows the whole ledger, and sends everything that the protocol allows at the worst moment.

It hoards and renews, gives back and fails what is good, settles with the tokens of others' leases, repeats settlements,
publishes garbage under the names of its leases, and says that it did what it did not. What it can never do is forge a
presigned URL or another worker's token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulation.plane import Answer
from tests.simulation.process import SimulatedProcess
from tests.simulation.rows import Object
from tests.simulation.store_clients import SimulatedBuckets
from tests.simulation.worker import MOST_LIVES
from workers.protocol import MANIFEST

HOSTILE = MOST_LIVES + 1
"""Its number as a worker."""
_PAUSE_SECONDS = (0.2, 5.0)
_PREFERRED = {"hoard": "_renew", "release": "_release", "fail": "_fail", "lie": "_publish"}
"""What each strategy but the mixed one does three times out of four."""
_ACTIONS = (
    "_renew", "_release", "_fail", "_publish", "_claim_done", "_say_absent",
    "_meddle", "_meddle", "_repeat", "_misreport",
)  # fmt: skip


class Revoked(Exception):
    """Its token is worth nothing any more."""


class HostileWorker:
    """One worker's token in the hands of an adversary."""

    def __init__(self, process: SimulatedProcess, buckets: SimulatedBuckets) -> None:
        self._process = process
        self._buckets = buckets
        self._sent: list[tuple[str, dict[str, Any]]] = []

    async def act(self) -> None:
        """Take what can be had, and do one thing. Raises Revoked."""
        draws, strategy = self._process.world.draws, self._process.world.settings.hostile
        await self._call("leases", {"max": 64, "wait": 0})
        name = draws.choice("hostile/action", _ACTIONS)
        if draws.chance("hostile/strategy", 0.75):
            name = _PREFERRED.get(strategy, name)
        action: Callable[[], Awaitable[None]] = getattr(self, name)
        self._process.world.counts["hostile acts"] += 1
        await action()

    # ── with its own leases ─────────────────────────────────────────────────────────────────────────────────────────

    async def _renew(self) -> None:
        for row in self._own():
            await self._call(f"leases/{row.id}/heartbeat", {"token": row.token})

    async def _release(self) -> None:
        for row in self._own():
            await self._settle(row, "fail", {"outcome": "released"})

    async def _fail(self) -> None:
        for row in self._own():
            draws = self._process.world.draws
            reason = draws.choice("hostile/reason", ("unreadable", "store", "lost", "replica-behind", "archived"))
            retry = draws.chance("hostile/retry", 0.5)
            await self._settle(
                row, "fail", {"outcome": "failed", "reason": reason, "message": "No space left", "retry": retry}
            )

    async def _say_absent(self) -> None:
        for row in self._own():
            await self._settle(row, "fail", {"outcome": "absent"})

    async def _claim_done(self) -> None:
        """Say that the work is done, or was done before, and publish nothing."""
        for row in self._own():
            etag = self._process.world.draws.choice("hostile/etag", ("A", "B", "C", "no such"))
            outcome = self._process.world.draws.choice("hostile/outcome", ("done", "unchanged"))
            await self._settle(
                row, "complete", {"outcome": outcome, "fetched": {"etag": etag}, "outputs": _outputs({})}
            )

    async def _publish(self) -> None:
        """Publish garbage, and settle it with the ETag that the events named."""
        for row in self._own():
            etag = row.event_etag or "A"
            etags = await self._put(row, etag, ("small.webp", "large.webp", "other.webp", MANIFEST))
            if self._process.world.draws.chance("hostile/settles", 0.7):
                await self._settle(
                    row, "complete", {"outcome": "done", "fetched": {"etag": etag}, "outputs": _outputs(etags)}
                )

    async def _put(self, row: Object, etag: str, names: tuple[str, ...]) -> dict[str, str]:
        conflict = self._process.world.draws.chance("hostile/conflict", 0.5)
        wanted = [{"name": n, "size": 1, "content_type": "image/webp", "conflict": conflict} for n in names]
        answer = await self._call(f"leases/{row.id}/outputs", {"token": row.token, "etag": etag, "outputs": wanted})
        if answer[0] != 200:
            return {}
        etags: dict[str, str] = {}
        for upload in json.loads(answer[2])["uploads"]:
            if stored := await self._upload(upload):
                etags[upload["name"]] = stored
        return etags

    async def _upload(self, upload: dict[str, Any]) -> str:
        """PUT garbage to a presigned URL, with the headers that it signs."""
        method, expires, _, key = upload["url"].split(" ", 3)
        world, output = self._process.world, self._buckets.output
        world.invariants.hostile_writes(HOSTILE, key.rpartition("/")[0])
        body = json.dumps({"outputs": []}).encode() if key.endswith(MANIFEST) else b"hostile"

        def effect() -> str:
            if method != "PUT" or world.now > float(expires):
                return ""
            stored = output.put(key, body, {name.lower(): value for name, value in upload["headers"].items()}, None)
            return stored.etag if stored else ""

        return await self._process.send(effect, self._process.transit())

    # ── with others' ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _meddle(self) -> None:
        """Use the lease of another worker, or of the control plane, in every way there is."""
        world = self._process.world
        others = [r for r in world.tables.objects.values() if r.state == "leased" and r.worker_id != HOSTILE]
        for row in others[:2]:
            lease = {"id": row.id, "token": row.token}
            named = [{"name": "small.webp", "size": 1, "content_type": "image/webp"}]
            done = {"outcome": "done", "fetched": {"etag": row.event_etag or "A"}, "outputs": _outputs({}), **lease}
            failed = {"outcome": "failed", "reason": "unreadable", "message": "", "retry": False, **lease}
            path = f"leases/{row.id}"
            await self._call(f"{path}/heartbeat", {"token": row.token})
            await self._call(f"{path}/outputs", {"token": row.token, "etag": "A", "outputs": named})
            await self._call(f"{path}/fail", failed)
            await self._call("leases", {"max": 0, "settle": [done, failed, {"outcome": "released", **lease}]})

    async def _repeat(self) -> None:
        """Send settlements of the past again."""
        for path, body in self._sent[-3:]:
            await self._call(path, body)

    async def _misreport(self) -> None:
        """Report that others' leases are alone in its handler."""
        tokens = [row.token for row in self._process.world.tables.objects.values() if row.token][:64]
        handling = {"number": 2**62 + self._process.world.counts["hostile acts"], "tokens": tokens, "alone": True}
        await self._call("leases", {"max": 64, "handling": handling})

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _own(self) -> list[Object]:
        rows = self._process.world.tables.objects.values()
        return [row for row in rows if row.state == "leased" and row.worker_id == HOSTILE]

    async def _settle(self, row: Object, verb: str, settlement: dict[str, Any]) -> None:
        path, body = f"leases/{row.id}/{verb}", {"id": row.id, "token": row.token, **settlement}
        self._sent.append((path, body))
        self._process.world.invariants.hostile_writes(HOSTILE, row.key)
        await self._call(path, body)

    async def _call(self, path: str, body: dict[str, Any]) -> Answer:
        process = self._process
        await asyncio.sleep(process.transit())
        planes = [plane for plane in process.world.planes.values() if plane.process.alive]
        if not planes:
            return 503, {}, b""
        plane = process.world.draws.choice("hostile/replica", planes)
        answering = plane.process.spawn(plane.call(str(HOSTILE), path, json.dumps(body).encode()))
        # A replica that dies never answers.
        await asyncio.wait([answering], timeout=10)
        if not answering.done():
            return 503, {}, b""
        answer: Answer = answering.result()
        if answer[0] == 401:
            raise Revoked
        return answer


def _outputs(etags: dict[str, str]) -> list[dict[str, Any]]:
    """Outputs of a settlement: those that were written, or made up."""
    named = etags or {"small.webp": "made-up", MANIFEST: "made-up"}
    return [{"name": n, "etag": etag, "size": 1, "content_type": "image/webp"} for n, etag in named.items()]


async def run(process: SimulatedProcess, buckets: SimulatedBuckets) -> None:
    """Be hostile until the token is revoked."""
    process.killable = False
    world = process.world
    world.invariants.losses.agents[HOSTILE] = process
    hostile = HostileWorker(process, buckets)
    try:
        while True:
            await asyncio.sleep(world.draws.between("hostile/pause", *_PAUSE_SECONDS))
            await hostile.act()
    except Revoked:
        world.counts["hostile workers revoked"] += 1
