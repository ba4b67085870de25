"""When to try again, and after which pause: exponential backoff with full jitter. Clock and chance are arguments."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

from pixied_client.errors import PixiedError

__all__ = ["DEFAULT_RETRIES", "Attempts", "Backoff", "Retries"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow: the n-th is random between 0 and `first * 2 ** n` seconds, at most `longest`.

    All of the pause is random, so that a thousand callers who failed together don't come back together.
    """

    first: float = 0.1
    longest: float = 5.0

    def pause(self, failures: int, random: Callable[[], float]) -> float:
        """Give the pause in seconds after so many failures before this one; `random` gives 0 <= x < 1."""
        # The exponent is bounded, for 2.0 ** 1024 overflows: a server may be away for days.
        return random() * min(self.longest, self.first * 2.0 ** min(failures, 64))


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call that can be repeated safely is tried while the server is unavailable.

    Attributes:
        attempts: how often in all; 1 is no retry, None is as often as the call's deadline allows, which holds for all.
        backoff: the pauses between them.
    """

    attempts: int | None = None
    backoff: Backoff = Backoff(first=0.05, longest=1.0)


DEFAULT_RETRIES: Final = Retries()


class Attempts:
    """The attempts of one call.

    Args:
        retries: the policy.
        repeatable: whether doing it twice does no more than doing it once.
        deadline: when the caller gives up, on the clock whose `now` is passed.
        random: gives 0 <= x < 1.
    """

    def __init__(self, retries: Retries, *, repeatable: bool, deadline: float, random: Callable[[], float]) -> None:
        self._backoff = retries.backoff
        self._left = (math.inf if retries.attempts is None else retries.attempts) if repeatable else 1
        self._deadline = deadline
        self._random = random
        self._failures = 0

    def remaining(self, now: float) -> float:
        """Give the seconds until the deadline."""
        return max(0.0, self._deadline - now)

    def pause_after(self, error: PixiedError, now: float) -> float | None:
        """Give the pause in seconds before the next attempt, or None if there shall be none.

        A server's RetryInfo is the least pause: the jitter comes on top, so that its callers come back spread.
        """
        self._left -= 1
        if self._left <= 0 or error.code is not grpc.StatusCode.UNAVAILABLE:
            return None
        pause = (error.retry_after or 0.0) + self._backoff.pause(self._failures, self._random)
        self._failures += 1
        return pause if now + pause < self._deadline else None
