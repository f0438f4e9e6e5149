"""Knows which version of each model is current, and signs the URLs by which workers fetch one.

Each replica looks for itself, every few seconds: a new version serves new leases of all replicas within that time. A
model that was found once stays as it was where the store fails later.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from webhook.config import ModelSettings, Pipeline
from webhook.loops import LoopHealth
from webhook.models import version
from webhook.models.version import ModelMissing, ModelVersion
from webhook.storage import ObjectStore, StoreError
from workers.models import manifest
from workers.protocol import Download, ModelRef, ModelSource, ModelSources

log = structlog.get_logger()

AGAIN_SECONDS = 5.0
"""Between two looks at what is current."""
PLAIN_SECONDS = 60.0
"""The same for objects without a manifest, which take three requests, a listing among them."""
URL_SECONDS = 3600
"""Presigned GETs of a model's files end after so long; a worker asks for new ones."""
_MOST_VERSIONS = 8
"""Of one model that are kept in memory, for leases that have them."""


@dataclass(slots=True)
class _KnownModel:
    """What was found of one model."""

    settings: ModelSettings
    """As it was defined then."""
    current: ModelVersion | None = None
    why: str = "it has not been looked for yet"
    """Why there is no current version."""
    etag: str = ""
    """Of the manifest that says which version is current."""
    look_at: float = 0.0
    """When to look again, by ``time.monotonic``."""
    versions: OrderedDict[str, ModelVersion] = field(default_factory=OrderedDict)
    """The latest that were seen, by root."""

    def found(self, found: ModelVersion) -> None:
        """Note a version."""
        self.versions[found.ref.root] = found
        self.versions.move_to_end(found.ref.root)
        if len(self.versions) > _MOST_VERSIONS:
            self.versions.popitem(last=False)


class ModelCatalogue:
    """The models that are defined, as they are in their buckets now."""

    def __init__(
        self, models: Mapping[str, ModelSettings], store: ObjectStore, health: LoopHealth | None = None
    ) -> None:
        self._models = models
        self._store = store
        self._health = health or LoopHealth()
        self._known: dict[str, _KnownModel] = {}
        self._changed = asyncio.Event()
        self.on_change: list[Callable[[], object]] = []
        """Called when another version of a model is current."""

    def changed(self) -> None:
        """Look soon for what is current: other models are defined now."""
        self._changed.set()

    def _of(self, name: str) -> _KnownModel | None:
        """What is known of a model; None where none of that name is defined."""
        settings = self._models.get(name)
        if settings is None:
            self._known.pop(name, None)
            return None
        if name not in self._known or self._known[name].settings != settings:
            self._known[name] = _KnownModel(settings)
        return self._known[name]

    def refusal(self, pipeline: Pipeline) -> str:
        """Why no work of a pipeline may be handed out, and what to do; empty where all its models are there."""
        return self.missing(pipeline.models)

    def missing(self, names: Iterable[str]) -> str:
        """Why one of these models is not there, and what to do; empty where all are."""
        for name in names:
            known = self._of(name)
            if known is None or known.current is None:
                return f"there is no model {name}: {known.why if known else 'none is defined'}"
        return ""

    def refs(self, names: Iterable[str]) -> tuple[ModelRef, ...]:
        """The current version of each of these models that is there."""
        found = (self._of(name) for name in names)
        return tuple(each.current.ref for each in found if each and each.current)

    async def sources(self, names: Collection[str], root: str) -> ModelSources | None:
        """Where to fetch a version of one of these models; None where none of them has it. Raises StoreError."""
        for name in names:
            if (found := await self._version(name, root)) is not None:
                return self._signed(found)
        return None

    async def watch(self) -> None:
        """Look for what is current, for ever."""
        while True:
            self._changed.clear()
            with self._health.turn("models"):
                await self._look(time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS):
                    await self._changed.wait()

    async def look(self) -> None:
        """Look once for what is current of each model."""
        await self._look(math.inf)

    async def _look(self, moment: float) -> None:
        known = {name: found for name in self._models if (found := self._of(name))}
        self._known = {**known}
        await asyncio.gather(*(self._look_for(name, each) for name, each in known.items() if each.look_at <= moment))

    async def _look_for(self, name: str, known: _KnownModel) -> None:
        model = known.settings
        try:
            etag = await self._pointer_etag(model, known)
            if known.current is not None and etag and etag == known.etag:
                return
            found = await version.current(self._store, name, model)
        except (ModelMissing, StoreError) as error:
            if known.current is None and known.why != str(error):
                log.error("model not found", model=name, source=str(model.source), error=str(error))
                known.why = str(error)
            return
        known.etag = etag
        is_other = known.current is None or known.current.ref != found.ref
        if is_other:
            log.info("model found", model=name, root=found.ref.root, size=found.ref.size, files=len(found.files))
        plain = found.manifest_key is None
        known.look_at = time.monotonic() + (PLAIN_SECONDS if plain else 0)
        known.current = found
        known.found(found)
        if is_other:
            for tell in self.on_change:
                tell()

    async def _pointer_etag(self, model: ModelSettings, known: _KnownModel) -> str:
        """A text that stays the same as long as the same version is current; empty: look at it in any case."""
        if model.root is not None:
            return model.root
        if known.current is not None and known.current.manifest_key is None:
            return ""
        head = await self._store.head(model.source.bucket, version.folder_of(model) + manifest.FILE_NAME)
        return head.etag if head else ""

    async def _version(self, name: str, root: str) -> ModelVersion | None:
        known = self._of(name)
        if known is None:
            return None
        if root in known.versions:
            return known.versions[root]
        # Another replica gave it out, or this one before it was restarted.
        with contextlib.suppress(ModelMissing):
            if (found := await version.published(self._store, name, known.settings, root)) is not None:
                known.found(found)
                return found
        return None

    def _signed(self, found: ModelVersion) -> ModelSources:
        return ModelSources(
            root=found.ref.root,
            manifest=self._download(found, found.manifest_key) if found.manifest_key else None,
            files=tuple(
                ModelSource(path=file.path, size=file.size, etag=file.etag, download=self._download(found, file.key))
                for file in found.files
            ),
        )

    def _download(self, found: ModelVersion, key: str) -> Download:
        return Download(url=self._store.presigner.url("GET", found.bucket, key, expires_seconds=URL_SECONDS))
