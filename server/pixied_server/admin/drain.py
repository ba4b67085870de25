"""A planned stop: tell every stream, finish what is under way, then end."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from pixied_server.errors import Draining

__all__ = ["Drain"]

# Front-ends come back within so many seconds, spread evenly, so that their clients do not all return at once.
_SPREAD = 2.0


class Drain:
    """Knows the open streams and the calls under way, and whether the process is stopping.

    Args:
        grace: how long, in seconds, streams have for their end unless whoever begins the stop says otherwise.
        on_begin: is called once when the stop begins.
        random: spreads the clients' return.
    """

    def __init__(self, grace: float, on_begin: Callable[[], None], random: Random) -> None:
        self.grace = grace
        self._on_begin = on_begin
        self._random = random
        self._streams = 0
        self._calls = 0
        self._begun = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        # While the end is waited for.
        self._limit: asyncio.Timeout | None = None

    @property
    def begun(self) -> bool:
        """Whether the process is stopping."""
        return self._begun.is_set()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    def begin(self, grace: float | None = None) -> None:
        """Begin the stop. Idempotent: a later call changes nothing but the grace, if it gives one: it begins anew."""
        if grace is not None:
            self.grace = grace
            if self._limit is not None:
                self._limit.reschedule(asyncio.get_running_loop().time() + grace)
        if not self.begun:
            self._begun.set()
            self._on_begin()

    async def wait(self) -> None:
        """Wait until the stop begins."""
        await self._begun.wait()

    async def finished(self) -> bool:
        """Wait until no stream is open and no call under way, at most for the grace. Returns whether that was so."""
        try:
            async with asyncio.timeout(self.grace) as self._limit:
                await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._limit = None
        return True

    def delay_ms(self) -> int:
        """After how many milliseconds the next stream that is told should come back."""
        return round(self._random.uniform(0, _SPREAD) * 1000)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A stream is open as long as the context lasts.

        Raises:
            Draining: the stop has begun.
        """
        if self.begun:
            raise Draining
        self._streams += 1
        try:
            with self.call():
                yield
        finally:
            self._streams -= 1

    @contextmanager
    def call(self) -> Iterator[None]:
        """Something that the stop waits for is under way as long as the context lasts."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()
