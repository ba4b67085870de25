"""How long one call to the store is tried again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pixied_server.engine.redis.connection.failures import StoreRefuses, StoreUnavailable

__all__ = ["FIRST_PAUSE", "Attempts"]

FIRST_PAUSE = 0.01
"""The pause after the first attempt, in seconds."""

_LONGEST_PAUSE = 0.2


class Attempts:
    """See the module.

    Args:
        timeout: seconds that the call takes at most.

    Attributes:
        deadline: when it has to be over, by the loop's clock.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pause = FIRST_PAUSE
        self._failure: StoreUnavailable | None = None
        self.deadline = self._loop.time() + timeout

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.deadline - self._loop.time())

    async def pause(self, failure: StoreUnavailable) -> None:
        """Wait before the next attempt, each time longer.

        Raises:
            StoreUnavailable: another attempt can't help, or the time is up.
        """
        if isinstance(failure, StoreRefuses):
            raise failure
        self._failure = failure
        if not self.left:
            raise StoreUnavailable(f"{failure} (tried for {self._timeout:g} s)")
        await asyncio.sleep(min(self._pause, self.left))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    @asynccontextmanager
    async def limit(self, where: object) -> AsyncIterator[None]:
        """End the context at the deadline.

        Raises:
            StoreUnavailable: the deadline came first.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                yield
        except TimeoutError:
            raise self._failure or StoreUnavailable(f"{where} does not answer") from None
