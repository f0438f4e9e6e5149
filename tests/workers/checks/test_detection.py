"""What a detector has found."""

from __future__ import annotations

import numpy as np
import pytest

from workers.checks.detection import surest
from workers.checks.model_config import Activation
from workers.inference.errors import UnusableModelError

LABELS = ["cat", "dog"]
BOXES = np.array([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.4, 0.4]]])


def test_with_a_number_for_no_object_it_is_softmax() -> None:
    cat, dog = surest(LABELS, np.array([[[4.0, 0, 0], [0, 1.0, 4.0]]]), BOXES, None)
    assert [cat.label, dog.label] == LABELS
    assert [cat.score, dog.score] == pytest.approx([0.9647, 0.0466], abs=1e-4)
    assert cat.box == pytest.approx((0.4, 0.3, 0.6, 0.7))
    assert dog.box == pytest.approx((0, 0.7, 0.3, 1))


def test_without_one_it_is_sigmoid_unless_the_model_says_otherwise() -> None:
    numbers = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    assert [each.score for each in surest(LABELS, numbers, BOXES, None)] == pytest.approx([0.7311] * 2, abs=1e-4)
    assert [each.score for each in surest(LABELS, numbers, BOXES, Activation.NONE)] == [1, 1]


@pytest.mark.parametrize(
    ("numbers", "boxes", "why"),
    [
        ((1, 2, 5), (1, 2, 4), "5 numbers a box, and config.json 2 labels"),
        ((1, 2, 1), (1, 2, 4), "1 numbers a box, and config.json 2 labels"),
        ((1, 2, 2), (1, 3, 4), "no shapes of labels and boxes"),
        ((1, 2, 2), (1, 2, 5), "no shapes of labels and boxes"),
        ((2, 2), (1, 2, 4), "no shapes of labels and boxes"),
        ((1, 0, 2), (1, 0, 4), "no shapes of labels and boxes"),
    ],
)
def test_shapes_that_do_not_fit(numbers: tuple[int, ...], boxes: tuple[int, ...], why: str) -> None:
    with pytest.raises(UnusableModelError, match=why):
        surest(LABELS, np.zeros(numbers), np.zeros(boxes), None)


def test_a_box_is_within_the_picture_whatever_the_graph_gives() -> None:
    boxes = np.array([[[np.nan, np.inf, 3, -1]]])
    [cat] = surest(["cat"], np.zeros((1, 1, 1)), boxes, None)
    assert cat.box is not None
    assert all(0 <= share <= 1 for share in cat.box)
