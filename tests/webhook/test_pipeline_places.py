"""Output places of two pipelines: never within reach of two pools. Loops and the trash are in test_config.py."""

from __future__ import annotations

import pytest

from webhook.config import Config

POOLS = {name: {"provider": "none"} for name in ("own", "rented")}


def config(one: str, two: str, pools: tuple[str, str]) -> Config:
    outputs = {"photos": (one, pools[0]), "videos": (two, pools[1])}
    pipelines = {
        name: {"input": f"s3://{name}-in/", "output": output, "pool": pool} for name, (output, pool) in outputs.items()
    }
    return Config.model_validate({"pipelines": pipelines, "pools": POOLS})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("s3://out/", "s3://out/"),
        ("s3://out/a/", "s3://out/a/"),
        ("s3://out/", "s3://out/a/"),
        ("s3://out/a/b/", "s3://out/a/"),
        ("s3://out/a", "s3://out/ab/"),
    ],
)
def test_overlapping_outputs_of_two_pools_are_refused_with_what_to_change(one: str, two: str) -> None:
    with pytest.raises(ValueError, match=r"pipelines.photos.output .* and pipelines.videos.output .* another bucket"):
        config(one, two, ("own", "rented"))
    config(one, two, ("rented", "rented"))


@pytest.mark.parametrize(("one", "two"), [("s3://out/a/", "s3://out/b/"), ("s3://out/", "s3://other/")])
def test_separate_outputs_may_be_of_two_pools(one: str, two: str) -> None:
    config(one, two, ("own", "rented"))
