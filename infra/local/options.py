"""What ``python -m infra.local`` is told on its command line."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.local.notifications import NotificationsError, NotificationTarget, patched

TOKEN_PREFIX = "YURT_NOTIFY_TOKEN"  # noqa: S105 - the name of a variable
"""Variable with the bearer token of every webhook. ``…_PHOTOS_IN`` is for the bucket ``photos-in`` alone."""

_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_REGION = re.compile(r"^[A-Za-z0-9-]{1,32}$")


@dataclass(frozen=True, slots=True)
class Disorder:
    """What the hub does to its events between a change and its announcement. Shares are from 0 to 1."""

    duplicate_share: float = 0.0
    reorder_share: float = 0.0
    drop_share: float = 0.0
    hold_share: float = 0.0
    hold_seconds: float = 2.0
    seed: int = 0
    region_delay_seconds: dict[str, float] = field(default_factory=dict)
    """A write that names one of these regions reaches the hub so much later."""
    drop_superseded: bool = False
    """A late change that is older than what the hub has of its key is never announced."""


@dataclass(frozen=True, slots=True)
class Posting:
    """How events are posted to a webhook."""

    batch: int = 10
    """Most events in one request."""
    linger_seconds: float = 0.0
    """How long the first event of a batch waits for company."""
    timeout_seconds: float = 10.0
    retries: int | None = 3
    """After the first attempt; then the events count as sent, and are lost. None: for ever."""
    backoff_seconds: float = 0.5
    """Before the first retry, doubled with each up to ``max_backoff_seconds``."""
    max_backoff_seconds: float = 30.0
    stamps: bool = False
    """Send ``object.versionstamp`` and ``object.lastModified`` as well. Tigris does not."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Everything on the command line."""

    buckets: tuple[str, ...] = ()
    notify: dict[str, NotificationTarget] = field(default_factory=dict)
    """By bucket."""
    listen: str = "127.0.0.1"
    port: int = 0
    max_body_bytes: int = 256 * 1024 * 1024
    disorder: Disorder = field(default_factory=Disorder)
    posting: Posting = field(default_factory=Posting)


def token_for(bucket: str) -> str | None:
    """The bearer token for a bucket's webhook, from the environment: a bucket's own, or the one for all."""
    own = f"{TOKEN_PREFIX}_{re.sub('[^A-Z0-9]', '_', bucket.upper())}"
    return os.environ.get(own) or os.environ.get(TOKEN_PREFIX)


def parse(argv: Sequence[str]) -> LocalOptions:
    """Read a command line. Exits with status 2 and a sentence where it is wrong."""
    parser = _parser()
    given = parser.parse_args(argv)
    try:
        notify = _notifications(given)
    except NotificationsError as error:
        parser.error(str(error))
    return LocalOptions(
        buckets=tuple(dict.fromkeys(given.bucket)),
        notify=notify,
        listen=given.listen,
        port=given.port,
        max_body_bytes=given.max_body_bytes,
        disorder=_disorder(given),
        posting=_posting(given),
    )


def _notifications(given: argparse.Namespace) -> dict[str, NotificationTarget]:
    urls, filters = dict(given.notify), dict(given.filter)
    for flag, named, known in (("--notify", urls, given.bucket), ("--filter", filters, urls)):
        if unknown := set(named) - set(known):
            needed = "--bucket" if flag == "--notify" else "--notify"
            raise NotificationsError(f"{flag} names {', '.join(sorted(unknown))}: give {needed} for it as well")
    made = {bucket: patched(None, _settings(bucket, url, filters.get(bucket, ""))) for bucket, url in urls.items()}
    return {bucket: notifications for bucket, notifications in made.items() if notifications}


def _settings(bucket: str, url: str, expression: str) -> dict[str, object]:
    token = token_for(bucket)
    return {"web_hook": url, "filter": expression} | ({"auth": {"token": token}} if token else {})


def _disorder(given: argparse.Namespace) -> Disorder:
    return Disorder(
        duplicate_share=given.duplicates,
        reorder_share=given.reorder,
        drop_share=given.drop,
        hold_share=given.hold,
        hold_seconds=given.hold_seconds,
        seed=given.seed,
        region_delay_seconds=dict(given.region_delay),
        drop_superseded=given.drop_superseded,
    )


