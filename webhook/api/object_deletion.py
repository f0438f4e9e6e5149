"""Deletes inputs for apps: an object is deleted in the bucket, and its results follow as ``on_delete`` says."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.app_auth import AppAuth
from webhook.api.http import HttpProblem, json_response
from webhook.config import Pipeline
from webhook.events import MAX_KEY_BYTES
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore, PreconditionFailed, StoreError


class DeletedObject(BaseModel):
    """An object that is not in the input bucket any more."""

    pipeline: str
    key: str


class ObjectDeletionApi:
    """The endpoint that deletes an object, behind tokens with the scope ``delete:PIPELINE``."""

    def __init__(self, pipelines: Pipelines, store: ObjectStore, apps: AppAuth) -> None:
        self._pipelines = pipelines
        self._store = store
        self._apps = apps

    async def delete_object(self, request: Request) -> Response:
        """Delete an object from a pipeline's input. May be repeated: one that is missing is deleted already."""
        name, key = request.path_params["pipeline"], request.path_params["key"]
        await self._apps.require(request, f"delete:{name}")
        pipeline = self._pipelines.named(name)
        if pipeline is None:
            raise HttpProblem(404, "unknown-pipeline", "there is no pipeline of that name")
        if len(key.encode()) > MAX_KEY_BYTES or "\0" in key or not pipeline.watches(pipeline.input.bucket, key):
            raise HttpProblem(
                403, "outside-pipeline", "the pipeline does not watch this key, so it is not deleted through Yurt"
            )
        await self._deleted(pipeline, key)
        return json_response(DeletedObject(pipeline=name, key=key))

    async def _deleted(self, pipeline: Pipeline, key: str) -> None:
        try:
            await self._store.delete(pipeline.input.bucket, key, "")
        except PreconditionFailed:
            raise HttpProblem(
                409, "object-changed", "it was replaced at that moment, and stays: delete it again if that is meant",
            ) from None  # fmt: skip
        except StoreError as error:
            raise HttpProblem(
                503, "store-unavailable",
                f"nothing can be deleted from {pipeline.input} now: {error}. The control plane's key has to be allowed "
                "to delete there, see docs/keys.md",
            ) from None  # fmt: skip
