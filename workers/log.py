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

_URL = re.compile(r"https?://[^\s'\"]+")
"""All of a URL's text at once: a pattern that ended before the query would be tried again at each ``http`` in it."""
MAX_CHARACTERS = 8_000
"""Of a text in a line of the log, at its beginning, and again at its end where it has several lines."""
_QUIET = ("httpx", "httpcore", "asyncio", "websockets")
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
        _cut,
        _without_queries,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    cleaned: list[Processor] = [] if style == "json" else [_escaped]  # JSON is written in ASCII
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *cleaned, renderer],
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


def _cut(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Shorten what is too long, before anything else looks at it."""
    return {name: shortened(value) if isinstance(value, str) else value for name, value in event.items()}


def shortened(text: str) -> str:
    """Cut the middle out of a long text. What is left of its end begins with a line: half a URL could hold a secret."""
    if len(text) <= 2 * MAX_CHARACTERS:
        return text
    _, _, end = text[-MAX_CHARACTERS:].partition("\n")
    return f"{text[:MAX_CHARACTERS]}… ({len(text)} characters)\n{end}"


def _without_queries(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: without_queries(value) if isinstance(value, str) else value for name, value in event.items()}


def without_queries(text: str) -> str:
    """Cut the query off every URL: a presigned one carries its signature there. Takes time linear in the length."""
    return _URL.sub(_without_query, text)


def _without_query(url: re.Match[str]) -> str:
    base, mark, _ = url[0].partition("?")
    return f"{base}?…" if mark else base


def _escaped(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Write out the characters that a terminal would act on or hide."""
    return {name: _printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
