"""The verdict on a picture: the worst of its labels, and none where nobody asked for one."""

from __future__ import annotations

import pytest

from workers.checks.verdict import CheckVerdict, Judgement, LabelScore, Threshold, default_thresholds, judge, worst_of

THRESHOLDS = {"NSFW": Threshold(), "NSFL": Threshold(review=0.2, refuse=0.5)}


def judged(**scores: float) -> Judgement:
    return judge([LabelScore(*each) for each in scores.items()], THRESHOLDS)


@pytest.mark.parametrize(
    ("scores", "verdict", "because"),
    [
        ({"NSFW": 0.3499, "NSFL": 0.1999, "SFW": 0.99}, CheckVerdict.OK, ()),
        ({"NSFW": 0.35, "NSFL": 0.1}, CheckVerdict.REVIEW, ("NSFW",)),
        ({"NSFW": 0.8499, "NSFL": 0.2}, CheckVerdict.REVIEW, ("NSFW", "NSFL")),
        ({"NSFW": 0.85, "NSFL": 0.2}, CheckVerdict.REFUSED, ("NSFW",)),
        ({"NSFW": 0.1, "NSFL": 0.5}, CheckVerdict.REFUSED, ("NSFL",)),
    ],
)
def test_the_worst_label_decides(scores: dict[str, float], verdict: CheckVerdict, because: tuple[str, ...]) -> None:
    assert judged(**scores) == Judgement(verdict, because)


def test_two_labels_of_one_name_are_judged_by_the_higher_score() -> None:
    scores = [LabelScore("NSFW", 0.9), LabelScore("NSFW", 0.1)]
    for each in (scores, scores[::-1]):
        assert judge(each, {"NSFW": Threshold()}) == Judgement(CheckVerdict.REFUSED, ("NSFW",))


def test_without_a_threshold_there_is_no_verdict() -> None:
    assert judge([LabelScore("cat", 1)], {}) == Judgement(None)
    assert worst_of([None, CheckVerdict.REVIEW, CheckVerdict.OK]) is CheckVerdict.REVIEW
    assert worst_of([None]) is None


def test_default_thresholds_are_those_of_unwanted_labels_in_any_case() -> None:
    assert default_thresholds(["nsfw", "NSFL", "SFW", "cat"]) == {"nsfw": Threshold(), "NSFL": Threshold()}
    assert (Threshold().review, Threshold().refuse) == (0.35, 0.85)


@pytest.mark.parametrize("fields", [{"review": 0.9}, {"review": -0.1}, {"refuse": 1.1}, {"withhold": 0.5}])
def test_thresholds_out_of_order_or_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Threshold.model_validate(fields)
