"""Configures logs: one JSON object a line on stderr, without tokens and without the queries of URLs."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from workers.settings import LogFormat

_SIGNED = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")
_QUIET = ("httpx", "httpcore", "asyncio")
"""Libraries that log whole URLs, or details that only debugging needs."""


def configure(style: LogFormat) -> None:
    """Send structlog's and the standard library's logs to stderr.

    Through the standard library's handler, because that one survives a stderr whose reader has ended: an agent whose
    parent was killed still has to drain.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_queries,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _without_queries(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut the query off every URL: a presigned one carries its signature there."""
    return {name: _SIGNED.sub(r"\1?…", value) if isinstance(value, str) else value for name, value in event.items()}
