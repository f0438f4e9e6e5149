"""All of Yurt on this machine, on loopback and free ports: the local bucket with notifications, PostgreSQL, the control
plane, and no worker until there is work.

Each service is a process of its own that cannot outlive this one. They stop in order: the control plane drains its
workers while the bucket still answers them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as BotoConfig

from infra import tigris
from infra.cors import apply_cors, plan_cors, wanted_rules
from infra.interrupts import Interrupts
from infra.models.publishing import publish_folder
from infra.stack_keys import StackKeys
from webhook.config import Config
from webhook.fleet.providers.local import LocalProvider, inherited
from webhook.models.local_files import ChangedMeanwhile, NoModel
from webhook.private_file import private
from webhook.storage import StoreError
from workers import parent_death
from workers.own_process import own_process

_START_SECONDS = 40.0
_STOP_SECONDS = 40.0
"""Longer than the control plane gives its workers to finish what they handle."""
_HURRY_SECONDS = 3.0
"""Time that is left for stopping after a second signal."""
_ABANDON_SECONDS = 1.0
"""Time for a worker to leave whose work is given up."""
_POLL_SECONDS = 0.05
_SHOWN_CHARACTERS = 3_000


class StackError(Exception):
    """A service did not start, or ended without being told to. The message holds the end of its log."""


@dataclass(slots=True)
class StackService:
    """One service of the stack as a child process, with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, interrupts: Interrupts, hurry: Callable[[], None] = lambda: None) -> None:
        """Send SIGTERM, and SIGKILL if the process does not leave in time.

        After a second signal to this process ``hurry`` is called, and the service gets a second SIGTERM and less time.
        """
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        hurried = False
        while self.process.poll() is None and time.monotonic() < deadline:
            if interrupts.count > 1 and not hurried:
                hurried = True
                hurry()
                self._send(signal.SIGTERM)
                deadline = min(deadline, time.monotonic() + _HURRY_SECONDS)
            time.sleep(_POLL_SECONDS)
        if self.process.poll() is None:
            sys.stderr.write(f"yurt: {self.name} did not leave and is killed; its log is {self.log}\n")
            self._send(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def end_of_log(self) -> str:
        """The last lines of its log."""
        return self.log.read_text(errors="replace")[-_SHOWN_CHARACTERS:].rstrip()

    def _send(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)


@dataclass(frozen=True, slots=True)
class Stack:
    """The running services, their addresses and credentials."""

    endpoint: str
    """S3 endpoint of the local bucket."""
    url: str
    """The control plane."""
    folder: Path
    """Logs and the database."""
    keys: StackKeys
    services: tuple[StackService, ...]
    models: Mapping[str, str] = field(default_factory=dict)
    """Root of each model that was published, by name."""

    def s3(self) -> Any:
        """A plain boto3 client of the local bucket."""
        return _s3(self.endpoint, self.keys)

    def check(self) -> None:
        """Raise StackError where a service has ended without being told to."""
        for service in self.services:
            if service.process.poll() is not None:
                raise StackError(
                    f"{service.name} ended by itself, with status {service.process.returncode}; "
                    f"its log ({service.log}) ends:\n{service.end_of_log()}"
                )


@contextlib.contextmanager
def running(
    config: Config,
    config_path: Path,
    folder: Path,
    *,
    bucket_options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    bucket_port: int = 0,
    keys: StackKeys | None = None,
    models: Mapping[str, Path] | None = None,
    cors_origins: Sequence[str] = (),
    interrupts: Interrupts | None = None,
) -> Iterator[Stack]:
    """Run the services for the length of the ``with`` block. Raises StackError, and Interrupted while they start.

    ``bucket_options`` are options of ``python -m infra.local``; ``environment`` is added to the control plane's, for
    instance ``YURT_POOLS__LOCAL__IDLE_SECONDS``. Without ``keys`` new ones are drawn. ``models`` are folders by the
    names of models of the configuration: they are published before the control plane starts, so that it finds them at
    once. Web pages of ``cors_origins`` may upload and read by presigned URLs.
    """
    keys, interrupts = keys or StackKeys(), interrupts or Interrupts()
    folder.mkdir(parents=True, exist_ok=True)
    places = [place for p in config.pipelines.values() for place in (p.input, p.output)]
    buckets = sorted({place.bucket for place in (*places, *(m.source for m in config.models.values()))})
    with contextlib.ExitStack() as stack:
        bucket, bucket_announced = _start(
            "bucket",
            ["infra.local", "--port", str(bucket_port), *(f"--bucket={name}" for name in buckets), *bucket_options],
            folder,
            _bucket_environment(keys),
            interrupts,
        )
        stack.callback(bucket.stop, interrupts)
        published = _publish(config, _s3(bucket_announced["endpoint"], keys), models or {}, interrupts)
        plane, plane_announced = _start(
            "control-plane",
            ["webhook", "serve", "--config", str(config_path), "--state", str(folder), "--announce"],
            folder,
            {
                **_plane_environment(keys, bucket_announced["endpoint"]),
                **_without_replica_lag(config),
                **(environment or {}),
            },
            interrupts,
        )
        end_workers = partial(_end_workers, config, folder)
        # Also after the control plane has left: one that was killed could not end its workers.
        stack.callback(end_workers)
        stack.callback(plane.stop, interrupts, end_workers)
        _subscribe(config, bucket_announced["endpoint"], plane_announced["url"], keys)
        endpoint, url = bucket_announced["endpoint"], plane_announced["url"]
        running_stack = Stack(endpoint, url, folder, keys, (bucket, plane), published)
        _allow_pages(config, running_stack.s3(), cors_origins)
        yield running_stack


def _s3(endpoint: str, keys: StackKeys) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="auto",
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=BotoConfig(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
    )


def _publish(config: Config, s3: Any, models: Mapping[str, Path], interrupts: Interrupts) -> dict[str, str]:
    """Publish models in the local bucket; return their roots."""
    roots = {}
    for name, folder in models.items():
        interrupts.check()
        try:
            roots[name] = publish_folder(s3, config.models[name], folder)
        except (StoreError, NoModel, ChangedMeanwhile, OSError) as error:
            raise StackError(f"the model {name} ({folder}) cannot be published: {error}") from error
    return roots


def _bucket_environment(keys: StackKeys) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}


