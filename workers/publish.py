"""Outputs go up side by side, the manifest strictly after all of them.

Who sees a manifest can read everything that it names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from workers import manifest
from workers.client import ControlPlaneClient
from workers.concurrency import all_of
from workers.handlers import HandlerError, OutputFile, Result
from workers.heartbeat import Heartbeat
from workers.manifest import Manifest, Seconds
from workers.protocol import MANIFEST, Lease, Output, OutputRequest, OutputsRequest, Upload, Version
from workers.transfer import MAX_UPLOAD_BYTES, Condition, Expired, TransferClient

_CONFLICTS = 3
"""Other conditions to ask for when one does not hold."""
_SLACK_BYTES = 64
"""What the manifest may grow by between its draft and its end: timings have more digits by then."""
_USUAL_ETAG = "0" * 32
"""As long as S3's ETag of one PUT."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file that goes up."""

    path: Path
    wanted: OutputRequest

    def placed(self, etag: str) -> Output:
        """What it is once the store has it."""
        wanted = self.wanted
        return Output(name=wanted.name, etag=etag, size=wanted.size, content_type=wanted.content_type)


class Publisher:
    """Publishes the results of one lease."""

    def __init__(
        self, lease: Lease, fetched: Version, *, tenure: Heartbeat, control: ControlPlaneClient, store: TransferClient
    ) -> None:
        self._lease = lease
        self._fetched = fetched
        self._tenure = tenure
        self._control = control
        self._store = store

    async def publish(self, result: Result, folder: Path, spent: dict[str, float], workspace: Path) -> list[Output]:
        """Publish the result's files from ``folder`` and then the manifest, which is the last of what is
        returned.

        Args:
            result: What the handler made.
            folder: Where its files are.
            spent: Seconds that the steps before took: ``fetch`` and ``handle``.
            workspace: A folder in which the manifest can be written.

        Raises:
            HandlerError: the outputs cannot be published as they are.
            StoreFault: the store does not take them.
            LeaseLost, Unauthorized: stop.
        """
        started_at = time.monotonic()
        pieces = _pieces(result.outputs, folder)
        draft = self._draft(result, pieces, spent)
        last = OutputRequest(name=MANIFEST, size=len(_encode(draft)) + _SLACK_BYTES, content_type=manifest.CONTENT_TYPE)
        # One request for all, also for the manifest that is not written yet: a round trip less until the
        # result.
        *uploads, final = await self._ask([*(piece.wanted for piece in pieces), last])
        outputs = await all_of(self._place(piece, upload) for piece, upload in zip(pieces, uploads, strict=True))
        seconds = draft.seconds.model_copy(update={"publish": _rounded(time.monotonic() - started_at)})
        complete = draft.model_copy(
            update={"outputs": tuple(outputs), "seconds": seconds, "finished_at": datetime.now(UTC)}
        )
        return [*outputs, await self._place_manifest(complete, workspace / MANIFEST, last, final)]

    async def _place(self, piece: Piece, upload: Upload) -> Output:
        """Put one file, asking for another URL where that can help."""
        conflicts, expired = 0, False
        while True:
            self._tenure.check()
            try:
                etag = await self._store.upload(upload, piece.path, size_bytes=piece.wanted.size)
                return piece.placed(etag)
            except Condition:
                conflicts += 1
                if conflicts > _CONFLICTS:
                    raise
            except Expired:
                if expired:
                    raise
                expired = True
            [upload] = await self._ask([piece.wanted.model_copy(update={"conflict": conflicts > 0})])

    async def _ask(self, wanted: Sequence[OutputRequest]) -> list[Upload]:
        self._tenure.check()
        request = OutputsRequest(
            token=self._lease.token,
            etag=self._fetched.etag,
            modified=self._fetched.modified,
            outputs=list(wanted),
        )
        return (await self._control.outputs(self._lease.id, request)).uploads

    async def _place_manifest(self, complete: Manifest, path: Path, wanted: OutputRequest, upload: Upload) -> Output:
        encoded = _encode(complete)
        if len(encoded) > wanted.size:  # a store with longer ETags
            wanted = wanted.model_copy(update={"size": len(encoded)})
            [upload] = await self._ask([wanted])
        # The length was agreed on before; JSON may end in any white space.
        await asyncio.to_thread(path.write_bytes, encoded.ljust(wanted.size))
        return await self._place(Piece(path, wanted), upload)

    def _draft(self, result: Result, pieces: Sequence[Piece], spent: dict[str, float]) -> Manifest:
        seconds = {name: _rounded(value) for name, value in spent.items()}
        try:
            return Manifest(
                pipeline=self._lease.pipeline,
                bucket=self._lease.bucket,
                key=self._lease.key,
                input=self._fetched,
                token=self._lease.token,
                attempt=self._lease.attempt,
                handler=self._lease.handler.kind,
                outputs=tuple(piece.placed(_USUAL_ETAG) for piece in pieces),
                labels=dict(result.labels),
                seconds=Seconds(publish=0, **seconds),
                finished_at=datetime.now(UTC),
            )
        except ValidationError as error:
            raise HandlerError("handler-error", f"The handler's labels are not JSON: {_where(error)}.") from error


def _pieces(outputs: Sequence[OutputFile], folder: Path) -> list[Piece]:
    pieces = [_piece(output, folder / output.name) for output in outputs]
    if any(piece.wanted.name == MANIFEST for piece in pieces):
        raise HandlerError("handler-error", f"The handler made an output called {MANIFEST}, the manifest's name.")
    return pieces


def _piece(output: OutputFile, path: Path) -> Piece:
    size = path.stat().st_size
    if size > MAX_UPLOAD_BYTES:
        raise HandlerError("output-too-large", f"{output.name} exceeds the 5 GiB that one PUT carries.")
    try:
        wanted = OutputRequest(
            name=output.name, size=size, content_type=output.content_type, cache_control=output.cache_control
        )
    except ValidationError as error:
        raise HandlerError("handler-error", f"An output of the handler is invalid: {_where(error)}.") from error
    return Piece(path, wanted)


def _encode(complete: Manifest) -> bytes:
    try:
        return complete.encode()
    except ValueError as error:
        raise HandlerError("labels-too-large", f"The handler's labels cannot be written: {error}.") from error


def _rounded(seconds: float) -> float:
    return round(seconds, 4)


def _where(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
