"""``python -m infra.local``: the command line of the local bucket."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from infra.local.kept import KeptFolderError
from infra.local.notifications import NotificationsError, NotificationTarget, patched
from infra.local.options import TOKEN_PREFIX, Disorder, LocalOptions, Posting, token_for
from infra.local.server import run
from infra.local.signatures import AcceptedKeys
from workers.private_process import close_to_others

Settings = TypeVar("Settings", Disorder, Posting)


class _Number(click.FloatRange):
    """A number in a range. click's own lets NaN through, which compares with no bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_REGION = re.compile(r"^[A-Za-z0-9-]{1,32}$")
_SHARE = _Number(0, 1)
_SECONDS = _Number(0, 86_400)
_COUNT = click.IntRange(1)
# The defaults of the options are those of the settings.
_OPTIONS, _POSTING, _DISORDER = LocalOptions(), Posting(), Disorder()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.BadParameter(f"{text} is no IP address: write 127.0.0.1 or ::1, say") from None


def _bucket(text: str) -> str:
    if not _BUCKET.match(text):
        raise click.BadParameter(f"{text} is no bucket name: 3 to 63 of a-z, 0-9, '.' and '-'")
    return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _for_bucket(text: str) -> tuple[str, str]:
    bucket, value = _pair(text)
    return _bucket(bucket), value


def _region_delay(text: str) -> tuple[str, float]:
    name, delay = _pair(text)
    if not _REGION.match(name):
        raise click.BadParameter(f"{name} is no region name: 1 to 32 letters, digits and '-'")
    return name, _SECONDS.convert(delay, None, None)


def _retries(text: str) -> int | None:
    if text == "forever":
        return None
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is no number of retries: write 0 or more, or forever")
    return int(text)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="The keys in $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY are accepted, and for writing alone those in "
    "$YURT_PUBLISH_ACCESS_KEY_ID and $YURT_PUBLISH_SECRET_ACCESS_KEY. Without any, requests have to be signed, by any "
    f"key. Webhooks are called with the bearer token in ${TOKEN_PREFIX}_<BUCKET> (upper case, _ for every other "
    f"character) or ${TOKEN_PREFIX}, and without credentials where neither is set. A webhook can also be set while the "
    "bucket runs, as on Tigris: PATCH /{bucket}. Below /_yurt/, for this machine alone: GET stats; "
    "POST flush?deadline=SECONDS; GET, POST and DELETE faults. Disorder is the same for the same --seed and the same "
    "order of writes.",
)
@click.option("--port", type=click.IntRange(0, 65_535), default=_OPTIONS.port, help="0: any free port.")
@click.option(
    "--listen",
    type=_address,
    default=_OPTIONS.listen,
    metavar="ADDRESS",
    help="On another address than loopback, set keys: see below.",
)
@click.option("--bucket", "buckets", type=_bucket, multiple=True, metavar="NAME", help="Make this bucket; repeatable.")
@click.option(
    "--notify", "urls", type=_for_bucket, multiple=True, metavar="BUCKET=URL", help="A bucket's webhook; repeatable."
)
@click.option(
    "--filter",
    "filters",
    type=_for_bucket,
    multiple=True,
    metavar="BUCKET=FILTER",
    help='Which keys are announced, as on Tigris: WHERE `key` REGEXP "^uploads/".',
)
@click.option("--max-body-bytes", type=_COUNT, default=_OPTIONS.max_body_bytes, help="Of one request.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Keep the objects here between runs; without it they are lost at the end.",
)
@click.option("--batch", type=_COUNT, default=_POSTING.batch, help="Most events in one request to a webhook.")
@click.option("--linger-seconds", type=_SECONDS, default=_POSTING.linger_seconds, help="Wait so long for a full batch.")
@click.option("--timeout-seconds", type=_SECONDS, default=_POSTING.timeout_seconds, help="Of a request to a webhook.")
@click.option(
    "--retries",
    type=_retries,
    default=str(_POSTING.retries),
    metavar="N|forever",
    help="Further attempts before events are given up.",
)
@click.option("--backoff-seconds", type=_SECONDS, default=_POSTING.backoff_seconds, help="First pause, then doubled.")
@click.option("--stamps", is_flag=True, help="Send object.versionstamp and object.lastModified too.")
@click.option("--duplicates", "duplicate_share", type=_SHARE, default=0.0, help="Share of events sent twice, 0 to 1.")
@click.option("--reorder", "reorder_share", type=_SHARE, default=0.0, help="Share of events that later ones overtake.")
@click.option("--drop", "drop_share", type=_SHARE, default=0.0, help="Share of events never sent.")
@click.option("--hold", "hold_share", type=_SHARE, default=0.0, help="Share of events sent --hold-seconds late.")
@click.option("--hold-seconds", type=_SECONDS, default=_DISORDER.hold_seconds, help="For --hold.")
@click.option(
    "--region-delay",
    "region_delays",
    type=_region_delay,
    multiple=True,
    metavar="NAME=SECONDS",
    help="Writes with the header X-Yurt-Region: NAME reach the hub so late; repeatable.",
)
@click.option("--drop-superseded", is_flag=True, help="Never announce a late change that is older than what is known.")
@click.option("--seed", type=int, default=_DISORDER.seed, help="Decides which events are disturbed.")
def command(**given: Any) -> None:
    """Run a local S3 bucket that posts the notifications of Tigris.

    Prints one line of JSON with its endpoint once it listens, and ends with SIGTERM. Exit status 1: the address cannot
    be bound; 2: the command line is wrong.
    """
    options = options_of(given)
    try:
        run(options)
    except KeptFolderError as error:
        sys.exit(f"--folder {options.folder}: {error}")
    except OSError as error:
        sys.exit(
            f"cannot listen on {options.listen} port {options.port}: {error.strerror}. "
            "Give another --port, or 0 for any free one"
        )


