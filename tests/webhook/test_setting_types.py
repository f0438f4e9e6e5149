"""Texts of a certain form: what is taken, and that a refusal gives an example that would be taken."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from webhook import setting_types as types

TEXTS = [
    (types.PipelineName, ["photos-2", "a"], ["Photos", "", "-a", "a" * 51, "photos\n"]),
    (types.PoolName, ["gpu-small"], ["gpu-", "GPU", "a" * 25]),
    (types.ProviderName, ["local"], ["The Moon", ""]),
    (types.InstallationName, ["yurt2"], ["my-yurt", "", "y" * 17]),
    (types.BucketName, ["photos-in", "Old_Bucket.1"], ["ab", "-ab", "a/b", "photos-in\n"]),
    (types.ListenAddress, ["127.0.0.1:8080", "[::1]:8080", "localhost:0"], ["8080", "a b:80", "localhost:65536"]),
    (types.PublicUrl, ["", "https://yurt.example.com/base"], ["yurt.example.com", "ftp://x", "http://x?y", "http://"]),
    (types.Topic, ["arn:aws:sns:eu-west-1:123456789012:uploads"], ["uploads", "arn:aws:sqs:eu-west-1:123456789012:x"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "good", "bad"), TEXTS)
def test_what_is_taken(kind: Any, good: list[str], bad: list[str]) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    for text in good:
        assert adapter.validate_python(text) == text
    for text in bad:
        with pytest.raises(ValidationError) as caught:
            adapter.validate_python(text)
        message = caught.value.errors()[0]["msg"]
        assert "has to be" in message
        example = message.rpartition(" ")[2]
        assert adapter.validate_python(example) == example
