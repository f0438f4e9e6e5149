"""Scores a picture's labels by an image classifier in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyvips

from workers.checks import model_config, model_folder, preprocessing, runtime
from workers.checks.model_config import Activation, ModelConfig
from workers.checks.model_folder import UnusableModelError
from workers.checks.preprocessing import Dimensions, Preprocessing, dimensions
from workers.checks.verdict import LabelScore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, NodeArg

_MOST_LOADED = 8
"""Models that a process keeps. Of a name that gets new versions the oldest are let go."""
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_SCORES = ("logits", "scores", "probabilities", "output")
_EMBEDDINGS = ("embedding", "embeddings", "image_embeds", "pooler_output")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a model has made of one picture."""

    scores: tuple[LabelScore, ...]
    """Of all labels, the surest first."""
    embedding: tuple[float, ...] | None
    """What the picture shows, as a vector of length 1; None where the model gives none."""


@dataclass(frozen=True, slots=True)
class _Input:
    """The only input of a graph."""

    name: str
    kind: str
    channels_last: bool
    height: int | None
    width: int | None
    """None: any."""


class Classifier:
    """An image classifier, loaded. Raises UnusableModelError where its folder does not hold one."""

    def __init__(self, folder: Path) -> None:
        self._session = runtime.open_session(model_folder.graph(folder))
        config = model_folder.read_json(folder, model_config.FILE, ModelConfig, "names the labels")
        self._preprocessing = model_folder.read_json(
            folder, preprocessing.FILE, Preprocessing, "says what to do to a picture"
        )
        self.labels = _labels(config)
        """By their place in the graph's output."""
        self._activation = config.activation
        self._input = _input(self._session)
        self._scores = _scores_output(self._session.get_outputs(), len(self.labels))
        self._embedding = _embedding_output(self._session.get_outputs(), self._scores)
        _check_fit(self._preprocessing, self._input)

    @property
    def has_embedding(self) -> bool:
        """Whether the model gives an embedding."""
        return self._embedding is not None

    def choose(self, pictures: Sequence[pyvips.Image]) -> pyvips.Image:
        """Return the smallest of several sizes of one picture that need not be enlarged; else the largest."""
        ordered = sorted(pictures, key=lambda picture: picture.width * picture.height)
        return next((picture for picture in ordered if self._suffices(picture)), ordered[-1])

    def look(self, picture: pyvips.Image) -> Findings:
        """Score an 8-bit picture. Raises UnusableModelError where the graph does not give what it is to give."""
        outputs = [self._scores, *([self._embedding] if self._embedding else [])]
        tensor = self._tensor(picture)
        try:
            scores, *embedding = self._session.run(outputs, {self._input.name: tensor})
        except Exception as error:  # onnxruntime's own types have no common base
            message = f"the graph does not run: {' '.join(str(error).split())[:300]}"
            raise UnusableModelError(message) from error
        return Findings(self._named(scores), _unit(embedding[0]) if embedding else None)

    def _suffices(self, picture: pyvips.Image) -> bool:
        wanted = self._preprocessing.resized(dimensions(picture))
        return bool(picture.width >= wanted.width and picture.height >= wanted.height)

    def _tensor(self, picture: pyvips.Image) -> NDArray[Any]:
        import numpy as np

        pixels: NDArray[Any] = self._preprocessing.pixels(picture)
        if self._input.kind != "uint8":
            pixels = self._preprocessing.numbers(pixels).astype(self._input.kind, copy=False)
        if not self._input.channels_last:
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels[np.newaxis])

    def _named(self, output: NDArray[Any]) -> tuple[LabelScore, ...]:
        if output.shape != (1, len(self.labels)):
            raise UnusableModelError(
                f"{self._scores} has the shape {output.shape} for one picture, "
                f"and config.json has {len(self.labels)} labels: they have to be as many"
            )
        scores = _activated(output[0], self._activation)
        pairs = zip(self.labels, scores.tolist(), strict=True)
        return tuple(sorted(map(LabelScore._make, pairs), key=itemgetter(1), reverse=True))


@lru_cache(maxsize=_MOST_LOADED)
def load(folder: Path) -> Classifier:
    """Return the classifier in a folder whose content never changes, loaded once. Raises UnusableModelError."""
    return Classifier(folder)


