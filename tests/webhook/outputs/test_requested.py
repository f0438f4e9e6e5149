"""What a lease asks for adds up over its requests, and not over leases. Over HTTP: test_publishing.py."""

from __future__ import annotations

import pytest

from webhook.config import Pipeline
from webhook.outputs.requested import OutputsRefused, RequestedOutputs, check_sizes
from workers.protocol import OutputRequest, OutputsRequest

PIPELINE = Pipeline.model_validate(
    {"input": "s3://photos-in/", "output": "s3://photos-out/", "limits": {"output_bytes": 100}}
)


def asked(token: int, *names: str, size: int = 1) -> OutputsRequest:
    outputs = [OutputRequest(name=name, size=size, content_type="image/webp") for name in names]
    return OutputsRequest(token=token, etag="abc", outputs=outputs)


def test_the_names_of_one_lease_add_up() -> None:
    requested = RequestedOutputs()
    requested.add(PIPELINE, asked(1, *(f"{number}.webp" for number in range(64))))
    requested.add(PIPELINE, asked(1, "64.webp"))
    requested.add(PIPELINE, asked(1, "3.webp", size=2))  # again, since its URL has expired
    for _ in range(2):
        with pytest.raises(OutputsRefused) as refused:
            requested.add(PIPELINE, asked(1, "65.webp"))
        assert refused.value.reason == "too-many-outputs"
    requested.add(PIPELINE, asked(2, "65.webp"))
    requested.forget(1)
    requested.add(PIPELINE, asked(1, "65.webp"))


def test_the_sizes_of_one_lease_add_up() -> None:
    requested = RequestedOutputs()
    requested.add(PIPELINE, asked(1, "a.webp", size=60))
    with pytest.raises(OutputsRefused, match="100 bytes"):
        requested.add(PIPELINE, asked(1, "b.webp", size=41))
    requested.add(PIPELINE, asked(1, "b.webp", size=40))


def test_the_manifest_has_a_limit_of_its_own() -> None:
    check_sizes(PIPELINE, {"a.webp": 100, "result.json": 1 << 20})
    with pytest.raises(OutputsRefused):
        check_sizes(PIPELINE, {"result.json": 3 << 20})
