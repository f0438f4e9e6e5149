"""Finds a graph's inputs, and makes what they are given of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyvips

from workers.checks import preprocessing
from workers.checks.preprocessing import Dimensions, Preprocessing
from workers.inference.errors import UnusableModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import NodeArg

    from workers.inference.wire import GraphNode

_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_MASK, _MASK_TYPES = "pixel_mask", {"tensor(int64)": "int64", "tensor(bool)": "bool", "tensor(float)": "float32"}


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """The input for a picture, and the mask that some detectors want beside it."""

    name: str
    kind: str
    """Type of its numbers, as numpy calls it."""
    channels_last: bool
    height: int | None
    width: int | None
    """None: any."""
    mask_kind: str | None = None
    """Type of the numbers of the mask, where there is one. It says which pixels are the picture's: all."""

    def tensors(self, preparation: Preprocessing, picture: pyvips.Image) -> dict[str, NDArray[Any]]:
        """Return what the graph is given for one 8-bit picture, by input."""
        import numpy as np

        pixels: NDArray[Any] = preparation.pixels(picture)
        mask = {_MASK: np.ones((1, *pixels.shape[:2]), self.mask_kind)} if self.mask_kind else {}
        if self.kind != "uint8":
            pixels = preparation.numbers(pixels).astype(self.kind, copy=False)
        if not self.channels_last:
            pixels = pixels.transpose(2, 0, 1)
        return {self.name: np.ascontiguousarray(pixels[np.newaxis]), **mask}

    def check(self, preparation: Preprocessing) -> None:
        """Raise UnusableModelError where a picture is prepared otherwise than the graph wants it."""
        if self.kind == "uint8" and not preparation.keeps_numbers:
            raise UnusableModelError(
                "the graph takes whole numbers, 0 to 255: do_rescale and do_normalize have to be false in "
                f"{preprocessing.FILE}"
            )
        for picture in (Dimensions(640, 480), Dimensions(480, 640)):
            size = preparation.prepared(picture)
            if size.height != (self.height or size.height) or size.width != (self.width or size.width):
                raise UnusableModelError(
                    f"the graph takes pictures of {self.width} × {self.height} pixels, and {preprocessing.FILE} makes "
                    f"{size.width} × {size.height}: both have to be of one model"
                )


def find(inputs: Sequence[NodeArg | GraphNode]) -> GraphInputs:
    """Tell the inputs by names, types and shapes. Raises UnusableModelError where they are not for one picture."""
    masks = [each for each in inputs if each.name == _MASK]
    others = [each for each in inputs if each.name != _MASK]
    if len(others) != 1:
        names = ", ".join(each.name for each in inputs)
        raise UnusableModelError(f"the graph has the inputs {names}: it should have one, for a picture")
    [only] = others
    shape, kind = list(only.shape), _TYPES.get(only.type)
    if kind is None or len(shape) != 4:
        raise UnusableModelError(
            f"the input {only.name} is {only.type} of the shape {shape}: pictures are float, float16 or uint8 in four "
            "dimensions"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise UnusableModelError(f"the graph takes {shape[0]} pictures at once: export it for one, or for any number")
    return _oriented(only.name, kind, shape[1:], _mask_kind(masks))


def _oriented(name: str, kind: str, shape: list[int | str], mask_kind: str | None) -> GraphInputs:
    """Tell which dimension is that of the three channels."""
    if shape[0] != 3 and shape[2] != 3:
        raise UnusableModelError(f"the input {name} has the shape {shape} after the first: three channels are in none")
    channels_last = shape[0] != 3
    sides = shape[:2] if channels_last else shape[1:]
    height, width = (side if isinstance(side, int) else None for side in sides)
    return GraphInputs(name, kind, channels_last, height, width, mask_kind)


def _mask_kind(masks: Sequence[NodeArg | GraphNode]) -> str | None:
    if not masks:
        return None
    if masks[0].type not in _MASK_TYPES:
        raise UnusableModelError(f"the input {_MASK} is {masks[0].type}: it should be int64, bool or float")
    return _MASK_TYPES[masks[0].type]
