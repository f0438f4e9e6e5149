"""What ``yurt up`` prints: where everything is, and commands that work when they are pasted into another terminal."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING

from webhook.cli.invocation import yurt_command

if TYPE_CHECKING:
    from infra.stack import Stack
    from webhook.config import Pipeline


def directions(running: Stack, pipeline: Pipeline, page: str, *, kept: bool) -> str:
    """Describe a running stack. The commands are for a shell in the same folder; ``page`` is a sign-in link."""
    keys, yurt = running.keys, yurt_command()
    source = shlex.quote(f"{pipeline.input}photo.jpg")
    # Python reads strings as JSON writes them, but for surrogate pairs: so no character is written as a pair.
    bucket, key = json.dumps(pipeline.input.bucket), json.dumps(f"{pipeline.input.prefix}photo.jpg", ensure_ascii=False)
    upload = _python(f'boto3.client("s3").upload_file("photo.jpg", {bucket}, {key})')
    signed = f'boto3.client("s3").generate_presigned_url("put_object", {{"Bucket": {bucket}, "Key": {key}}})'
    return f"""
Yurt is up. Watch it, and drop photos on it:

  {page}   (signs one browser in, within an hour; `{yurt} page` prints another link)

  bucket         {running.endpoint}   {_lifetime("bucket", running, kept=kept)}
  control plane  {running.url}
  database       {_lifetime("postgres", running, kept=kept)}
  logs           {running.folder / "control-plane.log"}, bucket.log beside it, workers/logs/ for the workers
  web pages      of http://localhost and http://127.0.0.1, at any port, may PUT and GET by presigned URLs

In another terminal (in this folder the yurt commands need none of it):

  export AWS_ENDPOINT_URL_S3={running.endpoint} AWS_REGION=auto AWS_DEFAULT_REGION=auto
  export AWS_ACCESS_KEY_ID={keys.access_key} AWS_SECRET_ACCESS_KEY={keys.secret_key}
  export YURT_URL={running.url} YURT_ADMIN_TOKEN={keys.admin}

Upload a photo.jpg of yours, and list its results:

  aws --endpoint-url {running.endpoint} s3 cp photo.jpg {source}
  aws --endpoint-url {running.endpoint} s3 ls --recursive {shlex.quote(str(pipeline.output))}

or, without the AWS command line:

  {upload}

A URL by which a web page may upload it:

  {_python(f"print({signed})")}

Watch in the terminal:

  {yurt} status --watch

Ctrl-C stops everything.
"""


def _python(expression: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(f'import boto3; {expression}')}"


def _lifetime(what: str, running: Stack, *, kept: bool) -> str:
    folder = running.folder / what
    if kept:
        return f"kept in {folder}"
    return "held in memory, lost at the end" if what == "bucket" else f"{folder}   begins empty each time"
