"""``yurt up``: runs the services of the demo until Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webhook.cli.options import fail, failing, state_option
from webhook.cli.sample import configuration, overrides

if TYPE_CHECKING:
    from rich.console import Console

    from infra.interrupts import Interrupts
    from infra.stack import Stack
    from webhook.config import Config, Pipeline

BUCKET_PORT = 9000
_REFRESH_SECONDS = 0.5
_RUN_FILES = ("postgres", "workers", "bucket.log", "control-plane.log")


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="YURT_CONFIG",
    help="Configuration file; by default ./yurt.toml, or else the sample that comes with Yurt.",
)
@state_option
@click.option(
    "--bucket-port",
    type=click.IntRange(0, 65_535),
    default=BUCKET_PORT,
    show_default=True,
    help="Of the local bucket; a free port is taken where this one is in use.",
)
def command(config_path: Path | None, state: Path, bucket_port: int) -> None:
    """Run the services of the demo until Ctrl-C: a local bucket, an embedded PostgreSQL and the control plane.

    They listen on loopback. The bucket is held in memory and lost at the end, so the ledger begins empty each time as
    well. Logs stay in --state.
    """
    from infra.interrupts import Interrupted, Interrupts

    interrupts = Interrupts()
    with interrupts.listening():  # before the slow imports below, so that Ctrl-C never shows a traceback
        from infra.stack import StackError
        from webhook.app import options_model
        from webhook.config import ConfigError
        from webhook.config_file import load

        path = configuration(config_path, Path("yurt.toml"))
        with failing(ConfigError):
            config = load(path, options_model)
        try:
            with _locked(state):
                _remove_earlier_run(state)  # its ledger would call files unchanged whose results the bucket has lost
                _run(config, path, state, bucket_port, interrupts)
        except Interrupted:
            click.echo("Everything was stopped; no process is left.")
        except StackError as error:
            fail(str(error), status=1)


def _run(config: Config, path: Path, state: Path, bucket_port: int, interrupts: Interrupts) -> None:
    """Run the services until the first Ctrl-C. Raises Interrupted, StackError."""
    from rich.console import Console

    from infra import stack

    console = Console(highlight=False)
    console.print("Starting the bucket, the database and the control plane …")
    host = config.server.host
    environment = {
        **overrides(),
        "YURT_SERVER__LISTEN": f"{f'[{host}]' if ':' in host else host}:{_free(host, config.server.port)}",
        "YURT_SERVER__PUBLIC_URL": "",
    }
    with stack.running(
        config,
        path,
        state.resolve(),
        environment=environment,
        bucket_port=_free("127.0.0.1", bucket_port),
        interrupts=interrupts,
    ) as running:
        click.echo(_directions(running, next(iter(config.pipelines.values()))))
        try:
            _watch(running, console, interrupts)
        finally:
            console.print("Stopping the workers, the control plane, the database and the bucket …")


def _watch(running: Stack, console: Console, interrupts: Interrupts) -> None:
    """Show the counts: one line that is redrawn; without a terminal, a line at each change."""
    from rich.live import Live
    from rich.text import Text

    with contextlib.ExitStack() as screen:
        live = screen.enter_context(Live(console=console, transient=True)) if console.is_terminal else None
        printed = ""
        while True:
            line = _status(running)
            if live:
                live.update(Text(line, style="bold"))
            elif line != printed:
                click.echo(line)
            printed = line
            running.check()
            interrupts.wait(_REFRESH_SECONDS)


def _status(running: Stack) -> str:
    from webhook.cli.client import ControlPlaneUnreachable, ask

    try:
        return _line(ask("GET", running.url, "/v1/status", running.keys.admin))
    except ControlPlaneUnreachable as error:
        return str(error)


def _line(status: dict[str, Any]) -> str:
    pipelines, pools = status["pipelines"].values(), status["pools"].values()
    states = ("pending", "leased", "done", "parked")
    objects = [f"{state} {sum(pipeline['objects'].get(state, 0) for pipeline in pipelines)}" for state in states]
    alive = sum(sum(pool["machines"].values()) for pool in pools)
    minted, slain = (sum(pool[name] for pool in pools) for name in ("minted", "slain"))
    return f"{', '.join(objects)}; workers alive {alive}, minted {minted}, slain {slain}"


def _directions(running: Stack, pipeline: Pipeline) -> str:
    source = f"{pipeline.input}photo.jpg"
    keys = running.keys
    python = shlex.quote(sys.executable)
    upload = f"upload_file('photo.jpg', '{pipeline.input.bucket}', '{pipeline.input.prefix}photo.jpg')"
    return f"""
Yurt is up.

  bucket         {running.endpoint}   held in memory, lost at the end
  control plane  {running.url}
  database       {running.folder / "postgres"}   begins empty each time, as the bucket does
  logs           {running.folder / "control-plane.log"}, bucket.log beside it, workers/logs/ for the workers

In another terminal:

  export AWS_ENDPOINT_URL_S3={running.endpoint} AWS_REGION=auto AWS_DEFAULT_REGION=auto
  export AWS_ACCESS_KEY_ID={keys.access_key} AWS_SECRET_ACCESS_KEY={keys.secret_key}
  export YURT_URL={running.url} YURT_ADMIN_TOKEN={keys.admin}

  aws --endpoint-url {running.endpoint} s3 cp photo.jpg {source}
  aws --endpoint-url {running.endpoint} s3 ls --recursive {pipeline.output}

or, without the AWS command line:

  {python} -c "import boto3; boto3.client('s3').{upload}"

  yurt status --watch

Ctrl-C stops everything.
"""


def _free(host: str, port: int) -> int:
    """The port, or 0 where it is in use: any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return port
    except OSError:
        click.echo(f"Port {port} is in use: taking a free one.")
        return 0


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Lock the folder for the ``with`` block. Ends the program where another ``yurt up`` has locked it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"another `yurt up` runs on {state.resolve()}: stop it, or name another folder with --state", 1)
        yield


def _remove_earlier_run(state: Path) -> None:
    for name in _RUN_FILES:
        path = state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
