"""Plans a bucket's CORS rules: which web pages may upload to it and read from it by presigned URLs.

A browser asks the store before it lets a page of another origin PUT or read an object, and the store answers from these
rules. They grant nothing by themselves: a request still needs a signature. A bucket has one list of rules, which is set
as a whole, so the rules that it has already are read first and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from infra.tigris import TigrisEndpoint
from webhook.config import Config
from webhook.store_endpoint import origin_of

RULE_ID = "yurt"
"""ID of the rule that is ours: one that the bucket has under this ID is replaced."""
READING = ("GET", "HEAD")
UPLOADING = ("PUT", "POST", *READING)
"""By a presigned URL, or by a form with a signed policy."""
_HEADERS = ("*",)
_EXPOSED = ("ETag",)
"""What a page may read of an answer, beside the few headers that every page may."""
_MAX_AGE_SECONDS = 3_600
_MAX_RULES = 100
_TIMEOUT_SECONDS = 15
_ORIGIN = re.compile(r"https?://(\*\.)?([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:(\d{1,5}|\*))?|\*")


class CorsError(Exception):
    """The rules cannot be planned, read or set. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CorsRule:
    """Which origins may do what; a ``*`` in an origin or a header stands for any text."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    """Of a request, that a page may set."""
    exposed: tuple[str, ...] = ()
    """Headers of an answer that a page may read."""
    max_age_seconds: int | None = None
    """How long a browser remembers the answer."""
    name: str = ""
    """Its ID. Some stores do not keep it."""

    @classmethod
    def from_s3(cls, rule: Mapping[str, Any]) -> CorsRule:
        """From an element of ``CORSRules``."""
        return cls(
            tuple(rule.get("AllowedOrigins", ())),
            tuple(rule.get("AllowedMethods", ())),
            tuple(rule.get("AllowedHeaders", ())),
            tuple(rule.get("ExposeHeaders", ())),
            rule.get("MaxAgeSeconds"),
            rule.get("ID", ""),
        )

    def to_s3(self) -> dict[str, Any]:
        """As an element of ``CORSRules``."""
        fields: dict[str, Any] = {
            "ID": self.name,
            "AllowedOrigins": [*self.origins],
            "AllowedMethods": [*self.methods],
            "AllowedHeaders": [*self.headers],
            "ExposeHeaders": [*self.exposed],
            "MaxAgeSeconds": self.max_age_seconds,
        }
        return {name: value for name, value in fields.items() if value not in ("", [], None)}

    def is_like(self, other: CorsRule) -> bool:
        """Whether both allow the same, whatever their IDs."""
        return self._unnamed() == other._unnamed()

    def describe(self) -> str:
        """What it allows, in a line."""
        return f"{', '.join(self.methods)} from {', '.join(self.origins)}"

    def _unnamed(self) -> dict[str, Any]:
        return {name: value for name, value in self.to_s3().items() if name != "ID"}


@dataclass(frozen=True, slots=True)
class CorsPlan:
    """The rules that a bucket has, and those that it is to have."""

    bucket: str
    before: tuple[CorsRule, ...]
    after: tuple[CorsRule, ...]

    @property
    def is_set(self) -> bool:
        """Whether the bucket has these rules already."""
        return len(self.before) == len(self.after) and all(map(CorsRule.is_like, self.before, self.after))

    def describe(self) -> Iterator[str]:
        """Each rule in a line: kept, added or removed."""
        for rule in self.after:
            verb = "keep" if any(map(rule.is_like, self.before)) else "add"
            yield f"{verb:<6} {rule.describe()}"
        for rule in self.before:
            if not any(map(rule.is_like, self.after)):
                yield f"remove {rule.describe()}"


def wanted_rules(config: Config, origins: Iterable[str]) -> dict[str, CorsRule]:
    """By bucket: pages may upload into the buckets of inputs, and read inputs and outputs.

    Raises:
        CorsError: an origin is not valid.
    """
    allowed = tuple(dict.fromkeys(origin.rstrip("/") for origin in origins))
    for origin in allowed:
        if not _ORIGIN.fullmatch(origin):
            raise CorsError(f"{origin!r} is no origin: write scheme, host and port, such as https://app.example.com")
    methods: dict[str, set[str]] = {}
    for pipeline in config.pipelines.values():
        methods.setdefault(pipeline.input.bucket, set()).update(UPLOADING)
        methods.setdefault(pipeline.output.bucket, set()).update(READING)
    return {
        bucket: CorsRule(allowed, tuple(sorted(of_bucket)), _HEADERS, _EXPOSED, _MAX_AGE_SECONDS, RULE_ID)
        for bucket, of_bucket in sorted(methods.items())
    }


def cors_client(store: TigrisEndpoint) -> Any:
    """An S3 client that reads and sets rules."""
    origin, _ = origin_of(store.endpoint, "bucket")
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=BotoConfig(
            signature_version="s3v4",
            connect_timeout=_TIMEOUT_SECONDS,
            read_timeout=_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "virtual" if origin.partition("://")[2].startswith("bucket.") else "path"},
        ),
    )


def plan_cors(s3: Any, bucket: str, wanted: CorsRule) -> CorsPlan:
    """Read the bucket's rules, and plan to add one: in place of the earlier one that was ours, after all others.

    Raises:
        CorsError: the rules cannot be read, or there are too many.
    """
    before = present_rules(s3, bucket)
    others = [rule for rule in before if rule.name != wanted.name and not rule.is_like(wanted)]
    if len(others) >= _MAX_RULES:
        raise CorsError(f"bucket {bucket} has {len(others)} CORS rules, and S3 allows {_MAX_RULES}: remove one first")
    return CorsPlan(bucket, before, (*others, wanted))


def apply_cors(s3: Any, plan: CorsPlan) -> None:
    """Set the rules of a plan, and read them back.

    Raises:
        CorsError: the store refused them, or has others afterwards.
    """
    try:
        s3.put_bucket_cors(Bucket=plan.bucket, CORSConfiguration={"CORSRules": [rule.to_s3() for rule in plan.after]})
    except (BotoCoreError, ClientError) as error:
        raise CorsError(_refusal("set", plan.bucket, error)) from None
    if not CorsPlan(plan.bucket, present_rules(s3, plan.bucket), plan.after).is_set:
        raise CorsError(f"bucket {plan.bucket}: the store took the CORS rules, but has others")


def present_rules(s3: Any, bucket: str) -> tuple[CorsRule, ...]:
    """The rules that a bucket has. Raises CorsError."""
    try:
        return tuple(map(CorsRule.from_s3, s3.get_bucket_cors(Bucket=bucket).get("CORSRules", ())))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchCORSConfiguration":
            return ()
        raise CorsError(_refusal("read", bucket, error)) from None
    except BotoCoreError as error:
        raise CorsError(_refusal("read", bucket, error)) from None


def _refusal(verb: str, bucket: str, error: Exception) -> str:
    return (
        f"the CORS rules of {bucket} cannot be {verb}: {error}. "
        "The access key has to administer the bucket; where the store has no such call, set them with its own tools"
    )
