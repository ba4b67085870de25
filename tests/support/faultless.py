"""Faults that a program survives, which therefore no test would notice: exceptions that are logged, and no more."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

__all__ = ["no_fault_logged"]


class _Handler(logging.Handler):
    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))


@contextmanager
def no_fault_logged() -> Iterator[None]:
    """Fail at the end of the context if an exception was logged in it: by pixied, or by asyncio for a callback or task.

    Raises:
        AssertionError: there was one.
    """
    faults: list[str] = []

    def note(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method == "exception" or event.get("exc_info"):
            faults.append(str(event))
        return event

    handler = _Handler(faults)
    processors = structlog.get_config()["processors"]
    processors.insert(0, note)
    logging.getLogger("asyncio").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("asyncio").removeHandler(handler)
        processors.remove(note)
    assert not faults, "\n".join(faults)
