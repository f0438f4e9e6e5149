"""``yurt init``: writes a configuration and a file of secrets to begin with."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from pathlib import Path

import click
from pydantic import ValidationError

from webhook.cli.invocation import yurt_command
from webhook.cli.options import fail
from webhook.cli.output import echo
from webhook.cli.sample import configuration
from webhook.config import Place

_SECRETS = """\
# Secrets of Yurt, which every `yurt` command reads beside yurt.toml. A variable of the environment wins over its line
# here. Keep this file out of version control.

# What the store shows with each notification: `yurt setup --yes` gives it to the bucket.
YURT_WEBHOOK_SECRETS={webhook}
# What `yurt status` and the other commands show to the control plane.
YURT_ADMIN_TOKEN={admin}

# An access key that may read the inputs, and read, write and delete the outputs.
AWS_ACCESS_KEY_ID=
AWS_SECRET_ACCESS_KEY=
# A key that may write the outputs and read nothing, for the uploads of workers: see docs/keys.md.
# YURT_PUBLISH_ACCESS_KEY_ID=
# YURT_PUBLISH_SECRET_ACCESS_KEY=
# The store; without it Tigris, https://t3.storage.dev.
# AWS_ENDPOINT_URL_S3=
# AWS_REGION=auto

# PostgreSQL for the ledger. Without it an embedded one runs in the folder .yurt.
# DATABASE_URL=postgresql://user:password@host:5432/name
"""
_IGNORED = ("yurt.secrets", ".yurt/")
"""What version control must not hold."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--input", "input_url", default="s3://photos-in/uploads/", show_default=True, help="Where files arrive.")
@click.option("--output", "output_url", default="s3://photos-out/results/", show_default=True, help="Where results go.")
@click.option("--public-url", default="", help="URL at which the store reaches the control plane.")
def command(folder: Path, input_url: str, output_url: str, public_url: str) -> None:
    """Write a commented yurt.toml, and yurt.secrets with new random secrets, into FOLDER (by default here).

    Nothing that exists is overwritten.
    """
    text = _configured(configuration(None).read_text(encoding="utf-8"), input_url, output_url, public_url)
    config, secret = folder / "yurt.toml", folder / "yurt.secrets"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(config, text, 0o644)
        _write(secret, _SECRETS.format(webhook=secrets.token_urlsafe(32), admin=secrets.token_urlsafe(32)), 0o600)
        _ignore(folder)
    except OSError as error:
        fail(f"cannot write into {folder.resolve()}: {error.strerror}", status=1)
    echo(_NEXT.format(config=config, secret=secret, commands=_commands(folder)))


_NEXT = """
Next:
  1. {config}: name your buckets, and set server.public_url to a URL that the store reaches.
  2. {secret}: fill in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
  3. {commands}"""


def _commands(folder: Path) -> str:
    """The commands that come next, in the folder of the configuration."""
    yurt = yurt_command(folder)
    there = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    explained = (
        ("check", "tests all of it, and says what to mend"),
        ("serve", "runs the control plane"),
        ("setup --yes", "has the bucket announce its changes to it"),
    )
    lines = there + [f"{yurt} {arguments:<14} {meaning}" for arguments, meaning in explained]
    return "\n     ".join(lines)


def _configured(sample: str, input_url: str, output_url: str, public_url: str) -> str:
    """The sample with other places. Ends the program where one is no place."""
    for option, url in (("--input", input_url), ("--output", output_url)):
        try:
            Place.model_validate(url)
        except ValidationError as error:
            fail(f"{option} {error.errors()[0]['msg'].removeprefix('Value error, ')}")
    text = re.sub(r'^input = ".*"$', lambda _: f'input = "{input_url}"', sample, count=1, flags=re.MULTILINE)
    text = re.sub(r'^output = ".*"$', lambda _: f'output = "{output_url}"', text, count=1, flags=re.MULTILINE)
    if public_url:
        text = re.sub(r'^# public_url = ".*"$', lambda _: f'public_url = "{public_url}"', text, flags=re.MULTILINE)
    return text


def _write(path: Path, text: str, mode: int) -> None:
    """Write a new file. An existing one is left as it is."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        echo(f"{path} exists, and is left as it is.")
    else:
        echo(f"{path} was written.")


def _ignore(folder: Path) -> None:
    """Have Git ignore the secrets and the state, where the folder is a checkout's own or has a list already."""
    path = folder / ".gitignore"
    if not (path.exists() or (folder / ".git").exists()):
        return
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    missing = [line for line in _IGNORED if line not in text.splitlines()]
    if missing:
        path.write_text(text + ("" if text.endswith("\n") or not text else "\n") + "\n".join(missing) + "\n")
        echo(f"{path} lists them.")
