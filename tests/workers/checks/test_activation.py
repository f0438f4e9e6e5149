"""Scores of a graph's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from workers.checks.activation import scores
from workers.checks.model_config import Activation
from workers.inference.errors import UnusableModelError

ROWS = np.array([[1.0, 0.0, -1.0], [200.0, -200.0, 0.0]])


def test_softmax_adds_up_to_1_in_each_row() -> None:
    made = scores(ROWS, Activation.SOFTMAX)
    assert made.sum(axis=1) == pytest.approx([1, 1])
    assert made[0] == pytest.approx([0.6652, 0.2447, 0.0900], abs=1e-4)


def test_sigmoid() -> None:
    assert scores(ROWS, Activation.SIGMOID)[0] == pytest.approx([0.7311, 0.5, 0.2689], abs=1e-4)
    assert scores(ROWS, Activation.SIGMOID)[1] == pytest.approx([1, 0, 0.5])


def test_scores_stay_as_they_are() -> None:
    assert scores(np.array([-0.0005, 0.25, 1.0005]), Activation.NONE) == pytest.approx([0, 0.25, 1])
    for numbers in ([0.5, 1.5], [-0.5, 0.5]):
        with pytest.raises(UnusableModelError, match="are no scores: function_to_apply"):
            scores(np.array(numbers), Activation.NONE)


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_score(activation: Activation, number: float) -> None:
    with pytest.raises(UnusableModelError, match="infinite or none"):
        scores(np.array([0.1, number]), activation)
