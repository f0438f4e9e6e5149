"""Reads what a detector has found, as those of the DETR family give it: the surest place of each label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.checks import activation
from workers.checks.model_config import Activation
from workers.checks.verdict import LabelScore
from workers.inference.errors import UnusableModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def surest(
    labels: list[str], numbers: NDArray[Any], boxes: NDArray[Any], function: Activation | None
) -> list[LabelScore]:
    """Return each label with the score and the box of its surest place.

    ``numbers`` has a row for each place that the model has looked at, with one for each label, and a last one for "no
    object" or none. ``boxes`` has the place's middle, width and height. Raises UnusableModelError.
    """
    if numbers.ndim != 3 or boxes.shape != (1, numbers.shape[1], 4) or 0 in numbers.shape:
        raise UnusableModelError(f"{numbers.shape} and {boxes.shape} are no shapes of labels and boxes of one picture")
    has_none = numbers.shape[2] == len(labels) + 1
    if not has_none and numbers.shape[2] != len(labels):
        raise UnusableModelError(
            f"the graph has {numbers.shape[2]} numbers a box, and config.json {len(labels)} labels: "
            "they have to be as many, or one more for no object"
        )
    scores = activation.scores(numbers[0], function or (Activation.SOFTMAX if has_none else Activation.SIGMOID))
    places = scores[:, : len(labels)].argmax(axis=0).tolist()
    found = zip(labels, places, strict=True)
    return [LabelScore(label, float(scores[at, n]), _corners(boxes[0, at])) for n, (label, at) in enumerate(found)]


def _corners(box: NDArray[Any]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, box)
    left, top, right, bottom = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return _inside(left), _inside(top), _inside(right), _inside(bottom)


def _inside(share: float) -> float:
    """Within the picture; what is no number is its edge."""
    return min(1.0, max(0.0, share))
