"""Elapsed time, as a partition and a process agree on it.

Redis's wall clock may be set, and so may this machine's. Neither must end a session early or let it live longer. So a
process sends with each call the time that it expects, by a clock that nobody sets; the script stays close to that.
Where the two differ for good, the process corrects the partition's clock, unless other processes agree with the latter.
"""

import time
from collections.abc import Callable

__all__ = ["ElapsedClock", "elapsed"]

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# Seconds by which a partition's clock may differ from the expected time, besides the time that a call takes.
_TOLERANCE = 0.05
# The share of a small difference that each call corrects: the two clocks do not run at quite the same speed.
_SHARE = 0.1


def elapsed() -> float:
    """Return seconds since some moment, including those in which the machine slept."""
    return time.clock_gettime(_CLOCK)


class ElapsedClock:
    """The time that a partition's clock should show.

    Args:
        now: tells elapsed seconds.
    """

    def __init__(self, now: Callable[[], float] = elapsed) -> None:
        self._now = now
        self._offset: float | None = None

    def expected(self) -> float | None:
        """Return the time that the partition's clock should show now; None before its first answer."""
        return None if self._offset is None else self._now() + self._offset

    def saw(self, shown: float, sent: float | None) -> bool:
        """Note the time in the answer to a call that was sent when the clock should have shown `sent`.

        Returns:
            Whether the clock was right. If it was not, the expected time stays as it is.
        """
        now = self._now()
        if self._offset is None or sent is None:
            self._offset = shown - now
            return True
        received = now + self._offset
        if not sent - _TOLERANCE <= shown <= received + _TOLERANCE:
            return False
        # The clock was read some time between sending and receiving: only outside of that it is known to differ.
        nearest = min(max(shown, sent), received)
        self._offset += _SHARE * (shown - nearest)
        return True

    def trust(self, shown: float) -> None:
        """Follow the partition's clock from now on."""
        self._offset = shown - self._now()
