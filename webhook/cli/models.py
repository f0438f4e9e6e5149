"""``yurt models``: publishes, lists, shows and removes models in their buckets."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from webhook.cli.options import config_option, fail, failing
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, facts, plain, table
from webhook.config import ModelSettings
from webhook.config_faults import NO_KEYS, ConfigError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from webhook.models.local_files import Counted, LocalFile
    from webhook.models.publish import Publication
    from webhook.models.published_versions import PublishedVersion, PublishedVersions

_ANSWER_SECONDS = 120.0
_ATTEMPTS = 5
_SHOWN_ROOT = 12
"""Digits of a root that tables show, and that are enough to name one."""
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_name = click.argument("name")
_root = click.argument("root")


@click.group()
def command() -> None:
    """Publish models, and list, show or remove their versions.

    NAME is that of a table [models.NAME] in yurt.toml, whose source says where the model is. The keys of the
    environment, or of yurt.secrets, have to be good for that bucket.
    """


@command.command()
@_name
@click.argument("sources", metavar="FILE|FOLDER|URL…", nargs=-1, required=True)
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be sent; send nothing.")
@_json_option
def publish(name: str, sources: tuple[str, ...], config_path: Path, dry_run: bool, as_json: bool) -> None:
    """Copy files into the bucket once, and make them the current version of a model.

    A folder keeps its layout. What was interrupted goes on where it stopped when it is run again. New leases get the
    new version within seconds; those that run keep theirs.
    """
    from webhook.models.local_files import NoModel, collect, digested
    from webhook.models.publish import ModelPublisher
    from webhook.models.version import folder_of
    from webhook.storage import StoreError

    model, s3 = _opened(config_path, name)
    with failing(NoModel, StoreError, OSError), _local(sources) as paths:
        files = collect(paths)
        size = sum(file.size for file in files)
        with _bar("digests", size) as counted:
            manifest = digested(files, counted)
        publisher = ModelPublisher(s3, model.source.bucket, folder_of(model))
        plan = publisher.plan(manifest, files)
        if not dry_run and not (plan.is_current and not plan.send):
            with _bar("upload", plan.send_bytes) as counted:
                publisher.publish(manifest, plan, counted)
    _report_published(name, model, plan, size, dry_run=dry_run, as_json=as_json)


@command.command("list")
@_name
@config_option
@_json_option
def list_(name: str, config_path: Path, as_json: bool) -> None:
    """List the versions of a model, the latest first."""
    from webhook.storage import StoreError

    with failing(StoreError):
        found = _versions(config_path, name).all()
    if as_json:
        echo_json({"versions": [{**asdict(each), "published": _moment(each)} for each in found]})
    elif not found:
        echo(f"Nothing was published yet: yurt models publish {name} FILE")
    else:
        shown = table(f"Versions of {name}", "root", "published", "")
        for each in found:
            state = "current" if each.is_current else "" if each.published else "interrupted: publish it again"
            shown.add_row(each.root[:_SHOWN_ROOT], plain(_moment(each) or "–"), plain(state))
        EscapingConsole().print(shown)


@command.command()
@_name
@click.argument("root", required=False)
@config_option
@_json_option
def show(name: str, root: str | None, config_path: Path, as_json: bool) -> None:
    """Show the files of a version: of the current one, or of that whose ROOT begins so."""
    from webhook.storage import StoreError

    with failing(StoreError, ValueError):
        versions = _versions(config_path, name)
        version = _chosen(versions, name, root)
        manifest = versions.manifest(version.root)
    if manifest is None:
        fail(f"the version {version.root[:_SHOWN_ROOT]} has no manifest: publish it again")
    if as_json:
        echo_json({"root": version.root, **manifest.model_dump(mode="json")})
        return
    shown = table(f"Files of {name}", "file", "size", numbers=("size",))
    for file in manifest.files:
        shown.add_row(plain(file.path), decimal(file.size))
    console = EscapingConsole()
    console.print(facts([("root", version.root), ("published", _moment(version)), ("size", decimal(manifest.size))]))
    console.print(shown)


@command.command()
@_name
@_root
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be deleted; delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def remove(name: str, root: str, config_path: Path, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete a version that is not the current one from the bucket. ROOT: as many of its digits as name just one.

    Leases that run with it keep what is on their worker's disk; those that are yet to fetch it fail, and are tried
    again with the current one.
    """
    from webhook.storage import StoreError

    with failing(StoreError):
        versions = _versions(config_path, name)
        version = _chosen(versions, name, root)
        if version.is_current:
            fail(f"{version.root[:_SHOWN_ROOT]} is the current version of {name}: publish another one first")
        keys = versions.keys(version.root)
        if not dry_run:
            if not yes:
                _ask(name, version, len(keys))
            versions.remove(keys)
    if as_json:
        echo_json({"root": version.root, "deleted": [] if dry_run else keys, "dry_run": dry_run})
    else:
        done = "would be deleted" if dry_run else "are deleted"
        echo(f"{len(keys)} objects of version {version.root[:_SHOWN_ROOT]} of {name} {done}.")


