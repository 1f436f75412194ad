"""Logs: readable in a terminal, JSON in production, and never with a secret in them.

Lines of libraries (Dramatiq among them) pass through the same chain as our own.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from typing import Any, Final, Protocol, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from teknav_ops.configured_secrets import mask_configured_secrets
from teknav_ops.one_line import for_terminal
from teknav_ops.payloads.redaction import redact_long
from teknav_ops.settings import Settings

#: Of one value of a line, a traceback with its error's text among them.
_LIMIT_CHARACTERS: Final = 32_000


class LoggedJob(Protocol):
    """A running job, as far as its log lines need it."""

    secrets: frozenset[str]

    def log_facts(self) -> dict[str, Any]:
        """What every line says of it."""


#: The job that runs in this thread. Its secrets are masked in whatever is logged meanwhile.
current_job: contextvars.ContextVar[LoggedJob | None] = contextvars.ContextVar("current_job", default=None)


def configure_logs(settings: Settings) -> None:
    """Set up structlog and the standard library's logging for this process; safe to call again."""
    mask_configured_secrets(settings)
    in_production = settings.environment == "production"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_job,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderers: list[Processor] = (
        [structlog.processors.JSONRenderer(ensure_ascii=False)] if in_production else _for_terminal()
    )
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # libvips tells each step of its pipeline at INFO.
    logging.getLogger("pyvips").setLevel(logging.WARNING)
    # `dramatiq -v` asked for more: let it.
    root.setLevel(logging.DEBUG if root.level == logging.DEBUG else settings.log_level)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment: it may be another, or closed, by the time a line comes.

    A handler that fails tells of it with the line's arguments, before anything was masked in them.
    """

    @property
    def stream(self) -> TextIO:
        """The stream of the moment."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Ours is always stderr."""


class MaskedFormatter(logging.Formatter):
    """For a process that logs without structlog: a line, and the traceback below it, with secrets masked."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return redact_long(super().format(record), _LIMIT_CHARACTERS)


def configure_command_logs() -> None:
    """For a command that answers and ends: stdout is for its answer, so warnings go to stderr, and less is not said."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # The renderer's own way with exceptions shows the variables of each frame, and so what is secret.
            structlog.processors.format_exc_info,
            _redact_secrets,
            *_for_terminal(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _for_terminal() -> list[Processor]:
    return [_write_controls_out, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _write_controls_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: for_terminal(value) if isinstance(value, str) else value for name, value in event.items()}


def _add_job(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    job = current_job.get()
    return {**job.log_facts(), **event} if job is not None else event


def _redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    job = current_job.get()
    secrets = frozenset() if job is None else job.secrets
    for name, value in event.items():
        event[name] = _redacted(value, secrets)
    return event


def _redacted(value: Any, secrets: frozenset[str]) -> Any:
    if isinstance(value, str):
        return redact_long(value, _LIMIT_CHARACTERS, secrets)
    if isinstance(value, dict):
        return {name: _redacted(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, secrets) for item in value]
    return value
