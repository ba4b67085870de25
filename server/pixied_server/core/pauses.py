"""Standing still: a process that is stopped, or a machine that is suspended, and goes on later."""

from collections.abc import Callable

__all__ = ["Pauses"]

# Seconds. A process that runs asks for the time each second; after a pause it has so long to read what came meanwhile.
_SHORTEST = 2.5
_GRACE = 5.0


class Pauses:
    """A clock that stays behind after a pause until what waits in the sockets has been read.

    What ends by this clock does not end because the process stood still: who wanted to prolong it has tried, and is
    heard first. It has to be asked more often than every 2.5 s, or that counts as a pause.

    Args:
        clock: tells the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_at = clock()
        self._stays_at = 0.0
        self._until = 0.0

    def __call__(self) -> float:
        """Tell the time; for 5 s after a pause, that of its beginning."""
        now = self._clock()
        if now > self._asked_at + _SHORTEST:
            if self._asked_at >= self._until:
                self._stays_at = self._asked_at
            self._until = now + _GRACE
        self._asked_at = now
        return self._stays_at if now < self._until else now
