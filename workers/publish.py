"""Publishes a lease's outputs side by side, and the manifest strictly after all of them.

So a reader that sees a manifest can read every output that it names.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from pydantic import ValidationError

from workers import manifest
from workers.client import ControlPlaneClient, OutputsNotAllowed
from workers.concurrency import all_of
from workers.handlers import HandlerError
from workers.heartbeat import Heartbeat
from workers.manifest import Manifest, Seconds
from workers.protocol import MANIFEST, Lease, Output, OutputRequest, OutputsRequest, Upload, Version
from workers.sandbox.opened import OpenedOutput, OpenedResult
from workers.slot_time import LeaseShare
from workers.transfer import MAX_UPLOAD_BYTES, ConditionFailed, TransferClient, UrlExpired

_MAX_CONFLICTS = 3
"""How often another condition is requested for one output."""
_SLACK_BYTES = 64
"""Room for the manifest to grow from its draft to its end: times have more digits by then."""
_USUAL_ETAG = "0" * 32
"""As long as S3's ETag of one PUT."""


@dataclass(frozen=True, slots=True)
class PendingOutput:
    """One file to upload."""

    content: BinaryIO
    request: OutputRequest

    def stored(self, etag: str) -> Output:
        """The output that it is once the store has named its ETag."""
        request = self.request
        return Output(name=request.name, etag=etag, size=request.size, content_type=request.content_type)


class Publisher:
    """Publishes the results of one lease."""

    def __init__(
        self,
        lease: Lease,
        fetched: Version,
        *,
        heartbeat: Heartbeat,
        client: ControlPlaneClient,
        transfer: TransferClient,
        share: LeaseShare,
    ) -> None:
        self._lease = lease
        self._fetched = fetched
        self._heartbeat = heartbeat
        self._client = client
        self._transfer = transfer
        self._share = share

    async def publish(self, result: OpenedResult, seconds: dict[str, float]) -> list[Output]:
        """Publish the result's files, then the manifest, and return all of them in that order.

        Args:
            result: The handler's result.
            seconds: How long the steps before took: ``fetch`` and ``handle``.

        Raises:
            HandlerError: the outputs cannot be published as they are.
            StoreFault: the store does not take them.
            LeaseLost, Unauthorized: stop.
        """
        started_at = time.monotonic()
        files = _pending(result.outputs)
        draft = self._draft(result, files, seconds)
        last = OutputRequest(name=MANIFEST, size=len(_encode(draft)) + _SLACK_BYTES, content_type=manifest.CONTENT_TYPE)
        # One request for all, also for the manifest that is not written yet: a round trip less until the result.
        # A presigned PUT fixes the length, so the manifest's must be known before its ETags and times are.
        *uploads, final = await self._request_uploads([*(file.request for file in files), last])
        outputs = await all_of(self._upload(file, upload) for file, upload in zip(files, uploads, strict=True))
        complete = draft.model_copy(
            update={
                "outputs": tuple(outputs),
                "seconds": draft.seconds.model_copy(update={"publish": _rounded(time.monotonic() - started_at)}),
                "finished_at": datetime.now(UTC),
                "cost_usd": self._share.usd(self._lease.usd_per_hour),
            }
        )
        return [*outputs, await self._upload_manifest(complete, last, final)]

    async def _upload(self, file: PendingOutput, upload: Upload) -> Output:
        """Upload one file, with another URL or condition where that can help."""
        conflicts, expired = 0, False
        while True:
            # Before each PUT: its condition guards against other results, not against this one being too late.
            self._heartbeat.check()
            try:
                etag = await self._transfer.upload(upload, file.content, size_bytes=file.request.size)
                return file.stored(etag)
            except ConditionFailed:
                # Another result is there, or an earlier PUT of this one whose response was lost. The control plane
                # looks at it, and offers a condition that allows to replace it unless it is of newer content.
                conflicts += 1
                if conflicts > _MAX_CONFLICTS:
                    raise
            except UrlExpired:
                if expired:  # a fresh URL was refused too: it is not its age
                    raise
                expired = True
            [upload] = await self._request_uploads([file.request.model_copy(update={"conflict": conflicts > 0})])

    async def _request_uploads(self, outputs: Sequence[OutputRequest]) -> list[Upload]:
        self._heartbeat.check()
        request = OutputsRequest(
            token=self._lease.token,
            etag=self._fetched.etag,
            modified=self._fetched.modified,
            outputs=list(outputs),
        )
        try:
            return (await self._client.outputs(self._lease.id, request)).uploads
        except OutputsNotAllowed as refused:
            raise HandlerError(refused.reason, refused.message) from None

    async def _upload_manifest(self, complete: Manifest, request: OutputRequest, upload: Upload) -> Output:
        encoded = _encode(complete)
        if len(encoded) > request.size:  # a store with longer ETags than the draft allowed for
            request = request.model_copy(update={"size": len(encoded)})
            [upload] = await self._request_uploads([request])
        # Padded to the length in the URL's signature: JSON may end in white space.
        content = io.BytesIO(encoded.ljust(request.size))
        return await self._upload(PendingOutput(content, request), upload)

    def _draft(self, result: OpenedResult, files: Sequence[PendingOutput], seconds: dict[str, float]) -> Manifest:
        """The manifest with stand-ins for what publishing adds to it. Raises ``HandlerError``."""
        try:
            return Manifest(
                pipeline=self._lease.pipeline,
                bucket=self._lease.bucket,
                key=self._lease.key,
                input=self._fetched,
                token=self._lease.token,
                attempt=self._lease.attempt,
                handler=self._lease.handler.kind,
                models={model.name: model.root for model in self._lease.models},
                outputs=tuple(file.stored(_USUAL_ETAG) for file in files),
                labels=dict(result.labels),
                seconds=Seconds(publish=0, **{step: _rounded(value) for step, value in seconds.items()}),
                finished_at=datetime.now(UTC),
                cost_usd=self._share.usd(self._lease.usd_per_hour),
            )
        except ValidationError as error:
            raise HandlerError("handler-error", f"The handler's labels are not JSON: {_where(error)}.") from error


def _pending(outputs: Sequence[OpenedOutput]) -> list[PendingOutput]:
    return [_pending_output(output) for output in outputs]


def _pending_output(output: OpenedOutput) -> PendingOutput:
    file = output.file
    if output.size > MAX_UPLOAD_BYTES:
        raise HandlerError("output-too-large", f"{file.name} exceeds the 5 GiB that one PUT carries.")
    try:
        request = OutputRequest(
            name=file.name, size=output.size, content_type=file.content_type, cache_control=file.cache_control
        )
    except ValidationError as error:
        raise HandlerError("handler-error", f"An output of the handler is invalid: {_where(error)}.") from error
    return PendingOutput(output.content, request)


def _encode(complete: Manifest) -> bytes:
    try:
        return complete.encode()
    except ValueError as error:
        raise HandlerError("labels-too-large", f"The handler's labels cannot be written: {error}.") from error


def _rounded(seconds: float) -> float:
    return round(seconds, 4)


def _where(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