def options_of(given: Mapping[str, Any]) -> LocalOptions:
    """The settings that the command's parameters mean.

    Raises:
        click.UsageError: a webhook is wrong, or belongs to a bucket that is not made.
    """
    return LocalOptions(
        buckets=tuple(dict.fromkeys(given["buckets"])),
        notify=_targets(given["buckets"], dict(given["urls"]), dict(given["filters"])),
        keys=AcceptedKeys.from_environment(),
        listen=given["listen"],
        port=given["port"],
        max_body_bytes=given["max_body_bytes"],
        folder=given["folder"],
        disorder=_settings(Disorder, {**given, "region_delay_seconds": dict(given["region_delays"])}),
        posting=_settings(Posting, given),
    )


def _settings(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Make the settings of one kind from the parameters that are named as its fields are."""
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind) if field.name in given})


def _targets(
    buckets: Sequence[str], urls: Mapping[str, str], filters: Mapping[str, str]
) -> dict[str, NotificationTarget]:
    for option, named, known, needed in (
        ("--notify", urls, buckets, "--bucket"),
        ("--filter", filters, urls, "--notify"),
    ):
        if unknown := set(named) - set(known):
            raise click.UsageError(f"{option} names {', '.join(sorted(unknown))}: give {needed} for it as well")
    try:
        targets = {bucket: patched(None, _target(bucket, url, filters.get(bucket, ""))) for bucket, url in urls.items()}
    except NotificationsError as error:
        raise click.UsageError(f"--notify: {error}") from None
    return {bucket: target for bucket, target in targets.items() if target}


def _check_named(option: str, named: Iterable[str], needed: str, known: Iterable[str]) -> None:
    if unknown := set(named) - set(known):
        raise click.UsageError(f"{option} names {', '.join(sorted(unknown))}: give {needed} for it as well")


def _target(bucket: str, url: str, expression: str) -> dict[str, object]:
    token = token_for(bucket)
    return {"web_hook": url, "filter": expression} | ({"auth": {"token": token}} if token else {})


if __name__ == "__main__":
    close_to_others()  # it may hold tokens of webhooks
    command(prog_name="python -m infra.local")