def _plane_environment(keys: StackKeys, endpoint: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_REGION": "auto",
        "YURT_WEBHOOK_SECRETS": keys.webhook,
        "YURT_ADMIN_TOKEN": keys.admin,
        "YURT_SECRETS_FILE": os.devnull,  # one beside the configuration may name a real store and a real database
    }


def _without_replica_lag(config: Config) -> dict[str, str]:
    """Variables that set no replica lag: the local bucket is strongly consistent, so no read has to be repeated."""
    return {f"YURT_PIPELINES__{name.upper()}__REPLICA_LAG_SECONDS": "0" for name in config.pipelines}


def _subscribe(config: Config, endpoint: str, url: str, keys: StackKeys) -> None:
    """Set each input bucket's notifications to the control plane, with the calls that set them on Tigris."""
    store = tigris.TigrisEndpoint(endpoint, "auto", keys.access_key, keys.secret_key)
    for bucket in sorted({pipeline.input.bucket for pipeline in config.pipelines.values()}):
        plan = tigris.plan(bucket, f"{url}/v1/notifications/tigris", secret=tigris.Bearer(keys.webhook))
        tigris.apply(plan, store)


def _allow_pages(config: Config, s3: Any, origins: Sequence[str]) -> None:
    """Set each bucket's CORS rules, as ``yurt setup`` does."""
    for bucket, rule in wanted_rules(config, origins).items() if origins else ():
        apply_cors(s3, plan_cors(s3, bucket, rule))


def _end_workers(config: Config, folder: Path) -> None:
    """End every worker of this stack, those of an earlier run too, without waiting for the files that they handle."""
    asyncio.run(LocalProvider(config.server.name, folder / "workers", close_seconds=_ABANDON_SECONDS).aclose())


def _start(
    name: str, module: Sequence[str], folder: Path, environment: Mapping[str, str], interrupts: Interrupts
) -> tuple[StackService, dict[str, Any]]:
    """Start ``python -m …`` and wait for the line of JSON that it prints once it listens."""
    log = folder / f"{name}.log"
    with open(log, "ab", opener=private) as output:
        process = subprocess.Popen(
            own_process(*module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # a Ctrl-C in the terminal reaches this process alone, which stops them in order
            env={**inherited(), **environment, parent_death.ENVIRONMENT: "stdin"},
        )
    service = StackService(name, process, log)
    try:
        return service, _announcement(service, interrupts)
    except BaseException:
        service.stop(interrupts)
        raise


def _announcement(service: StackService, interrupts: Interrupts) -> dict[str, Any]:
    assert service.process.stdout is not None
    deadline = time.monotonic() + _START_SECONDS
    ready: list[Any] = []
    while not ready and time.monotonic() < deadline:
        interrupts.check()
        ready, _, _ = select.select([service.process.stdout], [], [], _POLL_SECONDS)
    line = service.process.stdout.readline() if ready else b""
    if not line:
        raise StackError(f"{service.name} did not start; its log ({service.log}) ends:\n{service.end_of_log()}")
    announced: dict[str, Any] = json.loads(line)
    return announced