def _labels(config: ModelConfig) -> list[str]:
    try:
        return config.labels
    except ValueError as error:
        raise UnusableModelError(f"{model_config.FILE}: {error}") from error


def _input(session: InferenceSession) -> _Input:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise UnusableModelError(f"the graph has the inputs {names}: a classifier of pictures has one")
    [only] = inputs
    shape, kind = list(only.shape), _TYPES.get(only.type)
    if kind is None or len(shape) != 4:
        raise UnusableModelError(
            f"the input {only.name} is {only.type} of the shape {shape}: pictures are float, float16 or uint8 in four "
            "dimensions"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise UnusableModelError(f"the graph takes {shape[0]} pictures at once: export it for one, or for any number")
    return _oriented(only.name, kind, shape[1:])


def _oriented(name: str, kind: str, shape: list[int | str]) -> _Input:
    """Tell which dimension is that of the three channels."""
    if shape[0] != 3 and shape[2] != 3:
        raise UnusableModelError(f"the input {name} has the shape {shape} after the first: three channels are in none")
    channels_last = shape[0] != 3
    sides = shape[:2] if channels_last else shape[1:]
    height, width = (side if isinstance(side, int) else None for side in sides)
    return _Input(name, kind, channels_last, height, width)


def _scores_output(outputs: Sequence[NodeArg], labels: int) -> str:
    flat = [output for output in outputs if len(output.shape) == 2 and output.shape[1] in (labels, None)]
    flat += [output for output in outputs if len(output.shape) == 2 and isinstance(output.shape[1], str)]
    if not flat:
        shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
        raise UnusableModelError(
            f"no output of the graph has a number for each of the {labels} labels in config.json ({shapes}): "
            "id2label has to be that of this model"
        )
    return str(next((output for name in _SCORES for output in flat if output.name == name), flat[0]).name)


def _embedding_output(outputs: Sequence[NodeArg], scores: str) -> str | None:
    flat = [output.name for output in outputs if len(output.shape) == 2 and output.name != scores]
    named = [name for name in _EMBEDDINGS if name in flat]
    return next(iter(named or (flat if len(flat) == 1 else [])), None)


def _check_fit(preparation: Preprocessing, wanted: _Input) -> None:
    if wanted.kind == "uint8" and not preparation.keeps_numbers:
        raise UnusableModelError(
            "the graph takes whole numbers, 0 to 255: do_rescale and do_normalize have to be false in "
            f"{preprocessing.FILE}"
        )
    made = {preparation.prepared(picture) for picture in (Dimensions(640, 480), Dimensions(480, 640))}
    for size in made:
        if size.height != (wanted.height or size.height) or size.width != (wanted.width or size.width):
            raise UnusableModelError(
                f"the graph takes pictures of {wanted.width} × {wanted.height} pixels, and {preprocessing.FILE} makes "
                f"{size.width} × {size.height}: both have to be of one model"
            )


def _activated(numbers: NDArray[Any], activation: Activation) -> NDArray[np.float32]:
    import numpy as np

    numbers = numbers.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise UnusableModelError("the graph gives numbers that are infinite or none: its weights do not suit it")
    match activation:
        case Activation.SOFTMAX:
            powers = np.exp(numbers - numbers.max())
            return np.asarray(powers / powers.sum(), np.float32)
        case Activation.SIGMOID:
            return np.asarray(1 / (1 + np.exp(-numbers)), np.float32)
        case Activation.NONE:
            if not (numbers.min() >= -1e-3 and numbers.max() <= 1 + 1e-3):
                raise UnusableModelError(
                    f"the graph's numbers ({numbers.min():.3g} to {numbers.max():.3g}) are no scores: "
                    "function_to_apply in config.json has to be softmax or sigmoid"
                )
            return np.asarray(numbers.clip(0, 1), np.float32)


def _unit(output: NDArray[Any]) -> tuple[float, ...]:
    import numpy as np

    vector = output.reshape(-1).astype(np.float32)
    return tuple((vector / max(float(np.linalg.norm(vector)), 1e-12)).tolist())
