"""Runs the photo app with all of Yurt on this machine, until Ctrl-C: ``make example``.

It starts what ``yurt up`` starts, a local bucket, PostgreSQL and the control plane, makes a token for the app, and
serves the app beside them. Everything begins empty each time.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra import stack
from infra.interrupts import Interrupted, Interrupts
from infra.models.packages import PackageUnavailableError
from infra.models.recommended_cache import recommended_models
from infra.models.recommended_checks import RecommendedChecks
from photo_app.app import AlbumApp
from photo_app.serving import AlbumServer
from photo_app.settings import AlbumSettings
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.config_file import load
from workers.handlers.registry import options_model

PIPELINE = "photos"
_HOST = "127.0.0.1"
_CONFIG = Path(__file__).with_name("yurt.toml")
_SCOPES = [f"{verb}:{PIPELINE}" for verb in ("upload", "read", "delete")]
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ExampleRun:
    """What is run, and where."""

    config: Config
    config_path: Path
    folder: Path
    """For everything that is written."""
    models: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the models of the configuration, by name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the control plane, beside those that the app needs."""


@dataclass(frozen=True, slots=True)
class RunningExample:
    """The app, and the services below it."""

    url: str
    """Of the app."""
    stack: stack.Stack
    settings: AlbumSettings


@contextlib.contextmanager
def running(run: ExampleRun, listener: socket.socket, interrupts: Interrupts | None = None) -> Iterator[RunningExample]:
    """Run the services and the app, which is served on ``listener``, for the length of the ``with`` block.

    Raises StackError, and Interrupted while they start.
    """
    url = f"http://{_HOST}:{listener.getsockname()[1]}"
    callback_secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    environment = {
        **run.environment,
        f"YURT_PIPELINES__{PIPELINE.upper()}__CALLBACK__URL": f"{url}/hooks/yurt",
        "YURT_CALLBACK_SECRETS": callback_secret,
        "YURT_SERVER__LISTEN": f"{_HOST}:0",
    }
    with stack.running(
        run.config, run.config_path, run.folder / "yurt",
        environment=environment, models=run.models, cors_origins=[url], interrupts=interrupts,
    ) as services:  # fmt: skip
        settings = AlbumSettings(
            yurt_url=services.url, yurt_token=_token(services), callback_secrets=(callback_secret,),
            cookie_key=secrets.token_bytes(32), store_origins=(services.endpoint,),
            database=run.folder / "photo-app.sqlite", secure=False,
        )  # fmt: skip
        with served(AlbumApp(settings), listener):
            yield RunningExample(url, services, settings)


def _token(services: stack.Stack) -> str:
    """Make a token for the app, as ``yurt tokens create`` does."""
    answer = httpx.post(
        f"{services.url}/v1/tokens",
        json={"name": "photo-app", "scopes": _SCOPES},
        headers={"authorization": f"Bearer {services.keys.admin}"},
    )
    answer.raise_for_status()
    return str(answer.json()["token"])


@contextlib.contextmanager
def served(app: AlbumApp, listener: socket.socket) -> Iterator[None]:
    """Serve the app in a thread. Connections that come before it is ready wait in the listener."""
    server = AlbumServer(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="photo-app")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    """Run until the first Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="make example", description="Run the photo app with all of Yurt, until Ctrl-C."
    )
    parser.add_argument("--port", type=int, default=8000, help="of the app; a free one is taken where it is in use")
    parser.add_argument("--state", type=Path, default=Path(".yurt"), help="folder for everything that is written")
    options = parser.parse_args()
    interrupts = Interrupts()
    try:
        with interrupts.listening():
            _run(options.state.resolve() / "example", options.port, interrupts)
    except Interrupted:
        _note("Everything was stopped; no process is left.")
    except (stack.StackError, ConfigError) as error:
        sys.exit(f"make example: {error}")


def _run(folder: Path, port: int, interrupts: Interrupts) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # the bucket is in memory: an old ledger and album would know its photos
    folder.mkdir(parents=True)
    with _listener(port) as listener:
        plain = ExampleRun(load(_CONFIG, options_model), _CONFIG, folder)
        run = _with_checks(plain, interrupts)
        _note("Starting the bucket, the database, the control plane and the app …")
        with running(run, listener, interrupts) as example:
            _note(f"\nThe photo app is up. Upload some photos:\n\n  {example.url}\n\nCtrl-C stops everything.")
            try:
                while True:
                    example.stack.check()
                    interrupts.wait(_LOOK_SECONDS)
            finally:
                _note("Stopping …")


def _with_checks(run: ExampleRun, interrupts: Interrupts) -> ExampleRun:
    """The run, with models that look at each photo, where they can be had."""
    try:
        checks = RecommendedChecks(PIPELINE, recommended_models(_note, interrupts.check))
    except PackageUnavailableError as error:
        _note(f"Photos are not checked by models: {error}")
        return run
    return ExampleRun(checks.added_to(run.config), run.config_path, run.folder, checks.folders, checks.environment())


def _listener(port: int) -> socket.socket:
    """Listen on the port, or on any free one where it is in use."""
    try:
        return socket.create_server((_HOST, port))
    except OSError:
        _note(f"Port {port} is in use: taking a free one.")
        return socket.create_server((_HOST, 0))


def _note(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
