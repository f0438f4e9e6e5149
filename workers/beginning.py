"""Begins an agent: its folder, and the first handlers' process, which loads while the agent does.

Loads little of its own. What an agent needs takes a third of a second to load, and what a handler's process needs as
long: one after the other, a fresh machine would wait for both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workers.handlers.folder import ENVIRONMENT
from workers.inference.address import INFERENCE, socket_in
from workers.sandbox.environment import scrubbed
from workers.sandbox.template import TemplateProcess
from workers.scratch import Scratch
from workers.settings import Settings

if TYPE_CHECKING:
    from workers.dispatcher import DispatcherSettings
    from workers.lifecycle import Exit

PRELOAD = ("photo",)
"""Handlers whose libraries are slow to load and that most pipelines use."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What an agent has before it has loaded itself."""

    scratch: Scratch
    inference: Path
    """The folder of the socket by which handlers' processes ask models."""
    environment: dict[str, str]
    """Of all handlers' processes."""
    template: TemplateProcess | None
    """The first of them; None: it could not be started, and the next try will say why."""


async def run_agent(
    settings: Settings, dispatching: DispatcherSettings | None = None, begun: Callable[[], None] = lambda: None
) -> Exit:
    """Run one agent until it leaves. No child process, file or connection of it is left afterwards.

    ``begun`` is called once its first handlers' process loads.
    """
    with Scratch(settings.work_dir) as scratch:
        inference = scratch.folder("inference")
        variables = {INFERENCE: str(socket_in(inference))}
        if settings.handlers:
            variables[ENVIRONMENT] = str(settings.handlers)
        environment, template = scrubbed(variables), None
        with suppress(OSError):
            template = await TemplateProcess.start(PRELOAD, environment)
        try:
            begun()
            from workers import lifecycle  # only now: both processes load at the same time

            return await lifecycle.run_begun(settings, Begun(scratch, inference, environment, template), dispatching)
        finally:
            if template:
                template.kill()
