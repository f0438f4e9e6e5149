"""What the docker provider accepts in its settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from webhook.provider_settings import DockerSettings


def docker(**fields: Any) -> DockerSettings:
    return DockerSettings.model_validate({"kind": "docker", "image": "localhost/yurt-worker:1", **fields})


CACHE = {"source": "/srv/cache", "target": "/cache"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "/run/docker.sock"}, "has to be the address of a container engine: unix:///run/docker.sock"),
        ({"host": "unix://run/docker.sock"}, "has to be the address"),
        ({"host": "tcp://engine"}, "has to be the address"),
        ({"host": "tcp://engine:port"}, "has to be the address"),
        ({"host": "http://engine:2375"}, "has to be the address"),
        ({"host": "https://me:secret@engine:2376"}, "has to be the address"),
        ({"host": "tcp://engine:2375", "ca": "/ca.pem"}, "they need host = https://"),
        ({"host": "https://engine:2376", "cert": "/cert.pem"}, "cert and key are set both, or neither"),
        ({"host": "https://engine:2376", "ca": "ca.pem"}, "has to be an absolute path"),
        ({"mounts": [{**CACHE, "source": "cache"}]}, "has to be an absolute path"),
        ({"mounts": [{**CACHE, "source": "/srv/../etc"}]}, "has to be an absolute path"),
        ({"mounts": [{**CACHE, "target": "/"}]}, "has to be a folder of its own in the container"),
        ({"mounts": [{**CACHE, "target": "/tmp/cache"}]}, "has to be a folder of its own in the container"),
        ({"mounts": [CACHE, {**CACHE, "target": "/cache/"}]}, "mounts: two have the same target"),
        ({"memory_bytes": 1024}, "greater than or equal to 67108864"),
        ({"gpus": 0}, "greater than or equal to 1"),
        ({"cpus": 0}, "greater than or equal to 0.01"),
        ({"network": "container:other"}, "match pattern"),
        ({"pull": "daily"}, "'missing', 'always' or 'never'"),
        ({"environment": {"HF_TOKEN": "x"}}, "looks like a secret"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("(", r"\(")):
        docker(**fields)


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("yurt", "yurt:latest"),
        ("localhost:5000/you/yurt", "localhost:5000/you/yurt:latest"),
        ("localhost:5000/you/yurt:0.2", "localhost:5000/you/yurt:0.2"),
        (f"you/yurt@sha256:{'a' * 64}", f"you/yurt@sha256:{'a' * 64}"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, pulled: str) -> None:
    assert docker(image=image).image == pulled


@pytest.mark.parametrize(
    ("host", "network", "same"),
    [
        ("unix:///run/docker.sock", "host", True),
        ("tcp://127.0.0.1:2375", "host", True),
        ("https://engine.example:2376", "host", False),
        ("unix:///run/docker.sock", "bridge", False),
        ("unix:///run/docker.sock", None, False),
    ],
)
def test_loopback_is_the_control_planes_only_with_the_network_of_its_host(
    host: str, network: str | None, same: bool
) -> None:
    assert docker(host=host, network=network).same_machine is same
