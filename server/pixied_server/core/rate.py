"""A limit on how often something may happen."""

from math import inf

__all__ = ["TokenBucket"]


class TokenBucket:
    """Lets `rate` things a second pass, and after a quiet second as many at once.

    Args:
        rate: things a second; 0 for no limit.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._burst = max(rate, 1.0)
        self._tokens = self._burst
        self._at = -inf

    def take(self, count: int, now: float) -> float:
        """Let `count` things pass: 0.0 if they may, otherwise how many seconds to wait, and nothing is taken.

        More things than one second's worth pass when the bucket is full, and the next ones wait for longer.
        """
        if not self.rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        needed = min(float(count), self._burst)
        if self._tokens < needed:
            return (needed - self._tokens) / self.rate
        self._tokens -= count
        return 0.0
