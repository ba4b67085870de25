"""Keeping all messages within `max_total_bytes`, and within the memory that Redis has."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from pixied_server.engine.redis.partition.protocol import Partition
from pixied_server.engine.redis.process import Process
from pixied_server.errors import EngineUnavailable

__all__ = ["Retention"]

_log = structlog.get_logger(__name__)

_ALL = 1 << 53
# Trimming takes this share of all more than it must, so that not every message causes one.
_SPARE = 32
# With smaller limits only what must go goes, and exactly the oldest messages of all.
_LARGE = 1_000_000
# With larger ones a partition gives this part at once, though others may have slightly older messages: where publishes
# go to all partitions in turns, each call would take only one message away.
_PARTS = 4
# This share of what a server holds goes when it has no memory left: its limit may be lower than ours.
_SQUEEZED = 20
# Seconds until the next attempt where that was in vain, because others fill the server.
_VAIN = 1.0
# Seconds between two log lines about it.
_TOLD = 60.0


class Retention:
    """Takes the oldest messages of all partitions away while there are too many.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._shrinking: asyncio.Task[None] | None = None
        self._squeezing: dict[str, asyncio.Task[bool]] = {}
        # For each server, when messages last made room there, and how much it held then.
        self._squeezed: dict[str, tuple[float, int]] = {}
        self._told = -_TOLD

    async def keep_within(self) -> None:
        """Wait until the messages are within their limit, as far as this process has seen."""
        while self._excess > 0 and await self._shrink():
            pass

    @property
    def _excess(self) -> int:
        return self._held() - self._process.limits.total_bytes

    def _held(self) -> int:
        return self._process.held(lambda totals: totals.bytes)

    async def _shrink(self) -> bool:
        """Trim once; concurrent callers wait for the same. Return whether anything went."""
        before = self._held()
        if self._shrinking is None:
            self._shrinking = asyncio.get_running_loop().create_task(self._shrink_once())
            self._shrinking.add_done_callback(self._shrunk)
        # The messages are stored: where a partition does not answer, the next publish sees to it.
        with suppress(EngineUnavailable):
            await asyncio.shield(self._shrinking)
        return self._held() < before

    def _shrunk(self, task: "asyncio.Task[None]") -> None:
        self._shrinking = None
        if not task.cancelled():
            task.exception()

    async def _shrink_once(self) -> None:
        """Take away what exceeds the limit, and a little more."""
        # The answers also tell what is held now.
        oldest = await _look(self._process.partitions)
        excess = self._excess
        if excess > 0:
            large = self._process.limits.total_bytes > _LARGE
            excess += self._process.limits.total_bytes // _SPARE if large else 0
            await _take(oldest, excess, excess // _PARTS if large else 0)

    # A server without memory

    async def make_room(self, number: int, since: float) -> bool:
        """See `MakeRoom`: the server's oldest messages go, a few more than must."""
        server = await self._process.partitions[number].server()
        if self._squeezed.get(server, (0.0, 0))[0] > since:
            return True
        if server not in self._squeezing:
            squeezing = asyncio.get_running_loop().create_task(self._squeeze(server))
            self._squeezing[server] = squeezing
            squeezing.add_done_callback(lambda _: self._squeezing.pop(server))
        return await asyncio.shield(self._squeezing[server])

    async def _squeeze(self, server: str) -> bool:
        there = [one for one in self._process.partitions if one.known_server == server]
        oldest = await _look(there, at_once=True)
        now = asyncio.get_running_loop().time()
        at, held = self._squeezed.get(server, (-_VAIN, 0))
        if (holds := _held_by(there)) <= held and now - at < _VAIN:
            return False
        size = holds // _SQUEEZED + 1
        freed = await _take(oldest, size, size // _PARTS if holds > _LARGE else 0, at_once=True)
        self._squeezed[server] = (asyncio.get_running_loop().time(), _held_by(there))
        if now - self._told >= _TOLD:
            self._told = now
            _log.error("the store has no memory left (maxmemory): the oldest messages go", server=server, freed=freed)
        return freed > 0


def _held_by(partitions: Sequence[Partition]) -> int:
    return sum(one.totals.bytes for one in partitions)


async def _look(partitions: Sequence[Partition], *, at_once: bool = False) -> dict[Partition, int | None]:
    """Find the oldest message of each partition."""
    answers = {partition: partition.shrink(0, 0, at_once=at_once) for partition in partitions}
    oldest: dict[Partition, int | None] = {}
    for partition, answer in answers.items():
        # One that does not answer keeps the others from nothing.
        with suppress(EngineUnavailable):
            oldest[partition] = (await answer)[1]
    return oldest


async def _take(oldest: Mapping[Partition, int | None], size: int, part: int, *, at_once: bool = False) -> int:
    """Take the oldest messages of partitions away, until so many bytes are free. Return how many are.

    Args:
        oldest: the partitions, and the sequence of each one's oldest message.
        size: how many bytes.
        part: how many of these bytes a partition may give although another one has older messages.
        at_once: ahead of operations that wait.
    """
    left = dict(oldest)
    taken = 0
    while taken < size:
        ages = sorted((place, partition.number, partition) for partition, place in left.items() if place is not None)
        if not ages:
            break
        _, _, partition = ages[0]
        upto = ages[1][0] if len(ages) > 1 and not part else _ALL
        freed, left[partition] = await partition.shrink(min(size - taken, part or size), upto, at_once=at_once)
        taken += freed
    return taken