def _posting(given: argparse.Namespace) -> Posting:
    return Posting(
        batch=given.batch,
        linger_seconds=given.linger_seconds,
        timeout_seconds=given.timeout_seconds,
        retries=given.retries,
        backoff_seconds=given.backoff_seconds,
        stamps=given.stamps,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local",
        description="A local S3 bucket that posts Tigris notifications. Prints one line of JSON with its "
        "endpoint once it listens, and ends with SIGTERM.",
        epilog=f"Webhooks are called with the bearer token in ${TOKEN_PREFIX}_<BUCKET> (upper case, _ for "
        f"every other character) or ${TOKEN_PREFIX}, without credentials where neither is set. A webhook can "
        "also be set while it runs, as on Tigris: PATCH /{bucket}. Below /_yurt/, for this machine alone: "
        "GET stats; POST flush?deadline=SECONDS; GET, POST and DELETE faults.",
    )
    parser.add_argument("--port", type=_port, default=0, help="0 for a free one (default)")
    parser.add_argument(
        "--listen",
        type=_address,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="anything but loopback has to be said here: there is no access control (default 127.0.0.1)",
    )
    parser.add_argument(
        "--bucket",
        type=_bucket,
        action="append",
        default=[],
        metavar="NAME",
        help="make this bucket; repeatable",
    )
    parser.add_argument(
        "--notify",
        type=_for_bucket,
        action="append",
        default=[],
        metavar="BUCKET=URL",
        help="its webhook; repeatable",
    )
    parser.add_argument(
        "--filter",
        type=_for_bucket,
        action="append",
        default=[],
        metavar="BUCKET=FILTER",
        help='as Tigris has it: WHERE `key` REGEXP "^uploads/"',
    )
    parser.add_argument(
        "--max-body-bytes", type=_count, default=256 * 1024 * 1024, help="of one request (default 256 MiB)"
    )
    _add_posting(parser.add_argument_group("delivery"))
    _add_disorder(parser.add_argument_group("disorder, the same for the same seed and the same order of writes"))
    return parser


def _add_posting(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--batch", type=_count, default=10, help="most events in one request (default 10)")
    group.add_argument("--linger-seconds", type=_seconds, default=0.0, help="wait for a fuller batch (default 0)")
    group.add_argument("--timeout-seconds", type=_seconds, default=10.0, help="of one request (default 10)")
    group.add_argument(
        "--retries",
        type=_retries,
        default=3,
        metavar="N|forever",
        help="before events are given up (default 3)",
    )
    group.add_argument("--backoff-seconds", type=_seconds, default=0.5, help="before the first retry, then doubled")
    group.add_argument("--stamps", action="store_true", help="send object.versionstamp and object.lastModified too")


def _add_disorder(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--duplicates", type=_share, default=0.0, metavar="SHARE", help="events sent twice, 0 to 1")
    group.add_argument("--reorder", type=_share, default=0.0, metavar="SHARE", help="events overtaken by later ones")
    group.add_argument("--drop", type=_share, default=0.0, metavar="SHARE", help="events never sent")
    group.add_argument("--hold", type=_share, default=0.0, metavar="SHARE", help="events held back")
    group.add_argument("--hold-seconds", type=_seconds, default=2.0, help="for so long (default 2)")
    group.add_argument(
        "--region-delay",
        type=_region_delay,
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help="writes with the header X-Yurt-Region: NAME reach the hub so late; repeatable",
    )
    group.add_argument(
        "--drop-superseded",
        action="store_true",
        help="never announce a late change that is older than what the hub has of its key",
    )
    group.add_argument("--seed", type=int, default=0)


def _port(text: str) -> int:
    if not 0 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return float(text)


def _seconds(text: str) -> float:
    if not 0 <= float(text) <= 86_400:
        raise argparse.ArgumentTypeError("must be from 0 to 86400")
    return float(text)


def _retries(text: str) -> int | None:
    if text == "forever":
        return None
    if int(text) < 0:
        raise argparse.ArgumentTypeError("must be 0 or more, or forever")
    return int(text)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no IP address") from None


def _bucket(text: str) -> str:
    if not _BUCKET.match(text):
        raise argparse.ArgumentTypeError(f"{text} is no bucket name: 3 to 63 of a-z, 0-9, '.' and '-'")
    return text


def _pair(text: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not (left and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return left, right


def _for_bucket(text: str) -> tuple[str, str]:
    bucket, value = _pair(text)
    return _bucket(bucket), value


def _region_delay(text: str) -> tuple[str, float]:
    name, delay = _pair(text)
    if not _REGION.match(name):
        raise argparse.ArgumentTypeError(f"{name} is no region name")
    return name, _seconds(delay)
