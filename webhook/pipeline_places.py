"""Refuses pipelines whose inputs, outputs and trash lie where they must not: in each other."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webhook.config import Pipeline


def refuse_loops(pipelines: Mapping[str, Pipeline]) -> None:
    """Refuse pipelines that feed each other in a circle, which would never end. Raises ValueError."""
    writers = {
        name: [other for other, pipeline in pipelines.items() if pipeline.output.overlaps(one.input)]
        for name, one in pipelines.items()
    }
    try:
        TopologicalSorter(writers).prepare()
    except CycleError as error:
        raise ValueError(_loop_message(error.args[1], pipelines)) from None


def refuse_trash_in_use(pipelines: Mapping[str, Pipeline]) -> None:
    """Refuse a trash among inputs or results: what lies there must not be processed. Raises ValueError."""
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
