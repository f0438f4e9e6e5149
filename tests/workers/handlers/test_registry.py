"""The kinds of handlers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import pytest

from tests.workers.checks.graphs import write_model
from workers import protocol
from workers.handlers import HandlerError, HandlerUnavailable, registry
from workers.handlers.photo.options import PhotoOptions
from workers.inference.address import INFERENCE


def test_every_kind_of_the_protocol_is_there() -> None:
    assert set(get_args(protocol.Handler.model_fields["kind"].annotation)) == set(registry.KINDS)


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_every_kind_loads(kind: str) -> None:
    assert callable(registry.load(kind))


def test_configuration_loads_no_image_library() -> None:
    code = "import sys; from workers.handlers import registry; sys.exit('pyvips' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_defaults_are_filled_in() -> None:
    options = registry.validate_options("photo", {"gps": True})
    assert isinstance(options, PhotoOptions)
    assert (options.gps, options.sizes, options.quality) == (True, [256, 512, 1600], 80)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("video", {}, "unknown handler 'video': one of command, function, http, photo, python"),
        ("photo", {"size": [1]}, "size"),
        ("photo", {"sizes": []}, "sizes"),
        ("photo", {"sizes": [256, 256]}, "name it once"),
        ("photo", {"sizes": [100_000]}, "sizes"),
        ("photo", {"quality": "80"}, "quality"),
        ("photo", {"max_pixels": 0}, "max_pixels"),
        ("photo", {"cache_control": "a\nb"}, "cache_control"),
        ("python", {}, "function"),
        ("python", {"function": "os.system"}, "function"),
        ("python", {"function": "a:b; c"}, "function"),
        ("command", {"argv": []}, "argv"),
        ("command", {"argv": "ls {input}"}, "argv"),
        ("command", {"argv": ["ls"]}, "never see the file"),
        ("command", {"argv": ["{key}", "{input}"]}, "names the program"),
        ("command", {"argv": ["ls", "\0", "{input}"]}, "NUL"),
    ],
)
def test_wrong_options_are_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        registry.validate_options(kind, options)


def test_the_default_effort_falls_with_size() -> None:
    assert [PhotoOptions().effort_of(size) for size in (256, 512, 1600)] == [4, 4, 2]
    assert PhotoOptions(effort=6).effort_of(1600) == 6


def test_a_photos_models_are_loaded_ahead_once_a_version(tmp_path: Path) -> None:
    models = {name: write_model(tmp_path / name) for name in ("safety", "newer")}

    def name(options: dict[str, Any], **folders: Path) -> str | None:
        stages = registry.loading("photo", options, folders)
        return stages[-1].name if stages else None

    checked: dict[str, Any] = {"checks": ["safety"]}
    assert name({}) == name({"quality": 1}, **models) == "photo"
    assert name(checked, safety=models["safety"]) == name(checked, **models) != name(checked, safety=models["newer"])
    assert name({"checks": "safety"}) is None
    [loading] = registry.loading("photo", checked, models)
    loading.load()
    [missing] = registry.loading("photo", {"checks": ["other"]}, models)
    with pytest.raises(HandlerUnavailable):
        missing.load()


def test_the_first_photo_does_not_wait_for_models_that_another_process_loads(tmp_path: Path) -> None:
    with mock.patch.dict(os.environ, {INFERENCE: str(tmp_path / "nothing listens")}):
        first, second = registry.loading("photo", {"checks": ["safety"]}, {"safety": write_model(tmp_path / "safety")})
        first.load()
        assert "numpy" in sys.modules
        with pytest.raises(HandlerError, match="cannot be reached"):
            second.load()
