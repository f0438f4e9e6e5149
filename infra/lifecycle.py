"""Plans a bucket's lifecycle rule for abandoned multipart uploads, whose parts a store keeps and bills for ever.

A bucket has one list of rules, which is set as a whole, so the rules that it has already are read first and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from webhook.config import Config

RULE_ID = "yurt-abandoned-uploads"
"""ID of the rule that is ours: one that the bucket has under this ID is replaced."""
ABANDONED_DAYS = 7
"""After which an upload is given up. Longer than one may be carried on, which is 6 days."""
_MAX_RULES = 1_000

LifecycleRule = Mapping[str, Any]
"""An element of ``Rules``, as the store has it."""


class LifecycleError(Exception):
    """The rules cannot be planned, read or set. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class LifecyclePlan:
    """The rules that a bucket has, and those that it is to have."""

    bucket: str
    before: tuple[LifecycleRule, ...]
    after: tuple[LifecycleRule, ...]

    @property
    def is_set(self) -> bool:
        """Whether uploads are given up already: by our rule, or by another one for the whole bucket."""
        return len(self.before) == len(self.after) and all(map(_is_alike, self.before, self.after))

    def describe(self) -> str:
        """What the plan comes to, in a line."""
        days = next(_days(rule) for rule in self.after if _covers(rule))
        kept = sum(not _is_ours(rule) for rule in self.after)
        others = f", beside {kept} other rules, which stay" if kept else ""
        return f"abandoned multipart uploads are removed after {days} days{others}"


def input_buckets(config: Config) -> list[str]:
    """The buckets into which files are uploaded."""
    return sorted({pipeline.input.bucket for pipeline in config.pipelines.values()})


def plan_lifecycle(s3: Any, bucket: str) -> LifecyclePlan:
    """Read the bucket's rules, and plan to add one, unless another one does the same for the whole bucket.

    Raises:
        LifecycleError: the rules cannot be read, or there are too many.
    """
    before = _read(s3, bucket)
    others = tuple(rule for rule in before if not _is_ours(rule))
    if any(map(_covers, others)):
        return LifecyclePlan(bucket, before, before)
    if len(others) >= _MAX_RULES:
        raise LifecycleError(f"bucket {bucket} has {len(others)} lifecycle rules, and S3 allows {_MAX_RULES}")
    return LifecyclePlan(bucket, before, (*others, _rule()))


def apply_lifecycle(s3: Any, plan: LifecyclePlan) -> None:
    """Set the rules of a plan, and read them back.

    Raises:
        LifecycleError: the store refused them, or has others afterwards.
    """
    try:
        s3.put_bucket_lifecycle_configuration(
            Bucket=plan.bucket, LifecycleConfiguration={"Rules": [dict(rule) for rule in plan.after]}
        )
    except (BotoCoreError, ClientError) as error:
        raise LifecycleError(_refusal("set", plan.bucket, error)) from None
    if not any(map(_covers, _read(s3, plan.bucket))):
        raise LifecycleError(f"bucket {plan.bucket}: the store took the lifecycle rules, but does not have ours")


def _rule() -> LifecycleRule:
    return {
        "ID": RULE_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABANDONED_DAYS},
    }


def _is_ours(rule: LifecycleRule) -> bool:
    return bool(rule.get("ID") == RULE_ID)


def _days(rule: LifecycleRule) -> int:
    return int(rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", 0))


def _covers(rule: LifecycleRule) -> bool:
    """Whether a rule gives up uploads in the whole bucket."""
    anywhere = rule.get("Prefix", "") == "" and rule.get("Filter") in (None, {}, {"Prefix": ""})
    return rule.get("Status") == "Enabled" and _days(rule) > 0 and anywhere


def _is_alike(one: LifecycleRule, other: LifecycleRule) -> bool:
    return one == other or (_is_ours(one) and _is_ours(other) and _covers(one) and _days(one) == _days(other))


def _read(s3: Any, bucket: str) -> tuple[LifecycleRule, ...]:
    try:
        return tuple(s3.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", ()))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchLifecycleConfiguration":
            return ()
        raise LifecycleError(_refusal("read", bucket, error)) from None
    except BotoCoreError as error:
        raise LifecycleError(_refusal("read", bucket, error)) from None


def _refusal(verb: str, bucket: str, error: Exception) -> str:
    return (
        f"the lifecycle rules of {bucket} cannot be {verb}: {error}. The access key has to administer the bucket; "
        "where the store has no such rules, remove the parts of abandoned uploads with its own tools"
    )
