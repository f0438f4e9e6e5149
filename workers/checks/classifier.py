"""Scores a picture's labels by an image classifier or a detector in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyvips

from workers.checks import (
    activation,
    detection,
    graph_inputs,
    graph_outputs,
    model_config,
    model_folder,
    preprocessing,
)
from workers.checks.model_config import ModelConfig
from workers.checks.preprocessing import Preprocessing, dimensions
from workers.checks.verdict import LabelScore
from workers.inference import client
from workers.inference.errors import InferenceLost, UnusableModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_LOADED = 8
"""Models that a process keeps. Of a name that gets new versions the oldest are let go."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a model has made of one picture."""

    scores: tuple[LabelScore, ...]
    """Of all labels, the surest first."""
    embedding: tuple[float, ...] | None
    """What the picture shows, as a vector of length 1; None where the model gives none."""


class Classifier:
    """An image classifier or a detector, loaded. Raises UnusableModelError where its folder does not hold one."""

    def __init__(self, folder: Path) -> None:
        self._session = client.open_graph(model_folder.graph(folder))
        self._config = model_folder.read_json(folder, model_config.FILE, ModelConfig, "names the labels")
        self._preprocessing = model_folder.read_json(
            folder, preprocessing.FILE, Preprocessing, "says what to do to a picture"
        )
        self.labels = _labels(self._config)
        """By their place in the graph's output."""
        self._inputs = graph_inputs.find(self._session.get_inputs())
        self._outputs = graph_outputs.find(self._session.get_outputs(), len(self.labels))
        self._inputs.check(self._preprocessing)
        if self._outputs.boxes and self._preprocessing.do_center_crop:
            raise UnusableModelError("a detector is to see the whole picture: do_center_crop has to be false")

    @property
    def has_embedding(self) -> bool:
        """Whether the model gives an embedding."""
        return self._outputs.embedding is not None

    def choose(self, pictures: Sequence[pyvips.Image]) -> pyvips.Image:
        """Return the smallest of several sizes of one picture that need not be enlarged; else the largest."""
        ordered = sorted(pictures, key=lambda picture: picture.width * picture.height)
        return next((picture for picture in ordered if self._suffices(picture)), ordered[-1])

    def look(self, picture: pyvips.Image) -> Findings:
        """Score an 8-bit picture. Raises UnusableModelError where the graph does not give what it is to give."""
        tensors = self._inputs.tensors(self._preprocessing, picture)
        try:
            made = dict(zip(self._outputs.names, self._session.run(self._outputs.names, tensors), strict=True))
        except (UnusableModelError, InferenceLost):
            raise
        except Exception as error:  # onnxruntime's own types have no common base
            message = f"the graph does not run: {' '.join(str(error).split())[:300]}"
            raise UnusableModelError(message) from error
        scores = self._detected(made) if self._outputs.boxes else self._classified(made[self._outputs.scores])
        embedding = made[self._outputs.embedding] if self._outputs.embedding else None
        return Findings(_surest_first(scores), None if embedding is None else _unit(embedding))

    def _suffices(self, picture: pyvips.Image) -> bool:
        wanted = self._preprocessing.resized(dimensions(picture))
        return bool(picture.width >= wanted.width and picture.height >= wanted.height)

    def _classified(self, output: NDArray[Any]) -> list[LabelScore]:
        if output.shape != (1, len(self.labels)):
            raise UnusableModelError(
                f"{self._outputs.scores} has the shape {output.shape} for one picture, "
                f"and config.json has {len(self.labels)} labels: they have to be as many"
            )
        scores = activation.scores(output[0], self._config.activation)
        return list(map(LabelScore, self.labels, scores.tolist()))

    def _detected(self, made: dict[str, NDArray[Any]]) -> list[LabelScore]:
        assert self._outputs.boxes
        boxes = made[self._outputs.boxes]
        return detection.surest(self.labels, made[self._outputs.scores], boxes, self._config.function_to_apply)


@lru_cache(maxsize=_MOST_LOADED)
def load(folder: Path) -> Classifier:
    """Return the classifier in a folder whose content never changes, loaded once. Raises UnusableModelError."""
    return Classifier(folder)


def _labels(config: ModelConfig) -> list[str]:
    try:
        return config.labels
    except ValueError as error:
        raise UnusableModelError(f"{model_config.FILE}: {error}") from error


def _surest_first(scores: list[LabelScore]) -> tuple[LabelScore, ...]:
    return tuple(sorted(scores, key=attrgetter("score"), reverse=True))


def _unit(output: NDArray[Any]) -> tuple[float, ...]:
    import numpy as np

    vector = output.reshape(-1).astype(np.float32)
    return tuple((vector / max(float(np.linalg.norm(vector)), 1e-12)).tolist())
