"""A control plane over real buckets whose sweeps the test makes, page by page, and a worker that really publishes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.buckets import BucketPair, sent
from tests.webhook.plane import RunningPlane, Worker, control_plane, event
from webhook.config import Config
from webhook.ledger.ledger import Ledger
from webhook.ledger.sweeps import Sweep, SweepOrder, Sweeps
from webhook.outputs.removal import Remover
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore
from webhook.storage.presign import SigningKeys
from webhook.sweep.deletions import DeletionChecker
from webhook.sweep.sweeper import Sweeper
from workers.manifest import Manifest, Seconds
from workers.protocol import MANIFEST, Lease, Output, Version


@dataclass(frozen=True, slots=True)
class Swept:
    """What a test of sweeps has at hand."""

    plane: RunningPlane
    buckets: BucketPair
    client: ObjectStore
    sweeps: Sweeps
    sweeper: Sweeper
    checker: DeletionChecker

    @property
    def ledger(self) -> Ledger:
        """Of the plane."""
        return self.plane.services.ledger

    @property
    def pipelines(self) -> Pipelines:
        """Of the plane."""
        return self.plane.services.pipelines

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────

    def upload(self, *keys: str, body: bytes = b"photo") -> None:
        """Upload inputs without an event."""
        for key in keys:
            self.buckets.s3.put_object(Bucket=self.buckets.inputs, Key=key, Body=body + key.encode())

    def delete(self, *keys: str) -> None:
        """Delete inputs without an event."""
        for key in keys:
            self.buckets.s3.delete_object(Bucket=self.buckets.inputs, Key=key)

    @property
    def outputs(self) -> set[str]:
        """Keys of all outputs."""
        return self.buckets.keys()

    def fault(self, **fault: object) -> None:
        """Of listings of the inputs."""
        self.buckets.store.fault(bucket=self.buckets.inputs, listing=True, **fault)

    # ── sweeping ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ordered(self, kind: Any = "backfill", *, pipeline: int = 1, **more: Any) -> Sweep:
        """A sweep that has just begun."""
        swept = await self.sweeps.begin(
            (await self.sweeps.order(SweepOrder(pipeline, kind, more.pop("prefix", ""), **more))).id
        )
        assert swept
        return swept

    async def sweep(self, kind: Any = "backfill", **more: Any) -> Sweep:
        """A sweep from its beginning to its end."""
        swept = await self.ordered(kind, **more)
        while not swept.ended:
            after = await self.sweeper.step(swept)
            assert after
            swept = after
        return swept

    # ── working ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def announce(self, *keys: str) -> None:
        """Tell of inputs."""
        await self.plane.notify(*(event(key, bucket=self.buckets.inputs, eTag=self.etag(key)) for key in keys))

    def etag(self, key: str) -> str:
        """Of an input."""
        return self.buckets.s3.head_object(Bucket=self.buckets.inputs, Key=key)["ETag"].strip('"')

    async def work(self) -> list[str]:
        """Work all that is due, as a worker does; the outcomes, each with its key."""
        worker, outcomes = await self.plane.worker(), []
        while leases := (await worker.ask(most=16)).leases:
            outcomes += [f"{await self._worked(worker, lease)} {lease.key}" for lease in leases]
        return sorted(outcomes)

    async def _worked(self, worker: Worker, lease: Lease) -> str:
        async with httpx.AsyncClient() as http:
            got = await http.get(lease.input.url, headers=lease.input.headers)
        settled: dict[str, Any] = {"id": lease.id, "token": lease.token}
        if got.status_code == 304:
            said = await worker.post(f"leases/{lease.id}/complete", {"outcome": "unchanged", **settled})
            assert said.status_code == 200, said.text
            return "unchanged"
        assert got.status_code == 200, got.text
        fetched = Version(etag=got.headers["etag"].strip('"'), modified=None, size=len(got.content))
        outputs = [await self._published(worker, lease, "out.txt", got.content)]
        outputs.append(await self._published(worker, lease, MANIFEST, _manifest(lease, fetched, outputs).encode()))
        done = {
            "outcome": "done", **settled, "fetched": {"etag": fetched.etag},
            "outputs": [output.model_dump() for output in outputs], "verdict": "review",
        }  # fmt: skip
        said = await worker.post(f"leases/{lease.id}/complete", done)
        assert said.status_code == 200, said.text
        return "done"

    async def _published(self, worker: Worker, lease: Lease, name: str, content: bytes) -> Output:
        for conflict in (False, True):
            [upload] = await worker.uploads(lease, name, size=len(content), conflict=conflict)
            said = await sent(upload, content)
            if said.status_code == 200:
                break
        assert said.status_code == 200, said.text
        return Output(name=name, etag=said.headers["etag"].strip('"'), size=len(content), content_type="text/plain")

    async def checked(self) -> None:
        """Make all checks of what may be gone."""

        async def none_left() -> bool:
            await self.checker.check()
            rows = await self.plane.sql("select from objects where lane = 'check' and state in ('pending', 'leased')")
            return not rows

        await until(none_left)

    async def states(self) -> dict[str, str]:
        """State by key."""
        return {key: row["state"] for key, row in (await self.plane.objects()).items()}


def _manifest(lease: Lease, fetched: Version, outputs: list[Output]) -> Manifest:
    return Manifest(
        pipeline=lease.pipeline, bucket=lease.bucket, key=lease.key, input=fetched, token=lease.token, attempt=1,
        handler="photo", outputs=tuple(outputs), labels={"verdict": "review"},
        seconds=Seconds(fetch=0, handle=0, publish=0),
        finished_at=datetime.now(UTC),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def swept(
    postgres_dsn: str,
    store: LocalStore,
    *,
    config: Config | None = None,
    buckets: BucketPair | None = None,
    page: int = 3,
    loops: bool = False,
    **more: Any,
) -> AsyncIterator[Swept]:
    """With small pages. Only the test sweeps, checks and reaps."""
    buckets = buckets or BucketPair.made(store)
    config = config or buckets.configured(**{"absent_checks": 1, **more})
    async with control_plane(postgres_dsn, config, store=store.endpoint, loops=loops) as plane:
        yield _swept(plane, buckets, store, page)
        assert await plane.unaccounted() == {"events": 0, "changes": 0}
        store.http.delete(f"{store.endpoint}/_yurt/faults")


def _swept(plane: RunningPlane, buckets: BucketPair, store: LocalStore, page: int) -> Swept:
    client = ObjectStore(store.endpoint, "auto", SigningKeys("tid_test", "tsec_test"), answer_seconds=5, attempts=1)
    pipelines = plane.services.pipelines
    sweeps = Sweeps(plane.services.ledger)
    remover = Remover(client, pipelines.all)
    sweeper = Sweeper(sweeps, client, pipelines, remover, page=page)
    checker = DeletionChecker(plane.services.ledger, pipelines, client, remover)
    return Swept(plane, buckets, client, sweeps, sweeper, checker)


KEYS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "g.jpg")


def counts(sweep: Sweep) -> dict[str, int]:
    """Those that are not 0."""
    return {name: n for name, n in dataclasses.asdict(sweep.counts).items() if n and name != "pages"}


async def worked(it: Swept, *keys: str) -> None:
    """Inputs that have results."""
    it.upload(*keys)
    await it.announce(*keys)
    assert len(await it.work()) == len(keys)
