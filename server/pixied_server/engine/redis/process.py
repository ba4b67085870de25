"""What the parts of the engine in one process share."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from time import time
from typing import Any

from pixied_server.core import identifiers
from pixied_server.engine.abc import Counters, Listener
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.redis.layout import Layout
from pixied_server.engine.redis.partition import Holds, Partition
from pixied_server.engine.redis.positions import Positions
from pixied_server.engine.redis.store import Store
from pixied_server.errors import PixiedError

__all__ = ["Process"]


class Process:
    """One of the processes over a store.

    Args:
        store: the store.
        layout: where things are in it.
        limits: what all processes hold at most.
        replicas: what changes something is only answered when so many replicas have it.
        clock: tells the time in seconds since the epoch; None for the store's own.

    Attributes:
        name: tells it from all others.
        partitions: all of them.
        positions: number what is announced here.
        counters: what happened here.
        listener: is told what happens.
    """

    listener: Listener

    def __init__(
        self, store: Store, layout: Layout, limits: EngineLimits, replicas: int, clock: Callable[[], float] | None
    ) -> None:
        self.name = identifiers.Letters().draw(16)
        self.layout = layout
        self.limits = limits
        self.partitions: Sequence[Partition] = [
            Partition(store, base, number, self.name, clock, replicas) for number, base in enumerate(layout.bases)
        ]
        self.positions = Positions(0, layout.partitions)
        self.counters = Counters()
        self._clock = clock or time
        self._tasks: set[asyncio.Task[Any]] = set()

    def home(self, client_id: str) -> Partition:
        """The partition of a client."""
        return self.partitions[self.layout.of(client_id)]

    def now(self) -> float:
        """The time, in seconds since the epoch, as events show it."""
        return self._clock()

    # What is held in all

    async def at_limit(self, held: Callable[[Holds], int], limit: int) -> bool:
        """Whether as much is held as may be: looked up again only where it seems so."""
        if not self.seems_at_limit(held, limit):
            return False
        await self.refresh()
        return self.seems_at_limit(held, limit)

    def seems_at_limit(self, held: Callable[[Holds], int], limit: int) -> bool:
        """Whether as much is held as may be, as far as this process has seen."""
        return sum(held(partition.holds) for partition in self.partitions) >= limit

    async def refresh(self) -> None:
        """Look up what each partition holds."""
        await asyncio.gather(*[partition.do("hello") for partition in self.partitions])

    # Work that nobody waits for

    @property
    def busy(self) -> bool:
        """Whether an answer of the store is waited for."""
        return bool(self._tasks) or any(partition.busy for partition in self.partitions)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something without anyone waiting for it; an answer that does not come is no fault."""

        async def quietly() -> None:
            with suppress(PixiedError):
                await work

        task = asyncio.get_running_loop().create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> bool:
        """Wait for the work that is under way. Returns whether there was any."""
        tasks = list(self._tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        return bool(tasks)

    async def close(self) -> None:
        """Give the work up that is under way."""
        for task in list(self._tasks):
            task.cancel()
        await self.finish()