def _ask(name: str, version: PublishedVersion, keys: int) -> None:
    question = f"Delete the {keys} objects of version {version.root[:_SHOWN_ROOT]} of {name}?"
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to answer on: give --yes, or see --dry-run")
    click.confirm(question, abort=True)


def _opened(config_path: Path, name: str) -> tuple[ModelSettings, S3Client]:
    """The settings of a model and a client of its store. Ends the program where there is no such model, or no key."""
    from webhook.config_file import load
    from webhook.secrets_file import secrets
    from webhook.storage.client import client_errors, s3_client, signing_keys
    from workers.handlers.registry import options_model

    with failing(ConfigError):
        config, credentials = load(config_path, options_model), secrets(config_path)
        if name not in config.models:
            known = ", ".join(config.models) or "none"
            fail(f"{config_path} has no [models.{name}] (there are: {known}): add it, with its source")
        keys = signing_keys(credentials)
        if not (keys.access_key and keys.secret_key):
            fail(NO_KEYS)
        with client_errors():
            client = s3_client(
                credentials.aws_endpoint_url_s3, credentials.aws_region, keys, credentials.yurt_s3_addressing,
                connections=8, answer_seconds=_ANSWER_SECONDS, attempts=_ATTEMPTS,
            )  # fmt: skip
    return config.models[name], client


def _versions(config_path: Path, name: str) -> PublishedVersions:
    from webhook.models.published_versions import PublishedVersions
    from webhook.models.version import folder_of

    model, s3 = _opened(config_path, name)
    return PublishedVersions(s3, model.source.bucket, folder_of(model))


def _chosen(versions: PublishedVersions, name: str, root: str | None) -> PublishedVersion:
    """The version whose root begins so; without one, the current. Ends the program where there is none, or several."""
    found = [each for each in versions.all() if (each.root.startswith(root) if root else each.is_current)]
    if len(found) != 1:
        which = f"whose root begins with {root}" if root else "that is current"
        fail(f"there are {len(found)} versions of {name} {which}: see yurt models list {name}")
    return found[0]


@contextlib.contextmanager
def _local(sources: tuple[str, ...]) -> Iterator[list[Path]]:
    """The sources as paths of this machine, URLs downloaded for as long as they are needed."""
    from webhook.models.fetched_urls import fetch, is_url

    with tempfile.TemporaryDirectory(prefix="yurt-models-") as folder:
        paths = []
        for source in sources:
            if is_url(source):
                with _bar("download", None) as counted:
                    paths.append(fetch(source, Path(folder), counted))
            else:
                paths.append(Path(source))
        yield paths


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Counted]:
    """A progress bar of bytes on standard error, where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = EscapingConsole(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _report_published(
    name: str, model: ModelSettings, plan: Publication, size: int, *, dry_run: bool, as_json: bool
) -> None:
    if as_json:
        echo_json(
            {
                "name": name, "source": str(model.source), "root": plan.root, "size": size, "dry_run": dry_run,
                "sent": _names(plan.send), "present": _names(plan.present), "was_current": plan.is_current,
            }
        )  # fmt: skip
        return
    root = plan.root[:_SHOWN_ROOT]
    if plan.is_current and not plan.send:
        echo(f"{name} is unchanged: version {root} is the current one already.")
    else:
        sent = f"{len(plan.send)} files, {decimal(plan.send_bytes)}"
        there = f"; {len(plan.present)} are there already" if plan.present else ""
        echo(f"{name}: version {root} {'would become' if dry_run else 'is now'} the current one ({sent}{there}).")


def _names(files: tuple[LocalFile, ...]) -> list[str]:
    return [file.path for file in files]


def _moment(version: PublishedVersion) -> str:
    return version.published.strftime("%Y-%m-%d %H:%M:%S UTC") if version.published else ""
