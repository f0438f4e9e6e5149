"""``yurt try``: runs one file through a pipeline's handler on this machine, without bucket or database."""  # noqa: N999 - the name of the command

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webhook.cli.options import config_option, deployed_option, fail, failing
from webhook.cli.output import echo

if TYPE_CHECKING:
    from webhook.config import Pipeline

_MIB = 1 << 20


@dataclass(slots=True)
class HandlerTrial:
    """What one run of a handler did."""

    pipeline: str
    file: str
    limits: dict[str, float]
    ok: bool = False
    reason: str = ""
    """Why it failed: a reason of parked objects, or ``unavailable`` where the handler cannot run."""
    message: str = ""
    retry: bool = False
    """Whether the object would be tried again."""
    folder: str = ""
    """Where the outputs lie."""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float | None = None
    """Of the handler's process. None where it was killed before it could say so."""
    peak_bytes: int | None = None
    """Most resident memory of the handler's process, libraries included. None where it was killed."""


@click.command()
@click.argument("pipeline_name", metavar="PIPELINE")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the outputs; a new one.")
@click.option("--key", default="", help="Key that the handler is given; by default the input's prefix and the name.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=FOLDER",
    help="A model of the pipeline, on this machine; repeatable.",
)
@deployed_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    pipeline_name: str,
    file: Path,
    config_path: Path,
    output: Path | None,
    key: str,
    models: tuple[str, ...],
    deployed: bool,
    url: str,
    as_json: bool,
) -> None:
    """Run one file through a pipeline's handler on this machine, without bucket or database.

    The handler runs as on a worker: in the sandbox, with the pipeline's options and limits. Exit status 1 where it
    fails.
    """
    from webhook.cli.deployed import configured
    from webhook.config_faults import ConfigError
    from workers import log

    with failing(ConfigError):
        config = configured(config_path, deployed=deployed, url=url)
    pipeline = config.pipelines.get(pipeline_name)
    if pipeline is None:
        fail(f"there is no pipeline {pipeline_name!r}; there are: {', '.join(config.pipelines)}")
    log.configure("console")
    trial = HandlerTrial(pipeline_name, str(file), pipeline.handler_limits.model_dump())
    key = key or f"{pipeline.input.prefix}{file.name}"
    given = _TrialInput(pipeline, Path(config.server.handlers), file, key, _models(pipeline, models))
    asyncio.run(_run(trial, given, _folder(output)))
    echo(json.dumps(asdict(trial)) if as_json else _shown(trial))
    if not trial.ok:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _TrialInput:
    """What is to be tried."""

    pipeline: Pipeline
    handlers: Path
    file: Path
    key: str
    models: dict[str, Path]


def _models(pipeline: Pipeline, given: tuple[str, ...]) -> dict[str, Path]:
    """The folder of each model of the pipeline. Ends the program where one is missing, or is none of it."""
    folders: dict[str, Path] = {}
    for each in given:
        name, _, folder = each.partition("=")
        if name not in pipeline.models or not folder or not Path(folder).is_dir():
            known = ", ".join(pipeline.models) or "none"
            fail(f"--model {each}: give NAME=FOLDER, with a model of the pipeline ({known}) and its folder")
        folders[name] = Path(folder).resolve()
    if missing := [name for name in pipeline.models if name not in folders]:
        fail(f"the pipeline has the model {missing[0]}: give its folder with --model {missing[0]}=FOLDER")
    return folders


