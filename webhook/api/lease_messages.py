"""Builds the lease message of a claimed object: what a worker needs to process it, and nothing else."""

from __future__ import annotations

from decimal import Decimal

from webhook.config import Pipeline
from webhook.ledger.ledger import ClaimedObject
from webhook.models.catalogue import ModelCatalogue
from webhook.outputs.keys import KeyTooLong, output_key
from webhook.outputs.presigning import get_seconds
from webhook.pipelines import NamedPipeline
from webhook.storage import CONSISTENT
from webhook.storage.presign import Presigner
from webhook.usd import exact
from workers import protocol

_PRICE_DIGITS = 12
"""After the point, of a price that a worker is told."""


class LeaseMessages:
    """Builds lease messages, with presigned GETs of the input and of an earlier result's manifest."""

    def __init__(self, presigner: Presigner, catalogue: ModelCatalogue) -> None:
        self._presigner = presigner
        self._catalogue = catalogue

    def lease(self, row: ClaimedObject, named: NamedPipeline, usd_per_hour: Decimal = Decimal(0)) -> protocol.Lease:
        """Build the message of one object claimed for this pipeline, for a machine of that price."""
        name, pipeline = named
        headers = {"if-none-match": f'"{row.done_etag}"'} if row.done_etag else {}
        if pipeline.consistent_reads:
            headers[CONSISTENT] = "true"
        return protocol.Lease(
            id=row.id,
            token=row.token,
            pipeline=name,
            bucket=pipeline.input.bucket,
            key=row.key,
            handler=_handler(pipeline),
            input=self._download(pipeline, pipeline.input.bucket, row.key, headers),
            # Where the last result is known, If-None-Match already tells whether the content is the same; where a
            # lease has begun to publish, the manifest may be of any content.
            manifest=None if row.done_etag or row.publish_started else self._manifest(pipeline, row.key),
            expected=protocol.Expected(
                etag=row.event_etag, modified=row.newest_at, after=row.done_modified, believed=row.believed
            ),
            attempt=row.attempt,
            models=self._catalogue.refs(pipeline.models),
            trial=row.trial,
            lease_seconds=pipeline.lease_seconds,
            usd_per_hour=exact(round(usd_per_hour, _PRICE_DIGITS)) if usd_per_hour > 0 else None,
        )

    def _manifest(self, pipeline: Pipeline, key: str) -> protocol.Download | None:
        try:
            return self._download(pipeline, pipeline.output.bucket, output_key(pipeline, key, protocol.MANIFEST), {})
        except KeyTooLong:  # then no result was ever published
            return None

    def _download(self, pipeline: Pipeline, bucket: str, key: str, headers: dict[str, str]) -> protocol.Download:
        url = self._presigner.url("GET", bucket, key, expires_seconds=get_seconds(pipeline), headers=headers)
        return protocol.Download(url=url, headers=headers)


def _handler(pipeline: Pipeline) -> protocol.Handler:
    return protocol.Handler.model_validate(
        {
            "kind": pipeline.handler,
            "options": pipeline.options,
            "limits": pipeline.handler_limits,
            "sandbox": pipeline.sandbox,
        }
    )
