"""What uvicorn logs: of callers no line that shows what they asked for, and no line for each of them."""

import logging
import time
from collections.abc import Callable
from typing import Final

__all__ = ["OncePerMinute"]

_INTERVAL: Final = 60.0
"""Seconds between two lines of one kind."""


class OncePerMinute(logging.Filter):
    """Passes warnings and errors, each kind once a minute at most, with the number of those that came since.

    Any caller can cause them, with a few bytes and as often as it likes. One kind is what one line of the code says,
    whatever its arguments.

    Less severe lines are dropped: there are some for each WebSocket, with its query, where browsers, which can set no
    headers there, put their tokens.

    Args:
        now: tells the time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._kinds: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is to be written; its text is given the number."""
        if record.levelno < logging.WARNING:
            return False
        kind, now = (record.pathname, record.lineno), self._now()
        written_at, since = self._kinds.get(kind, (None, 0))
        if written_at is not None and now - written_at < _INTERVAL:
            self._kinds[kind] = written_at, since + 1
            return False
        self._kinds[kind] = now, 0
        if since:
            record.msg = f"{record.msg} ({since} more like this one since the last)"
        return True
