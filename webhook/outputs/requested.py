"""Checks what a lease asks to upload, and remembers it: names, sizes and content types, before a URL is signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from webhook.config import Pipeline
from webhook.content_types import is_allowed
from workers import manifest
from workers.protocol import MANIFEST, MAX_OUTPUTS, OutputRequest, OutputsRequest

_MOST_LEASES = 10_000
"""Leases whose requests one process remembers."""
_MOST_NAMES = MAX_OUTPUTS + 1


class OutputsRefused(Exception):
    """A lease asks for what its pipeline does not allow. ``reason`` is a code, the message is for the uploader."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class RequestedOutputs:
    """What each lease has asked for, by fencing token: its pipeline, and names and announced sizes of the outputs."""

    _of_leases: dict[int, tuple[Pipeline, dict[str, int]]] = field(default_factory=dict)

    def add(self, pipeline: Pipeline, request: OutputsRequest) -> None:
        """Note what a live lease asks for. Nothing is noted where it raises OutputsRefused."""
        for output in request.outputs:
            _check_type(pipeline, output)
        _, earlier = self._of_leases.get(request.token, (pipeline, {}))
        sizes = {**earlier, **{output.name: output.size for output in request.outputs}}
        check_sizes(pipeline, sizes)
        if request.token not in self._of_leases and len(self._of_leases) >= _MOST_LEASES:
            # The oldest is forgotten: most likely its lease has ended without a settlement.
            del self._of_leases[next(iter(self._of_leases))]
        self._of_leases[request.token] = pipeline, sizes

    def forget(self, token: int) -> Pipeline | None:
        """Forget a lease that was settled. Returns its pipeline; None where it has asked for nothing here."""
        pipeline, _ = self._of_leases.pop(token, (None, {}))
        return pipeline


def _check_type(pipeline: Pipeline, output: OutputRequest) -> None:
    allowed = pipeline.allowed_content_types
    if output.name == MANIFEST and output.content_type == manifest.CONTENT_TYPE:
        return
    if not is_allowed(output.content_type, allowed):
        raise OutputsRefused(
            "content-type",
            f"The output {output.name} is of {output.content_type}, and the pipeline makes only {', '.join(allowed)}. "
            "If it should make others too, name them in its content_types.",
        )


def check_sizes(pipeline: Pipeline, sizes: Mapping[str, int]) -> None:
    """Check number and sizes, in bytes by name, of one object's outputs. Raises OutputsRefused."""
    if len(sizes) > _MOST_NAMES:
        raise OutputsRefused("too-many-outputs", f"More than {MAX_OUTPUTS} outputs and the manifest for one object.")
    limit = pipeline.limits.output_bytes
    if sum(size for name, size in sizes.items() if name != MANIFEST) > limit:
        raise OutputsRefused("output-too-large", f"The outputs have more than {limit} bytes together.")
    if sizes.get(MANIFEST, 0) > 2 * manifest.MAX_BYTES:
        raise OutputsRefused("output-too-large", f"The manifest has more than {2 * manifest.MAX_BYTES} bytes.")
