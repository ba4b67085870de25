"""Elapsed time, as a partition and a process agree on it.

A wall clock may be set: Redis's, or this machine's. Neither must end a session early or let it live longer. So a
process tells with each call what time it expects, by a clock that no one sets; the script does not go far from that.
Where the two differ for good, the process has the partition's clock corrected, unless other processes agree with it.
"""

import time
from collections.abc import Callable

__all__ = ["ElapsedClock", "elapsed"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# Seconds by which a partition's clock may differ from what is expected beside the time that a call takes.
_TOLERANCE = 0.05
# So much of a small difference is made up for with each call: the two clocks do not run at quite the same speed.
_SHARE = 0.1


def elapsed() -> float:
    """Return seconds since some moment, those included in which the machine slept."""
    return time.clock_gettime(_CLOCK)


class ElapsedClock:
    """What time a partition's clock should show.

    Args:
        now: tells elapsed seconds.
    """

    def __init__(self, now: Callable[[], float] = elapsed) -> None:
        self._now = now
        self._offset: float | None = None

    def expected(self) -> float | None:
        """Return what the partition's clock should show at this moment; None if it was never asked."""
        return None if self._offset is None else self._now() + self._offset

    def saw(self, shown: float, sent: float | None) -> bool:
        """Note what the clock showed in the answer to a call that was sent when it should have shown `sent`.

        Returns:
            Whether it was right. If it was not, what is expected stays as it is.
        """
        now = self._now()
        if self._offset is None or sent is None:
            self._offset = shown - now
            return True
        received = now + self._offset
        if not sent - _TOLERANCE <= shown <= received + _TOLERANCE:
            return False
        # It was shown somewhere between sending and receiving: only outside of that it is known to differ.
        nearest = min(max(shown, sent), received)
        self._offset += _SHARE * (shown - nearest)
        return True

    def trust(self, shown: float) -> None:
        """Expect from now on what the partition's clock shows."""
        self._offset = shown - self._now()
