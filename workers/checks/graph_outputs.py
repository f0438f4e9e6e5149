"""Tells a graph's outputs apart: scores, boxes, an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.inference.errors import UnusableModelError

if TYPE_CHECKING:
    from onnxruntime import NodeArg

    from workers.inference.wire import GraphNode

_SCORES = ("logits", "scores", "probabilities", "output")
_EMBEDDINGS = ("embedding", "embeddings", "image_embeds", "pooler_output")
_BOXES, _LABELS_OF_BOXES = "pred_boxes", "logits"
"""Names that Hugging Face's detectors have in common."""


@dataclass(frozen=True, slots=True)
class GraphOutputs:
    """The names of the outputs that are read."""

    scores: str
    boxes: str | None
    """Of a detector alone."""
    embedding: str | None

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [name for name in (self.scores, self.boxes, self.embedding) if name]


def find(outputs: Sequence[NodeArg | GraphNode], labels: int) -> GraphOutputs:
    """Tell the outputs by names and shapes. Raises UnusableModelError where none has a number for each label."""
    if {_BOXES, _LABELS_OF_BOXES} <= {output.name for output in outputs}:
        return GraphOutputs(_LABELS_OF_BOXES, _BOXES, None)
    flat = [output for output in outputs if len(output.shape) == 2]
    fitting = [output.name for output in flat if output.shape[1] == labels]
    # Where the graph does not say how many numbers there are, they are counted when it has run.
    fitting += [output.name for output in flat if not isinstance(output.shape[1], int)]
    if not fitting:
        shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
        raise UnusableModelError(
            f"no output of the graph has a number for each of the {labels} labels in config.json ({shapes}): "
            "id2label has to be that of this model"
        )
    scores = next((name for name in _SCORES if name in fitting), fitting[0])
    return GraphOutputs(scores, None, _embedding([output.name for output in flat if output.name != scores]))


def _embedding(others: list[str]) -> str | None:
    named = [name for name in _EMBEDDINGS if name in others]
    return next(iter(named or (others if len(others) == 1 else [])), None)
