"""What the settings of the kubernetes provider take and refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from webhook.provider_settings import KubernetesSettings


def made(**fields: Any) -> KubernetesSettings:
    return KubernetesSettings.model_validate({"kind": "kubernetes", "image": "yurt:0.2", **fields})


def test_amounts_may_be_numbers() -> None:
    assert made(limits={"nvidia.com/gpu": 1, "cpu": 0.5, "memory": "4Gi"}).limits == {
        "nvidia.com/gpu": "1",
        "cpu": "0.5",
        "memory": "4Gi",
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"limits": {"memory": "4 GB"}}, "an amount above 0 as Kubernetes writes it"),
        ({"limits": {"memory": "0"}}, "an amount above 0"),
        ({"limits": {"memory": True}}, "valid string"),
        ({"limits": {"a b": "1"}}, "should match pattern"),
        ({"namespace": "Yurt"}, "should match pattern"),
        ({"namespace": "a/../b"}, "should match pattern"),
        ({"context": "c"}, "set kubeconfig too"),
        ({"user": 0}, "greater than or equal to 1"),
        ({"cache": {"path": "/cache"}}, "set either claim or host_path"),
        ({"cache": {"path": "/cache", "claim": "c", "host_path": "/srv"}}, "set either claim or host_path"),
        ({"cache": {"path": "/tmp/cache", "claim": "c"}}, "a folder of its own"),
        ({"cache": {"path": "/cache", "host_path": "/a/../b"}}, "an absolute path"),
        ({"tolerations": [{"operator": "Exists", "key": "k", "value": "v"}]}, "leave out value"),
        ({"tolerations": [{}]}, 'needs operator = "Exists"'),
        ({"deadline_seconds": 5}, "greater than or equal to 60"),
        ({"image": "Not An Image"}, "should match pattern"),
    ],
)
def test_what_the_cluster_would_not_take_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        made(**fields)
