"""Judges a picture by the scores of its labels: ok, to be reviewed by a person, or refused. Loads no library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class CheckVerdict(StrEnum):
    """From the best to the worst."""

    OK = "ok"
    REVIEW = "review"
    REFUSED = "refused"


class Threshold(BaseModel):
    """The scores of one label from which on a picture is to be reviewed, and is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    review: Share = 0.35
    refuse: Share = 0.85

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.review > self.refuse:
            raise ValueError("review is the lower one: it cannot be above refuse")
        return self


class LabelScore(NamedTuple):
    """How sure a model is of one label."""

    label: str
    score: float
    """0 to 1."""
    box: tuple[float, float, float, float] | None = None
    """Of a detector: left, top, right and bottom of the surest place, as shares of width and height."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the thresholds make of a picture's scores."""

    verdict: CheckVerdict | None
    """None where no label has a threshold."""
    because: tuple[str, ...] = ()
    """The labels that reached the verdict's threshold."""


_UNWANTED = frozenset({"nsfw", "nsfl", "porn", "hentai", "gore", "explicit"})
"""Labels that have thresholds where the options give none, in lower case."""
_ORDER = tuple(CheckVerdict)


def default_thresholds(labels: Iterable[str]) -> dict[str, Threshold]:
    """Return the thresholds of a model for which the options give none."""
    return {label: Threshold() for label in labels if label.lower() in _UNWANTED}


def judge(scores: Sequence[LabelScore], thresholds: Mapping[str, Threshold]) -> Judgement:
    """Return the worst verdict of all labels with a threshold."""
    if not thresholds:
        return Judgement(None)
    verdicts = [
        (each.label, _verdict(each.score, thresholds[each.label])) for each in scores if each.label in thresholds
    ]
    worst = max((verdict for _, verdict in verdicts), key=_ORDER.index)
    because = dict.fromkeys(label for label, verdict in verdicts if verdict is worst is not CheckVerdict.OK)
    return Judgement(worst, tuple(because))


def worst_of(verdicts: Iterable[CheckVerdict | None]) -> CheckVerdict | None:
    """Return the worst; None where there is none."""
    return max((verdict for verdict in verdicts if verdict is not None), key=_ORDER.index, default=None)


def _verdict(score: float, threshold: Threshold) -> CheckVerdict:
    if score >= threshold.refuse:
        return CheckVerdict.REFUSED
    return CheckVerdict.REVIEW if score >= threshold.review else CheckVerdict.OK
