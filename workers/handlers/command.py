"""The ``command`` handler: runs any program.

``{"argv": ["ffmpeg", "-i", "{input}", "{output}/preview.mp4"]}``. ``{input}`` is the path of the downloaded
file, ``{output}`` the folder for results (also the working directory) and ``{key}`` the object's key, each as a whole
argument or as part of one; ``{model:NAME}`` is the folder of a model that the pipeline names, and ``{handlers}`` the
handlers' folder (`workers.handlers.folder`), where a program named by a relative path (``./convert.sh``) is found. No
shell is involved: spaces, quotes and dollar signs in a key mean nothing. A key that begins with a hyphen is refused
where the program would take it for an option; ``--name={key}``, or ``--`` in an argument before it, make every key
safe. What a program itself makes of an argument (``@file``, ``http:``) is the program's own affair.

Every file in the output folder is published. Exit codes after sysexits.h: 0 is success, 65 (EX_DATAERR) and
66 (EX_NOINPUT) mean that the input is bad and no retry can help; after any other the object is tried again.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from workers.handlers import HandlerError, HandlerUnavailable, Job, Result
from workers.handlers.folder import ENVIRONMENT, handlers_folder
from workers.handlers.outputs import every_file

_PLACEHOLDER = re.compile(r"\{(input|output|key|handlers|model:[a-z0-9-]{1,63})\}")
_BAD_INPUT = (65, 66)
_NOT_STARTED = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELOOP)
"""Errors of execve(2) that are about the program, not about its arguments."""
_TAIL_BYTES = 2_000
_CLOSE_SECONDS = 1.0
"""To wait for the end of the program's output once it has exited."""


class CommandOptions(BaseModel):
    """Options of ``handler = "command"``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    # No shell: a key is chosen by a user who uploads, and must never be parsed as shell code.
    argv: Annotated[list[Annotated[str, Field(max_length=4_096)]], Field(min_length=1, max_length=256)]

    @field_validator("argv")
    @classmethod
    def _check(cls, argv: list[str]) -> list[str]:
        if not argv[0] or _PLACEHOLDER.search(argv[0]):
            raise ValueError("the first argument names the program: it cannot be empty or depend on the object")
        if any("\0" in argument for argument in argv):
            raise ValueError("an argument cannot hold a NUL character")
        if not any("{input}" in argument for argument in argv):
            raise ValueError("no argument holds {input}: the program would never see the file")
        return argv


def handle(job: Job) -> Result:
    """Run the program, and publish the files that it wrote to the output folder.

    Raises ``HandlerError`` when it fails, ``HandlerUnavailable`` when there is no such program, and ``OSError`` when
    the disk is full or an output over its limit.
    """
    argv = CommandOptions.model_validate(dict(job.options)).argv
    code, output_end = _run(expand(argv, job), job)
    if code != 0:
        raise _failure(argv[0], code, output_end)
    return Result(outputs=every_file(job.output))


def expand(argv: list[str], job: Job) -> list[str]:
    """Put the job into the arguments, each in one pass: a key that reads ``{output}`` stays as it is.

    Raises ``HandlerError`` for a key that no argument can hold, or that would be taken for an option, and
    ``HandlerUnavailable`` for a model that the pipeline does not name.
    """
    if "\0" in job.key:
        raise HandlerError("bad-key", "The object's key holds a NUL character: no program can be given it.")
    values = {"input": str(job.input), "output": str(job.output), "key": job.key}
    values |= {f"model:{name}": str(folder) for name, folder in job.models.items()}
    if any("{handlers}" in argument for argument in argv):
        values["handlers"] = str(_folder("{handlers}"))
    expanded = [_program(argv[0]), *(_expand(argument, values) for argument in argv[1:])]
    options_end = argv.index("--") if "--" in argv else len(argv)
    for before, after in zip(argv[1:options_end], expanded[1:options_end], strict=True):
        if after.startswith("-") and not before.startswith("-"):
            raise HandlerError(
                "bad-key",
                f"The object's key begins with a hyphen, which {argv[0]} would take for an option: "
                "in the pipeline's argv, put '--' before {key} or write it as '--name={key}'.",
            )
    return expanded


def _program(name: str) -> str:
    """Return the path of a program that is named by a relative path; a plain name is looked for in ``PATH``."""
    return str(_folder(name) / name) if "/" in name and not name.startswith("/") else name


def _folder(wanted: str) -> Path:
    if folder := handlers_folder():
        return folder
    raise HandlerUnavailable(f"{wanted} lies in the handlers' folder: set {ENVIRONMENT} to it where the worker runs.")


def _expand(argument: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: _value(match[1], values), argument)


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:  # of a model: all others are always there
        raise HandlerUnavailable(f"The arguments hold {{{name}}}: add it to the models of the pipeline.")
    return values[name]


def _run(argv: list[str], job: Job) -> tuple[int, bytes]:
    try:
        process = subprocess.Popen(
            argv, cwd=job.output, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        if error.errno in _NOT_STARTED:
            raise HandlerUnavailable(_why_not_started(argv[0], error)) from error
        raise
    tail = bytearray()
    relay = threading.Thread(target=_relay, args=(process.stdout, tail), daemon=True)
    relay.start()
    code = process.wait()
    relay.join(_CLOSE_SECONDS)  # a daemon that the program left behind may hold the pipe open for ever
    return code, bytes(tail)


def _why_not_started(program: str, error: OSError) -> str:
    hint = {
        errno.ENOENT: "is it installed on the worker, and the interpreter that its first line names?",
        errno.EACCES: "is it executable? chmod +x makes it so",
        errno.ENOEXEC: "has a script's first line the form #!/usr/bin/env python3?",
    }.get(error.errno or 0, "")
    return f"The program {program} cannot be started: {error.strerror}" + (f": {hint}" if hint else ".")


def _relay(stream: IO[bytes], tail: bytearray) -> None:
    """Copy the program's output to this process's standard error, and keep its end."""
    with stream:
        while chunk := os.read(stream.fileno(), 65_536):
            tail += chunk
            del tail[:-_TAIL_BYTES]
            os.write(2, chunk)


def _failure(program: str, code: int, output_end: bytes) -> Exception:
    text = output_end.decode(errors="replace").strip()
    if os.strerror(errno.ENOSPC) in text:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if code == -signal.SIGXFSZ:
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    if code == -signal.SIGXCPU:
        return HandlerError("cpu-limit", f"{program} took more processor time than the pipeline allows.")
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return HandlerError("crashed", f"{program} was ended by {name}.", retry=True)
    last_line = text.rpartition("\n")[2][:500]
    return HandlerError(
        "command-failed",
        f"{program} ended with exit code {code}" + (f": {last_line}" if last_line else "."),
        retry=code not in _BAD_INPUT,
    )
