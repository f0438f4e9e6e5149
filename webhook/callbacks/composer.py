"""Composes the body of a callback from the outbox and from the manifest that is published now."""

from __future__ import annotations

from collections.abc import Mapping

from webhook.callbacks.message import CallbackBody, CallbackData, CallbackOutput, CallbackType
from webhook.config import Pipeline
from webhook.ledger.callbacks import ClaimedCallback
from webhook.outputs.keys import output_key
from webhook.storage.presign import Presigner
from webhook.sweep.manifests import Manifests
from workers.manifest import Manifest
from workers.protocol import MANIFEST

URL_SECONDS = 3600
"""For which an app can read outputs by the URLs that it was given."""
_PATIENT_ATTEMPTS = 3
"""For which a manifest that is not there yet is waited for: a region of the store may be behind."""


class ResultNotThereYet(Exception):
    """The store shows an older result than the one to be told of, or none."""


class CallbackComposer:
    """Composes the callbacks of one pipeline."""

    def __init__(self, name: str, pipeline: Pipeline, manifests: Manifests, presigner: Presigner) -> None:
        self._name = name
        self._pipeline = pipeline
        self._manifests = manifests
        self._presigner = presigner

    async def compose(self, claimed: ClaimedCallback) -> CallbackBody:
        """Compose one callback. Raises StoreError, ResultNotThereYet."""
        manifest = await self._manifest(claimed) if claimed.settled_as == "done" else None
        verdict = _verdict(manifest.labels) if manifest else None
        return CallbackBody(
            type=_type(claimed, verdict),
            timestamp=claimed.settled_at,
            data=CallbackData(
                pipeline=self._name,
                bucket=self._pipeline.input.bucket,
                key=claimed.key,
                sequence=claimed.position,
                etag=claimed.etag,
                verdict=verdict,
                reason=claimed.reason,
                message=claimed.explanation,
                outputs=self._outputs(claimed.key, manifest) if manifest else [],
            ),
        )

    async def _manifest(self, claimed: ClaimedCallback) -> Manifest | None:
        """The manifest of the very result; None where a later one has taken its place, or it was removed."""
        read = await self._manifests.read(self._pipeline, claimed.key)
        manifest = read[0] if read else None
        if manifest is not None and manifest.token == claimed.token:
            return manifest
        behind = manifest is None or manifest.token < (claimed.token or 0)
        if behind and claimed.attempt <= _PATIENT_ATTEMPTS:
            raise ResultNotThereYet(f"the store does not show {MANIFEST} of this result yet")
        return None

    def _outputs(self, key: str, manifest: Manifest) -> list[CallbackOutput]:
        return [
            CallbackOutput(
                name=output.name,
                url=self._url(key, output.name),
                etag=output.etag,
                size=output.size,
                content_type=output.content_type,
            )
            for output in manifest.outputs
        ]

    def _url(self, key: str, name: str) -> str:
        where = output_key(self._pipeline, key, name)
        return self._presigner.url("GET", self._pipeline.output.bucket, where, expires_seconds=URL_SECONDS)


def _verdict(labels: Mapping[str, object]) -> str | None:
    verdict = labels.get("verdict")
    return verdict if isinstance(verdict, str) else None


def _type(claimed: ClaimedCallback, verdict: str | None) -> CallbackType:
    match claimed.settled_as:
        case "parked":
            return "object.parked"
        case "gone":
            return "object.gone"
        case "done":
            return "object.refused" if verdict == "refused" else "object.done"
