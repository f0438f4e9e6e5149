"""Verifies what the models of the checks have made of a photo: names, versions, labels and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from infra.demo.inventory import METADATA, Inventory, PhotoResult
from workers.checks.verdict import CheckVerdict, LabelScore, default_thresholds, judge, worst_of
from workers.handlers.photo.document import CheckResult, PhotoDocument
from workers.handlers.photo.options import PhotoOptions


def problems_of_checks(result: PhotoResult, inventory: Inventory) -> Iterator[str]:
    """Everything that is wrong with the checks of a photo that is done, a sentence each."""
    stored = result.outputs.get(METADATA)
    if not stored or not inventory.options.checks:
        return
    try:
        document = PhotoDocument.model_validate_json(stored.content)
    except ValidationError:
        yield f"{METADATA}: does not follow its schema"
        return
    names = [check.name for check in document.checks]
    if names != list(inventory.options.checks):
        yield f"{METADATA}: was checked by {', '.join(names) or 'no model'}"
    for check in document.checks:
        yield from (f"{METADATA}: {check.name}: {problem}" for problem in _of_check(check, inventory))
    yield from _of_verdict(document, inventory.options)
    yield from _of_manifest(result, document, inventory.models)


def _of_check(check: CheckResult, inventory: Inventory) -> Iterator[str]:
    if (root := inventory.models.get(check.name)) and check.root != root:
        yield f"has the version {check.root}, published was {root}"
    if not check.labels:
        yield "has no label"
    if [label.score for label in check.labels] != sorted((label.score for label in check.labels), reverse=True):
        yield "the surest label is not the first"
    scores = [LabelScore(label.label, label.score) for label in check.labels]
    thresholds = inventory.options.thresholds.get(check.name)
    judged = judge(scores, default_thresholds(each.label for each in scores) if thresholds is None else thresholds)
    if judged.verdict is not check.verdict:
        yield f"says {check.verdict}, by its scores it is {judged.verdict}"


def _of_verdict(document: PhotoDocument, options: PhotoOptions) -> Iterator[str]:
    if document.verdict is not worst_of(check.verdict for check in document.checks):
        yield f"{METADATA}: the verdict {document.verdict} is not the worst of its checks"
    elif not options.thresholds and document.verdict is not CheckVerdict.OK:
        yield f"{METADATA}: a drawn landscape is {document.verdict}"


def _of_manifest(result: PhotoResult, document: PhotoDocument, roots: Mapping[str, str]) -> Iterator[str]:
    manifest = result.manifest
    if manifest is None:
        return
    if manifest.labels.get("verdict") != document.verdict:
        yield f"result.json: the verdict is {manifest.labels.get('verdict')}, that of {METADATA} {document.verdict}"
    if roots and manifest.models != roots:
        yield f"result.json: names the models {dict(manifest.models)}, published were {dict(roots)}"
