"""``yurt up``: runs the services of the demo until Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webhook.cli.directions import directions
from webhook.cli.options import fail, failing, state_option
from webhook.cli.output import echo
from webhook.cli.running_up import LOCK, RunningUp, announced
from webhook.cli.sample import SAMPLE, configuration, overrides
from workers.scratch import discard

if TYPE_CHECKING:
    from rich.console import Console

    from infra.interrupts import Interrupts
    from infra.models.recommended_checks import RecommendedChecks
    from infra.stack import Stack
    from webhook.config import Config

BUCKET_PORT = 9000
_REFRESH_SECONDS = 0.5
_PAGE_LINK_SECONDS = 3_600
_PAGES = tuple(f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "[::1]"))
"""Web pages that may use the bucket: those of this machine. It checks no signature, so no page of another."""


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
@click.option("--keep", is_flag=True, help="Keep the bucket's objects and the ledger for the next run with --keep.")
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages of this origin use the bucket too, beside those of this machine; repeatable.",
)
def command(config_path: Path | None, state: Path, bucket_port: int, keep: bool, cors_origins: tuple[str, ...]) -> None:
    """Run the services of the demo until Ctrl-C: a local bucket, an embedded PostgreSQL and the control plane.

    They listen on loopback. The keys are the same at each run. Without --keep the bucket and the ledger begin empty,
    and those of runs with --keep stay as they are. All files are in the folder "up" in --state.
    """
    from infra.interrupts import Interrupted, Interrupts

    interrupts = Interrupts()
    with interrupts.listening():  # before the slow imports below, so that Ctrl-C never shows a traceback
        from infra.cors import CorsError, wanted_rules
        from infra.stack import StackError
        from infra.stack_keys import StackKeysError
        from webhook.config_faults import ConfigError
        from webhook.config_file import load
        from workers.handlers.registry import options_model

        path = configuration(config_path, Path("yurt.toml"))
        with failing(ConfigError, CorsError):
            config = load(path, options_model)
            if not config.pipelines:
                raise ConfigError(f"{path} has no pipeline: write one, as `yurt init` does")
            wanted_rules(config, cors_origins)
        try:
            with _locked(state / "up") as folder:
                _run(UpRun(config, path, folder, keep, bucket_port, (*_PAGES, *cors_origins)), interrupts)
        except Interrupted:
            echo("Everything was stopped; no process is left.")
        except (StackError, StackKeysError) as error:
            fail(str(error), status=1)


@dataclass(frozen=True, slots=True)
class UpRun:
    """What one run of ``yurt up`` was asked for."""

    config: Config
    config_path: Path
    folder: Path
    """For everything that is written."""
    keep: bool
    bucket_port: int
    cors_origins: tuple[str, ...]

    def prepared(self) -> Path:
        """The folder of the services: a kept one, or one without what an earlier run left."""
        if self.keep:
            return self.folder / "kept"
        # The bucket is lost at the end: an old ledger would call files unchanged whose results are gone.
        discard(self.folder / "run")  # its models are read-only
        return self.folder / "run"

    def ports(self) -> tuple[str, int]:
        """Address of the control plane and port of the bucket: as configured, or any free port where that is taken."""
        host = self.config.server.host
        plane = _free(host, self.config.server.port)
        return f"{f'[{host}]' if ':' in host else host}:{plane}", _free("127.0.0.1", self.bucket_port)


def _run(run: UpRun, interrupts: Interrupts) -> None:
    """Run the services until the first Ctrl-C. Raises Interrupted, StackError, StackKeysError."""
    from infra import stack
    from infra.stack_keys import kept_keys
    from webhook.cli.terminal import EscapingConsole

    console = EscapingConsole(highlight=False)
    console.print("Starting the bucket, the database and the control plane …")
    checks = _checks(run, interrupts)
    keys, folder = kept_keys(run.folder / "keys.json"), run.prepared()
    listen, bucket_port = run.ports()
    with stack.running(
        checks.added_to(run.config) if checks else run.config,
        run.config_path,
        folder,
        bucket_options=("--folder", str(folder / "bucket")) if run.keep else (),
        environment={
            **overrides(),
            **(checks.environment() if checks else {}),
            "YURT_SERVER__LISTEN": listen,
            "YURT_SERVER__PUBLIC_URL": "",
        },
        bucket_port=bucket_port,
        keys=keys,
        models=checks.folders if checks else None,
        cors_origins=run.cors_origins,
        interrupts=interrupts,
    ) as running:
        echo(directions(running, next(iter(run.config.pipelines.values())), _page(running), kept=run.keep))
        try:
            with announced(run.folder, RunningUp(running.url, keys.admin)):
                _watch(running, console, interrupts)
        finally:
            console.print("Stopping the workers, the control plane, the database and the bucket …")


def _page(running: Stack) -> str:
    """A link that signs a browser in to the page; its plain address where none can be had now."""
    from webhook.cli.client import ControlPlaneUnreachable, ask

    try:
        link = ask("POST", running.url, "/v1/sign-in-links", running.keys.admin, {"valid_seconds": _PAGE_LINK_SECONDS})
    except ControlPlaneUnreachable:
        return f"{running.url}/"
    return f"{running.url}{link['path']}"


def _checks(run: UpRun, interrupts: Interrupts) -> RecommendedChecks | None:
    """Have the recommended models look at the photos of the sample; a user's own configuration stays as it is."""
    from infra.models.packages import PackageUnavailableError
    from infra.models.recommended_cache import recommended_models
    from infra.models.recommended_checks import RecommendedChecks, can_be_added

    name = next(iter(run.config.pipelines))
    if not run.config_path.samefile(SAMPLE) or not can_be_added(run.config, name):
        return None
    try:
        return RecommendedChecks(name, recommended_models(echo, interrupts.check))
    except PackageUnavailableError as error:
        echo(f"Photos are not checked by models: {error}")
        return None


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
                echo(line)
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


def _free(host: str, port: int) -> int:
    """The port, or 0 where it is in use: any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return port
    except OSError:
        echo(f"Port {port} is in use: taking a free one.")
        return 0


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Make and lock the folder for the ``with`` block. Ends the program where another ``yurt up`` has locked it."""
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        fail(f"--state: {folder} cannot be used: {error.strerror}", 1)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"another `yurt up` runs on {folder.parent}: stop it, or name another folder with --state", 1)
        yield folder