def _folder(output: Path | None) -> Path:
    """Make the folder for outputs. Ends the program where it cannot be, or holds something already."""
    folder = output or Path(f"try-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            fail(f"{folder} is not empty: name a new folder with --output")
    except OSError as error:
        fail(f"{folder} cannot be made: {error.strerror}")
    return folder.resolve()


async def _run(trial: HandlerTrial, given: _TrialInput, folder: Path) -> None:
    """Run the handler in a child process of the sandbox, and copy what it made."""
    from workers.handlers import HandlerError, HandlerUnavailable, Job
    from workers.handlers.folder import ENVIRONMENT
    from workers.protocol import Handler
    from workers.sandbox.errors import WorkerFault
    from workers.sandbox.pool import Sandbox
    from workers.servers.all_servers import HandlerServers
    from workers.servers.references import References
    from workers.servers.served_job import served

    pipeline, handlers, file = given.pipeline, given.handlers, given.file
    handler = Handler.model_validate(
        {"kind": pipeline.handler, "options": pipeline.options, "limits": pipeline.handler_limits}
    )
    sandbox = Sandbox(environment={ENVIRONMENT: str(handlers)})
    with tempfile.TemporaryDirectory(prefix="yurt-try-") as scratch:
        servers = HandlerServers(Path(scratch), handlers)
        try:
            job = Job(Path(scratch, "input"), Path(scratch, "output"), given.key, "0" * 32, handler.options)
            job = replace(job, models=given.models)
            _check_size(file, handler.limits.input_bytes)
            shutil.copyfile(file, job.input)
            job.output.mkdir()
            async with References().serving() as references, served(handler, job, servers, references) as ready:
                await _measure(trial, sandbox, handler, ready, folder)
            trial.ok = True
        except HandlerError as error:
            trial.reason, trial.message, trial.retry = error.reason, error.message, error.retry
            trial.log = error.log or trial.log
        except HandlerUnavailable as error:
            trial.reason, trial.message = "unavailable", str(error)
        except (WorkerFault, OSError) as error:
            trial.reason, trial.message, trial.retry = "machine", str(error), True
        finally:
            await servers.aclose()
            await sandbox.aclose()
    if trial.outputs:
        trial.folder = str(folder)
    else:
        await asyncio.to_thread(folder.rmdir)


def _check_size(file: Path, limit_bytes: int) -> None:
    from workers.handlers import HandlerError

    if (size := file.stat().st_size) > limit_bytes:
        raise HandlerError("too-large", f"The file has {size:,} bytes: limits.input_bytes allows {limit_bytes:,}.")


async def _measure(trial: HandlerTrial, sandbox: Any, handler: Any, job: Any, folder: Path) -> None:
    """Run one job, keep its outputs in ``folder``, and note its time, memory, log and result.

    Raises what the handler's failure is.
    """
    async with sandbox.child() as child:
        started_at = time.monotonic()
        try:
            with await child.run(handler, job) as result:
                trial.labels = dict(result.labels)
                trial.outputs = [_kept(output, folder) for output in result.outputs]
        finally:
            trial.wall_seconds = time.monotonic() - started_at
            trial.log = await child.printed()
            if child.last is not None:
                trial.cpu_seconds = child.last.cpu_seconds
                trial.peak_bytes = child.last.peak_bytes


def _kept(output: Any, folder: Path) -> dict[str, Any]:
    """Copy one output to where it stays, and return what is shown of it."""
    with (folder / output.file.name).open("wb") as copy:
        shutil.copyfileobj(output.content, copy)
    return {"name": output.file.name, "content_type": output.file.content_type, "bytes": output.size}


def _shown(trial: HandlerTrial) -> str:
    limits = trial.limits
    lines = [f"log:\n{trial.log.rstrip()}\n"] if trial.log.strip() else []
    if trial.ok:
        lines.append(f"{trial.pipeline} handled {trial.file}: {len(trial.outputs)} outputs")
    else:
        again = "it would be tried again" if trial.retry else "it would be parked"
        again = "the pipeline would be paused" if trial.reason == "unavailable" else again
        lines.append(f"{trial.pipeline} failed on {trial.file}: {trial.reason} ({again})\n  {trial.message}")
    lines += [f"  {output['name']}  {output['bytes']:,} bytes  {output['content_type']}" for output in trial.outputs]
    lines += [f"outputs in {trial.folder}"] if trial.folder else []
    lines += [f"labels  {json.dumps(trial.labels, ensure_ascii=False)}"] if trial.labels else []
    cpu = "unknown" if trial.cpu_seconds is None else f"{trial.cpu_seconds:.2f} s"
    peak = "unknown" if trial.peak_bytes is None else f"{trial.peak_bytes / _MIB:,.0f} MiB"
    lines.append(f"wall time  {trial.wall_seconds:.2f} s of {limits['wall_seconds']:g} s")
    lines.append(f"processor  {cpu} of {limits['cpu_seconds']:g} s")
    lines.append(f"memory     {peak} resident at most; the limit is {limits['memory_bytes'] / _MIB:,.0f} MiB mapped")
    return "\n".join(lines)
