"""The state that the parts of the engine share in one process."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from time import time
from typing import Any

import structlog

from pixied_server.core import identifiers
from pixied_server.engine.abc import Counters, Listener
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.redis.connection.store import Store
from pixied_server.engine.redis.partition.calls import Totals
from pixied_server.engine.redis.partition.clock import elapsed
from pixied_server.engine.redis.partition.layout import Layout
from pixied_server.engine.redis.partition.protocol import Partition
from pixied_server.errors import PixiedError

__all__ = ["Process"]

_log = structlog.get_logger(__name__)


def _steady() -> Callable[[], float]:
    """Return a clock of seconds since the epoch that nobody sets: rates go by it too."""
    offset = time() - elapsed()
    return lambda: elapsed() + offset


class Process:
    """One of the processes over a store.

    Args:
        store: the store.
        layout: the names of its keys.
        limits: what all processes hold at most.
        replicas: a change is answered only when so many replicas have it.
        clock: tells the time in seconds since the epoch; None for the store's own.

    Attributes:
        name: unique among all processes.
        partitions: all of them.
        counters: what happened here.
        listener: receives what the engine announces.
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
        self.counters = Counters()
        self._clock = clock or _steady()
        self._tasks: set[asyncio.Task[Any]] = set()

    def home(self, name: str) -> Partition:
        """Return the partition of a client, a channel, or anything else that has a name."""
        return self.partitions[self.layout.of(name)]

    def now(self) -> float:
        """Return the time for events, in seconds since the epoch."""
        return self._clock()

    # What is held in all

    async def at_limit(self, held: Callable[[Totals], int], limit: int) -> bool:
        """Return whether a limit is reached: asks the store only where it seems so."""
        if not self.seems_at_limit(held, limit):
            return False
        await self.refresh()
        return self.seems_at_limit(held, limit)

    def seems_at_limit(self, held: Callable[[Totals], int], limit: int) -> bool:
        """Return whether a limit is reached, as far as this process has seen."""
        return self.held(held) >= limit

    def held(self, held: Callable[[Totals], int]) -> int:
        """Return how much all partitions hold together, as far as this process has seen."""
        return sum([held(partition.totals) for partition in self.partitions])

    async def refresh(self) -> None:
        """Ask each partition how much it holds."""
        await asyncio.gather(*[partition.head().result for partition in self.partitions])

    # Background work

    @property
    def busy(self) -> bool:
        """Whether background work or an operation of a partition is under way."""
        return bool(self._tasks) or any(partition.busy for partition in self.partitions)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background; it logs failures other than the store's."""

        async def watched() -> None:
            try:
                with suppress(PixiedError):
                    await work
            except Exception:  # noqa: BLE001 - nobody else sees it
                _log.exception("what was to be done beside a call has failed")

        task = asyncio.get_running_loop().create_task(watched())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Where it is given up before it has begun nobody else does.
        task.add_done_callback(lambda _: work.close())

    async def finish(self) -> bool:
        """Wait for the background work that is under way. Return whether there was any."""
        tasks = list(self._tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        return bool(tasks)

    async def close(self) -> None:
        """Cancel the background work that is under way."""
        for task in list(self._tasks):
            task.cancel()
        await self.finish()
