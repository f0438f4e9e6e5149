"""Takes bundles of functions from ``yurt deploy``, and tells workers where those of their pool's functions are."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth, WorkerAuth
from webhook.api.http import HttpProblem, json_response, read_model
from webhook.bundles import Bundles
from webhook.config import Pipeline
from webhook.ledger.ledger import Ledger
from webhook.pipelines import Pipelines
from webhook.storage import StoreError
from workers.protocol import MAX_BUNDLE_BYTES, Download
from workers.value_types import Sha256

_ROOT = re.compile(r"[0-9a-f]{64}")
_BODY_BYTES = 4_096


class BundleRequest(BaseModel):
    """Announces a bundle."""

    model_config = ConfigDict(extra="forbid")

    root: Sha256
    """SHA-256 of its bytes."""
    bytes: Annotated[int, Field(ge=1, lt=2**63)]


class BundleOffer(BaseModel):
    """Whether a bundle is in the bucket, and how it gets there."""

    root: str
    there: bool
    place: str
    """``s3://bucket/prefix/``, where bundles are, and below it calls and their values."""
    upload: Download | None
    """A presigned PUT, with just these headers. Null: it is there already."""


class BundleApi:
    """Endpoints for bundles."""

    def __init__(
        self, bundles: Bundles, pipelines: Pipelines, ledger: Ledger, admin: AdminAuth, workers: WorkerAuth
    ) -> None:
        self._bundles = bundles
        self._ledger = ledger
        self._pipelines = pipelines
        self._admin = admin
        self._workers = workers

    async def offer_bundle(self, request: Request) -> Response:
        """Presign the upload of a bundle of functions, unless the bucket has it."""
        self._admin.require(request)
        announced = await read_model(request, BundleRequest, _BODY_BYTES)
        if announced.bytes > MAX_BUNDLE_BYTES:
            raise HttpProblem(
                413, "bundle-too-large",
                f"a bundle has at most {MAX_BUNDLE_BYTES >> 20} MiB: publish large files as a model",
            )  # fmt: skip
        if self._bundles.place is None:
            raise HttpProblem(
                409, "no-bundles-place",
                'there is no place for bundles: set bundles = "s3://bucket/bundles/" in [server] of yurt.toml',
            )  # fmt: skip
        there = await self._size(announced.root) is not None
        upload = None if there else self._bundles.presigned_put(announced.root, announced.bytes)
        offer = BundleOffer(root=announced.root, there=there, place=str(self._bundles.place), upload=upload)
        return json_response(offer)

    async def bundle_source(self, request: Request) -> Response:
        """Presign a GET of a bundle that a pipeline of the worker's pool runs."""
        async with self._workers.call(request) as caller:
            root = request.path_params["root"]
            known = _ROOT.fullmatch(root) and (
                root in self._of_pool(caller.pool) or root in await self._of_leases(caller.id)
            )
            size = await self._size(root) if known else None
            if size is None:
                raise HttpProblem(404, "unknown-bundle", "no function of this worker's pool has such a bundle")
            return json_response(self._bundles.source(root, size))

    def _of_pool(self, pool: str) -> set[object]:
        return {bundle for each in self._pipelines.all if each.pool == pool and (bundle := _bundle(each))}

    async def _of_leases(self, worker_id: int) -> set[object]:
        """Bundles of what the worker's leases were given: another version may have been deployed since."""
        rows = await self._ledger.fetch("leased_definitions", worker_id)
        given = [await self._pipelines.defined(row["definition"]) for row in rows]
        return {bundle for each in given if each is not None and (bundle := _bundle(each[1]))}

    async def _size(self, root: str) -> int | None:
        try:
            return await self._bundles.size(root)
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", str(error)) from None


def _bundle(pipeline: Pipeline) -> object:
    return pipeline.options.get("bundle") if pipeline.handler == "function" else None
