"""Types of settings that are texts of a certain form. What they ask for is told to people in words, with an example."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

ContentType = Annotated[str, Field(max_length=100, pattern=r"^([a-z0-9.+-]+/([a-z0-9.+-]+|\*)|\*/\*)$")]
"""``type/subtype`` in lower case, ``type/*`` or ``*/*``."""
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def _matching(pattern: str, words: str) -> AfterValidator:
    """A rule for a text. ``words`` say what it has to be: a regular expression would tell a person nothing."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"has to be {words}")
        return value

    return AfterValidator(check)


_PORT = r"([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_REGION = r"[a-z]{2,4}(-[a-z]{1,12}){1,3}-[0-9]{1,2}"
_SHORT_NAME = _matching(
    r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?",
    "1 to 24 of a-z, 0-9 and '-', beginning and ending with a letter or digit: gpu-small",
)

PipelineName = Annotated[
    str,
    _matching(r"[a-z0-9][a-z0-9-]{0,49}", "1 to 50 of a-z, 0-9 and '-', beginning with a letter or digit: photos-2"),
]
PoolName = Annotated[str, _SHORT_NAME]
ProviderName = Annotated[str, _SHORT_NAME]
InstallationName = Annotated[str, _matching(r"[a-z0-9]{1,16}", "1 to 16 of a-z and 0-9: yurt2")]
HostName = Annotated[
    str,
    _matching(
        r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
        "a host name in lower case, without a port: sdxl.example.com",
    ),
]
BucketName = Annotated[
    str,
    _matching(
        r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,253}[a-zA-Z0-9]",
        "a bucket's name, 3 to 255 letters, digits, dots, hyphens and underscores: photos-in",
    ),
]
ListenAddress = Annotated[
    str,
    _matching(
        rf"(\[[0-9a-fA-F:]+\]|[^:\s]+):{_PORT}", "host:port with a port up to 65535: 127.0.0.1:8080 or [::1]:8080"
    ),
]
PublicUrl = Annotated[
    str, _matching(r"(https?://[^\s/?#]+(/[^\s?#]*)?)?", "an http:// or https:// URL: https://yurt.example.com")
]


def _network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        raise ValueError("has to be an IP address or a network without host bits: 10.0.0.7 or 10.0.0.0/8") from None
    return value


Network = Annotated[str, AfterValidator(_network)]
Topic = Annotated[
    str,
    _matching(
        rf"arn:aws(-cn|-us-gov)?:sns:{_REGION}:[0-9]{{12}}:[A-Za-z0-9_-]{{1,256}}",
        "the ARN of an SNS topic: arn:aws:sns:eu-west-1:123456789012:uploads",
    ),
]
