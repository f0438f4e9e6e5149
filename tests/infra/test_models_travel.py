"""A model that is published reaches a worker's disk, and the verdict of its check the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import pyvips

from infra.models.publishing import publish_folder
from infra.stack import Stack, running
from tests.polling import wait_until
from tests.webhook.scrape import Scrape
from tests.workers.checks.graphs import colour_graph, write_model
from webhook.config_file import load
from workers.handlers.registry import options_model

CONFIG = """
[server]
listen = "127.0.0.1:0"
[models.colours]
source = "s3://models/colours"
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
models = ["colours"]
[pipelines.photos.options]
sizes = [64]
checks = ["colours"]
on_refused = "withhold"
[pools.local]
provider = "local"
idle_seconds = 3
"""


def photo(red: int) -> bytes:
    """A picture of one colour."""
    image = pyvips.Image.black(80, 60, bands=3).linear([1, 1, 1], [red, 20, 20])
    return bytes(image.cast("uchar").copy(interpretation="srgb").pngsave_buffer())


def result(stack: Stack, key: str) -> dict[str, Any]:
    """The manifest of a result, once it is there."""
    s3 = stack.s3()
    name = f"results/uploads/{key}/result.json"

    def published_now() -> bool:
        return name in {each["Key"] for each in s3.list_objects_v2(Bucket="photos-out").get("Contents", [])}

    wait_until(published_now, seconds=60)
    record: dict[str, Any] = json.loads(s3.get_object(Bucket="photos-out", Key=name)["Body"].read())
    return record


def _loads(stack: Stack) -> float:
    """How many machines have told for how long they loaded their models."""
    counts = Scrape(httpx.get(f"{stack.url}/metrics").text)["yurt_cold_start_seconds_count"]
    return counts.get(("load", "local"), 0.0)


def test_photos_wait_for_their_model_and_are_judged_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "yurt.toml"
    path.write_text(CONFIG)
    config = load(path, options_model)
    with running(config, path, tmp_path / "state") as stack:
        s3 = stack.s3()
        assert not _loads(stack), "from here on starts are observed"
        for key, value in (("red.png", 250), ("dark.png", 20)):
            s3.put_object(Bucket="photos-in", Key=f"uploads/{key}", Body=photo(value))
        root = publish_folder(s3, config.models["colours"], write_model(tmp_path / "model", colour_graph()))
        red, dark = result(stack, "red.png"), result(stack, "dark.png")
        wait_until(lambda: _loads(stack) > 0, seconds=60)
        stack.check()
    assert {output["name"] for output in red["outputs"]} == {"metadata.json"}, "its pictures are withheld"
    assert {output["name"] for output in dark["outputs"]} == {"64.webp", "metadata.json"}
    assert red["models"] == dark["models"] == {"colours": root}
    assert red["labels"]["checks"][0]["root"] == root
    assert (red["labels"]["verdict"], dark["labels"]["verdict"]) == ("refused", "ok")
