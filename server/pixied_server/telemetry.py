"""Logging: console lines for people, JSON lines for machines, and no secret in either."""

import logging
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure", "mask", "mask_secrets"]

SECRET_KEYS = frozenset({"client_id", "client_ids", "token", "url"})
"""Keys whose values are secrets, or hold one."""

OWN_LOGGERS = ("pixied", "pixied_client", "pixied_server")
"""Loggers that obey every level. What libraries write for debugging has payloads and client ids: it is left out."""

_GRPC = "grpc._cython.cygrpc"
_BROKEN = "ExecuteBatchError"

SHOWN = 4
"""How many characters of a secret are shown: enough to tell two lines apart, far too few to guess the rest."""


def configure(level: str, style: str, stream: TextIO) -> None:
    """Sends every log line of this process to one stream, those of the standard library's loggers too.

    Args:
        level: The least severe level to write, such as `info`. Libraries write nothing below `info`.
        style: `console`, `json`, or `auto`: console if the stream is a terminal.
        stream: Where lines go.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        mask_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A logger bound before this call must obey it too, and tests configure more than once.
        cache_logger_on_first_use=False,
    )
    console = style == "console" or (style == "auto" and stream.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *(_console(colors=stream.isatty()) if console else _json()),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    logging.getLogger(_GRPC).addFilter(_is_news)
    logging.root.setLevel(max(logging.getLevelNamesMapping()[level.upper()], logging.INFO))
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())


def _is_news(record: logging.LogRecord) -> bool:
    """Leaves out what grpc.aio says when a caller goes while its answer is written: an error, with a traceback each.

    Its class is hidden, and its text tells it from what gRPC refuses to write.
    """
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != _BROKEN or not str(error).startswith('Failed "execute_batch"')


def mask(secret: str) -> str:
    """Shortens a secret to something that can be shown."""
    return f"{secret[:SHOWN]}…" if secret else ""


def mask_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Masks the values of secret keys, as a structlog processor."""
    del logger, method
    return {key: _masked(value) if key in SECRET_KEYS else _inside(value) for key, value in event.items()}


def _masked(value: object) -> object:
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    return value if value is None else mask(str(value))


def _inside(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _masked(item) if key in SECRET_KEYS else _inside(item) for key, item in value.items()}
    return value


def _console(*, colors: bool) -> tuple[Processor, ...]:
    return (structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),)


def _json() -> tuple[Processor, ...]:
    # Local variables in a traceback would bring payloads and client ids into the log.
    traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return (structlog.processors.ExceptionRenderer(traceback), structlog.processors.JSONRenderer())
