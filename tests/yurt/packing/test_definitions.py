"""What a bundle defines is a valid configuration."""

from __future__ import annotations

from pathlib import Path

from tests.yurt.deployed import written
from webhook.config import Config
from webhook.pool_settings import Pool
from workers.handlers.registry import options_model
from yurt.packing.bundle import pack
from yurt.packing.definitions import CALLS, pipelines

CODE = """
import yurt
@yurt.function(on="s3://photos-in/a/", output="s3://photos-out/a/", suffixes=[".jpg"], pool="gpu", network=True,
               timeout_seconds=900, memory_bytes=1 << 30, attempts=7, pipeline={"unsigned_headers": "stage"})
def caption(photo): ...
@yurt.function
def add(a, b): ...
"""


def test_each_function_is_a_pipeline_of_calls_and_one_of_objects_where_it_has_some(tmp_path: Path) -> None:
    bundle = pack(written(tmp_path, CODE))
    made = pipelines(bundle, "s3://functions/bundles/")
    config = Config(pipelines=made, pools={"gpu": Pool(provider="none"), "local": Pool(provider="none")})
    assert set(config.pipelines) == {"caption", "caption" + CALLS, "add" + CALLS}
    caption, calls = config.pipelines["caption"], config.pipelines["caption-calls"]
    assert (str(caption.input), str(caption.output), caption.suffixes) == (
        "s3://photos-in/a/",
        "s3://photos-out/a/",
        (".jpg",),
    )
    assert (str(calls.input), str(calls.output)) == (
        "s3://functions/bundles/calls/caption/",
        "s3://functions/bundles/results/caption/",
    )
    assert (caption.pool, caption.timeout_seconds, caption.attempts, caption.sandbox.network) == ("gpu", 900, 7, True)
    assert (caption.limits.memory_bytes, caption.unsigned_headers, calls.on_delete) == (1 << 30, "stage", "remove")
    for pipeline, is_called in ((caption, False), (calls, True)):
        options = options_model("function").model_validate(pipeline.options)
        assert options.model_dump() == {"bundle": bundle.root, "function": "app:caption", "calls": is_called}
