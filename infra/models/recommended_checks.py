"""Adds checks by the recommended models to a pipeline for photos that has none, on a stack of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from webhook.config import Config, ModelSettings

BUCKET = "models"
"""Of the local bucket's server: where the models are published."""


@dataclass(frozen=True, slots=True)
class RecommendedChecks:
    """Checks by models of these folders, for one pipeline."""

    pipeline: str
    folders: Mapping[str, Path]
    """By the model's name."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of the models: what a machine downloads."""
        return sum(
            file.stat().st_size for folder in self.folders.values() for file in folder.rglob("*") if file.is_file()
        )

    def added_to(self, config: Config) -> Config:
        """The configuration with them."""
        pipeline = config.pipelines[self.pipeline]
        names = tuple(self.folders)
        checked = pipeline.model_copy(
            update={"models": names, "options": {**pipeline.options, "checks": list(self.folders)}}
        )
        sources = {name: ModelSettings.model_validate({"source": _source(name)}) for name in names}
        return config.model_copy(
            update={
                "models": {**config.models, **sources},
                "pipelines": {**config.pipelines, self.pipeline: checked},
            }
        )

    def environment(self) -> dict[str, str]:
        """Variables that add them to the configuration that a control plane reads from its file."""
        prefix = f"YURT_PIPELINES__{self.pipeline.upper()}__"
        return {
            **{f"YURT_MODELS__{name.upper()}": json.dumps({"source": _source(name)}) for name in self.folders},
            f"{prefix}MODELS": json.dumps(list(self.folders)),
            f"{prefix}OPTIONS": json.dumps({"checks": list(self.folders)}),
        }


def can_be_added(config: Config, pipeline: str) -> bool:
    """Whether that pipeline is for photos and names no model, nor does the configuration name one at all."""
    settings = config.pipelines[pipeline]
    return settings.handler == "photo" and not config.models and not settings.options.get("checks")


def _source(name: str) -> str:
    return f"s3://{BUCKET}/{name}"
