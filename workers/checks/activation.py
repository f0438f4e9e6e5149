"""Makes scores between 0 and 1 of a graph's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.checks.model_config import Activation
from workers.inference.errors import UnusableModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SLACK = 1e-3
"""What rounding may put a score outside of 0 to 1."""


def scores(numbers: NDArray[Any], activation: Activation) -> NDArray[np.float32]:
    """Return the scores; of softmax those of the last dimension add up to 1.

    Raises UnusableModelError for what is no number: no threshold is below it, so it would pass for harmless.
    """
    import numpy as np

    numbers = numbers.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise UnusableModelError("the graph gives numbers that are infinite or none: its weights do not suit it")
    match activation:
        case Activation.SOFTMAX:
            powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
        case Activation.SIGMOID:
            # The same as 1 / (1 + exp(-x)), which overflows.
            return np.asarray(0.5 * (1 + np.tanh(0.5 * numbers)), np.float32)
        case Activation.NONE:
            return _as_they_are(numbers)


def _as_they_are(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    if numbers.min() < -_SLACK or numbers.max() > 1 + _SLACK:
        raise UnusableModelError(
            f"the graph's numbers ({numbers.min():.3g} to {numbers.max():.3g}) are no scores: "
            "function_to_apply in config.json has to be softmax or sigmoid"
        )
    return numbers.clip(0, 1)
