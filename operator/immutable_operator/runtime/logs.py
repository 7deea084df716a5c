"""Logs: structlog for our own messages and those of libraries, as JSON lines or for a terminal."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Literal

import structlog
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["LogFormat", "configure_logs"]

LogFormat = Literal["json", "console"]


def configure_logs(form: LogFormat, level: str = "INFO") -> None:
    """Send all logs to standard error in one format. The renderers escape values."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line per object event is noise; the operator logs the important ones itself.
    for name in ("kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    _log_what_python_prints()


def _log_what_python_prints() -> None:
    """Send to the log what Python itself would write to standard error in a form of its own."""
    logging.captureWarnings(True)
    log = logging.getLogger("python")

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        where = f"{found.err_msg or 'Exception ignored in'}: {found.object!r}"
        log.warning(where, exc_info=found.exc_value)

    def in_thread(found: threading.ExceptHookArgs) -> None:
        name = found.thread.name if found.thread else "a thread"
        log.error(f"unhandled exception in {name}", exc_info=found.exc_value)

    sys.unraisablehook = unraisable
    threading.excepthook = in_thread
    sys.excepthook = lambda _, error, __: log.critical("unhandled exception", exc_info=error)


def _is_ours(record: logging.LogRecord) -> bool:
    """Return False for bytes that are not HTTP: aiohttp would quote all of them in the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
