"""Looks at a photo's pictures with the models of the pipeline, and decides what becomes of the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyvips

from workers.checks import classifier
from workers.checks.classifier import Classifier, Findings
from workers.checks.verdict import CheckVerdict, LabelScore, Threshold, default_thresholds, judge, worst_of
from workers.handlers import HandlerError, HandlerUnavailable
from workers.handlers.photo import pdq, pictures
from workers.handlers.photo.document import CheckResult, PictureState, ScoredLabel
from workers.handlers.photo.options import LOOKED_AT_SIZE, PhotoOptions
from workers.handlers.photo.sharpness import sharpness
from workers.inference import runtime
from workers.inference.errors import InferenceLost, UnusableModelError

_LISTED = 10
"""Labels of a check that are listed without a threshold."""
_DIGITS = 4
_DIGITS_OF_EMBEDDING = 5
_STATES = {"publish": PictureState.PUBLISHED, "blur": PictureState.BLURRED, "withhold": PictureState.WITHHELD}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a photo."""

    pictures: PictureState
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of ``metadata.json``: those that the options ask for."""


def inspect(
    images: Sequence[pyvips.Image],
    options: PhotoOptions,
    models: Mapping[str, Path],
    roots: Mapping[str, str] | None = None,
) -> Inspection:
    """Look at one photo in several sizes, the last one the largest. Raises HandlerUnavailable for an unusable model.

    ``roots`` names the versions of the models, as far as they have any.
    """
    fields: dict[str, Any] = {}
    if options.pdq or options.sharpness:
        looked_at = pictures.within(images[-1], LOOKED_AT_SIZE)
        fields |= {"pdq": pdq.pdq_hash(looked_at)} if options.pdq else {}
        fields |= {"sharpness": round(sharpness(looked_at), 2)} if options.sharpness else {}
    if not options.checks:
        return Inspection(PictureState.PUBLISHED, fields)
    return _checked(images, options, models, roots or {}, fields)


def load_libraries(options: PhotoOptions) -> None:
    """Load libraries ahead of the first photo. Raises ImportError."""
    if options.pdq:
        pdq.load()
    if options.checks and runtime.available():
        runtime.load_library("numpy")


def load_models(options: PhotoOptions, models: Mapping[str, Path]) -> None:
    """Load models ahead of a photo. Raises HandlerUnavailable."""
    for name in options.checks:
        _classifier(name, models)


def _checked(
    images: Sequence[pyvips.Image],
    options: PhotoOptions,
    models: Mapping[str, Path],
    roots: Mapping[str, str],
    fields: dict[str, Any],
) -> Inspection:
    # From the picture that lists, hash and sharpness are of, where a model is content with it: less to read.
    sizes = [*images, *([] if LOOKED_AT_SIZE in options.sizes else [pictures.within(images[-1], LOOKED_AT_SIZE)])]
    checks: list[CheckResult] = []
    for name in options.checks:
        model = _classifier(name, models)
        findings = _look(name, model, sizes)
        version = {"root": roots[name]} if name in roots else {}
        checks.append(_result(name, model, findings, options.thresholds.get(name)).model_copy(update=version))
        if name == options.embedding:
            fields["embedding"] = _embedding(name, findings)
    verdict = worst_of(check.verdict for check in checks)
    state = _STATES[options.on_refused] if verdict is CheckVerdict.REFUSED else PictureState.PUBLISHED
    return Inspection(state, {**fields, "verdict": verdict, "pictures": state, "checks": checks})


def _classifier(name: str, models: Mapping[str, Path]) -> Classifier:
    if name not in models:
        raise HandlerUnavailable(f"The check {name} has no model here: name {name} among the pipeline's models.")
    if not runtime.available():
        raise HandlerUnavailable("Checks need onnxruntime, which is not installed: pip install 'yurt[checks]'.")
    try:
        return classifier.load(models[name])
    except UnusableModelError as error:
        raise _unusable(name, error) from error
    except InferenceLost as error:
        raise _lost(name, error) from error


def _look(name: str, model: Classifier, sizes: Sequence[pyvips.Image]) -> Findings:
    try:
        return model.look(model.choose(sizes))
    except UnusableModelError as error:
        raise _unusable(name, error) from error
    except InferenceLost as error:
        raise _lost(name, error) from error


def _unusable(name: str, error: UnusableModelError) -> HandlerUnavailable:
    return HandlerUnavailable(f"The model {name} cannot be used: {error}.")


def _lost(name: str, error: InferenceLost) -> HandlerError:
    """Return the error of a photo whose model has ended its process, as it would be had it ended the photo's own."""
    return HandlerError("crashed", f"The model {name} gave no answer: {error}.", retry=True)


def _result(
    name: str, model: Classifier, findings: Findings, thresholds: Mapping[str, Threshold] | None
) -> CheckResult:
    if thresholds is None:
        thresholds = default_thresholds(model.labels)
    elif unknown := set(thresholds) - set(model.labels):
        known = ", ".join(model.labels[:_LISTED])
        raise HandlerUnavailable(
            f"The model {name} has no label {min(unknown)}, for which there is a threshold: {known}."
        )
    judgement = judge(findings.scores, thresholds)
    listed = [each for place, each in enumerate(findings.scores) if place < _LISTED or each.label in thresholds]
    labels = [_scored(each) for each in listed]
    return CheckResult(name=name, verdict=judgement.verdict, because=list(judgement.because), labels=labels)


def _scored(each: LabelScore) -> ScoredLabel:
    box = {"box": [round(share, _DIGITS) for share in each.box]} if each.box else {}
    return ScoredLabel(label=each.label, score=round(each.score, _DIGITS), **box)


def _embedding(name: str, findings: Findings) -> list[float]:
    if findings.embedding is None:
        raise HandlerUnavailable(f"The model {name} gives no embedding: leave embedding out, or name another check.")
    return [round(value, _DIGITS_OF_EMBEDDING) for value in findings.embedding]
