"""Keeping all messages within `max_total_bytes`."""

import asyncio

from pixied_server.engine.redis.process import Process

__all__ = ["Retention"]

_ALL = 1 << 53
# So much more than it must is taken away at once, as a share of all: so this is not to be done for each message.
_SPARE = 64
# Of less than this not a message more goes than must.
_LARGE = 1_000_000


class Retention:
    """Takes the oldest messages of all partitions away while there is too much.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._shrinking: asyncio.Task[None] | None = None

    async def keep_within(self) -> None:
        """Wait until there is no more than may be, as far as this process has seen."""
        while self._excess > 0 and await self._shrink():
            pass

    @property
    def _excess(self) -> int:
        return self._process.held(lambda totals: totals.bytes) - self._process.limits.total_bytes

    async def _shrink(self) -> bool:
        """All who find that there is too much wait for the same. Returns whether anything went."""
        before = self._process.held(lambda totals: totals.bytes)
        if self._shrinking is None:
            self._shrinking = asyncio.get_running_loop().create_task(self._shrink_once())
            self._shrinking.add_done_callback(self._shrunk)
        await asyncio.shield(self._shrinking)
        return self._process.held(lambda totals: totals.bytes) < before

    def _shrunk(self, task: "asyncio.Task[None]") -> None:
        self._shrinking = None
        if not task.cancelled():
            task.exception()

    async def _shrink_once(self) -> None:
        """Take away what is too much, and a little more: the oldest of all first."""
        await self._process.refresh()
        excess = self._excess
        if excess <= 0:
            return
        excess += self._process.limits.total_bytes // _SPARE if self._process.limits.total_bytes > _LARGE else 0
        oldest = dict(zip(self._process.partitions, await self._look(), strict=True))
        while excess > 0:
            ages = sorted((place, partition.number) for partition, place in oldest.items() if place is not None)
            if not ages:
                return
            partition = self._process.partitions[ages[0][1]]
            freed, oldest[partition] = await partition.shrink(excess, ages[1][0] if len(ages) > 1 else _ALL)
            excess -= freed

    async def _look(self) -> list[int | None]:
        answers = [partition.shrink(0, 0) for partition in self._process.partitions]
        await asyncio.gather(*[answer.result for answer in answers])
        return [(await answer)[1] for answer in answers]
