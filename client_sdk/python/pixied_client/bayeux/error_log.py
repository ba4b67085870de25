"""What fails for one message goes into the log, and no caller can fill the log with it."""

import logging
import time
from collections.abc import Callable
from traceback import walk_tb
from typing import Final, TypeAlias

__all__ = ["ErrorLog"]

_log = logging.getLogger("pixied_client.bayeux")

_INTERVAL: Final = 60.0
"""Seconds between two traces of one kind."""
_KINDS: Final = 1_000

_Kind: TypeAlias = tuple[type[BaseException], str, int]


class ErrorLog:
    """Logs the first failure of a kind with its trace, and then, once a minute at most, how many came since.

    One kind is what one line of the code raises. A request may have a thousand messages that fail alike, and a caller
    may send as many requests: a trace is longer than a message.

    Args:
        now: tells the time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._kinds: dict[_Kind, tuple[float, int]] = {}

    def report(self, what: str, error: BaseException) -> None:
        """Log an error, or count it.

        Args:
            what: what failed, for people; without secrets.
            error: why.
        """
        kind = _kind_of(error)
        logged_at, since = self._kinds.get(kind, (None, 0))
        now = self._now()
        if logged_at is not None and now - logged_at < _INTERVAL:
            self._kinds[kind] = logged_at, since + 1
            return
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = now, 0
        more = f"; {since} more like this one since the last" if since else ""
        _log.error("%s%s", what, more, exc_info=error)


def _kind_of(error: BaseException) -> _Kind:
    frames = list(walk_tb(error.__traceback__))
    frame, line = frames[-1] if frames else (None, 0)
    return type(error), frame.f_code.co_filename if frame else "", line
