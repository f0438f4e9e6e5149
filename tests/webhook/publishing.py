"""Publishes a result as a worker does, into a real bucket."""

from __future__ import annotations

from tests.webhook.buckets import BucketPair
from tests.webhook.plane import RunningPlane, Worker, event
from workers.manifest import Manifest, Seconds
from workers.protocol import Output, Version


async def publish(
    plane: RunningPlane, buckets: BucketPair, worker: Worker, key: str, picture: bytes = b"picture"
) -> None:
    """Have a worker publish a picture and a manifest with labels."""
    await plane.notify(event(key, bucket=buckets.inputs))
    lease = await worker.lease()
    thumb = buckets.put(f"{key}/thumb.webp", picture)
    made = Output(name="thumb.webp", etag=thumb, size=len(picture), content_type="image/webp")
    manifest = Manifest(
        pipeline="photos", bucket=buckets.inputs, key=key, input=Version(etag="e", modified=None, size=1),
        token=lease.token, attempt=1, handler="photo", outputs=(made,), labels={"verdict": "refused", "width": 3},
        seconds=Seconds(fetch=0, handle=0, publish=0), finished_at="2026-05-15T10:30:00Z",
    )  # fmt: skip
    etag = buckets.put(f"{key}/result.json", manifest.encode())
    outputs = [made.model_dump(), {"name": "result.json", "etag": etag, "size": 1, "content_type": "application/json"}]
    settlement = {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": "e"}, "outputs": outputs}
    answer = await worker.ask(most=0, settle=[settlement])
    assert answer.settled[0].accepted
