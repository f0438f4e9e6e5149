"""Refuses pipelines whose places feed or overwrite each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webhook.config import Pipeline, Place


def refuse_conflicts(pipelines: Mapping[str, Pipeline]) -> None:
    """Raise ValueError where pipelines feed each other in a circle, or write into each other's places."""
    _refuse_loops(pipelines)
    _refuse_trash_in_use(pipelines)
    _refuse_shared_outputs(pipelines)


def overlaps_of_answers(answers: Place | None, pipelines: Mapping[str, Pipeline]) -> Iterator[str]:
    """Say which pipelines would work on answers of services, or write among them. ``answers``: where these are put."""
    for name, pipeline in pipelines.items() if answers else ():
        for kind, place in (("input", pipeline.input), ("output", pipeline.output)):
            if answers and answers.overlaps(place):
                yield (
                    f"pipelines.{name}.{kind} ({place}) overlaps server.answers ({answers}), where answers of services "
                    "are put: use another bucket, or a prefix outside of it"
                )


def _refuse_shared_outputs(pipelines: Mapping[str, Pipeline]) -> None:
    """The workers of one pool must not reach the results of another."""
    for (name, one), (other, two) in combinations(pipelines.items(), 2):
        if one.pool != two.pool and one.output.overlaps(two.output):
            raise ValueError(
                f"pipelines.{name}.output ({one.output}) and pipelines.{other}.output ({two.output}) overlap, and the "
                f"two run on different pools ({one.pool}, {two.pool}): workers of the one could replace results of the "
                "other. Write one of them to another bucket, or to a prefix outside of the other's; or run both on one "
                "pool"
            )


def _refuse_loops(pipelines: Mapping[str, Pipeline]) -> None:
    """A pipeline whose output another watches feeds it; a circle of such pipelines would never end."""
    writers = {
        name: [other for other, pipeline in pipelines.items() if pipeline.output.overlaps(one.input)]
        for name, one in pipelines.items()
    }
    try:
        TopologicalSorter(writers).prepare()
    except CycleError as error:
        raise ValueError(_loop_message(error.args[1], pipelines)) from None


def _refuse_trash_in_use(pipelines: Mapping[str, Pipeline]) -> None:
    """What is moved to the trash must neither be worked on nor lie among results."""
    for name, pipeline in pipelines.items():
        for other, used in pipelines.items() if pipeline.trash else ():
            for kind, place in (("input", used.input), ("output", used.output)):
                if pipeline.trash and pipeline.trash.overlaps(place):
                    raise ValueError(
                        f"pipelines.{name}.trash ({pipeline.trash}) overlaps pipelines.{other}.{kind} ({place}): "
                        "use another bucket, or a prefix outside of it"
                    )


def _loop_message(circle: list[str], pipelines: Mapping[str, Pipeline]) -> str:
    first = pipelines[circle[0]]
    if len(circle) == 2:
        return (
            f"pipelines.{circle[0]}.output ({first.output}) lies in what the pipeline watches ({first.input}): every "
            "result would be a new input, for ever. Write to another bucket, or to a prefix outside of the input's"
        )
    return (
        f"pipelines.{circle[0]}.output ({first.output}) comes back to it: {' → '.join(circle)}, each watching what "
        "the one before writes, for ever. Write one of the outputs elsewhere"
    )
