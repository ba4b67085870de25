"""Links that are behind: what was announced, is in no memory here, and is read from the logs again."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from pixied_server.core.backlog import Portion
from pixied_server.core.log import Entry
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.mail import entry_of
from pixied_server.engine.redis.partition import Partition
from pixied_server.engine.redis.positions import Positions

__all__ = ["Behind"]

# One log gives at most so many messages at a time.
_MESSAGES = 1_000


class Behind:
    """Reads announced mail again, at the positions it was announced at.

    It notes the positions of each followed pattern's mail for as long as a link may have to read it: what the log no
    longer has when it is read was lost.

    Args:
        partitions: all of them.
        positions: what was announced where.
        most: so many messages a log holds at most.
        cut: is told of each message that is lost.
    """

    def __init__(
        self, partitions: Sequence[Partition], positions: Positions, most: int, cut: Callable[[str, int], None]
    ) -> None:
        self._partitions = partitions
        self._positions = positions
        self._most = most
        self._cut = cut
        self._noted: dict[str, deque[int]] = {}

    def note(self, position: int, patterns: Sequence[str]) -> None:
        """Mail of these patterns was announced."""
        for pattern in patterns:
            noted = self._noted.setdefault(pattern, deque())
            noted.append(position)
            if len(noted) > self._most:
                self._cut(pattern, noted.popleft())

    def forget(self, position: int) -> None:
        """Nobody will have to read what was announced up to a position."""
        for pattern in list(self._noted):
            noted = self._noted[pattern]
            while noted and noted[0] <= position:
                noted.popleft()
            if not noted:
                del self._noted[pattern]

    async def read(self, logs: Sequence[Log], after: int, upto: int, *, messages: int, size: int) -> Portion:
        """See `Engine.read`."""
        by_partition: dict[int, list[str]] = {}
        for partition, pattern in logs:
            by_partition.setdefault(partition, []).append(pattern)
        parts = await asyncio.gather(
            *[
                self._read(partition, patterns, after, upto, size // len(by_partition) + 1)
                for partition, patterns in by_partition.items()
            ]
        )
        bound = min([upto, *(reached for _, reached, _ in parts)])
        found: dict[int, Entry] = {}
        seen: dict[str, set[int]] = {}
        for entries, _, positions in parts:
            found |= {entry.position: entry for entry in entries if entry.position <= bound}
            for pattern, some in positions.items():
                seen.setdefault(pattern, set()).update(some)
        taken = self._taken([found[position] for position in sorted(found)], messages, size)
        if len(taken) < len(found):
            bound = taken[-1].position
        for pattern, some in seen.items():
            self._find_lost(pattern, some, after, bound)
        return Portion(taken, [], bound)

    async def _read(
        self, partition: int, patterns: Sequence[str], after: int, upto: int, size: int
    ) -> tuple[list[Entry], int, dict[str, set[int]]]:
        """The entries of one partition, the position up to which they are all, and which each pattern has."""
        begin = self._positions.place_at(partition, after)
        end = self._positions.place_at(partition, upto)
        words: list[str | int] = [_MESSAGES, size, end, len(patterns)]
        for pattern in patterns:
            # The offset says nothing is missing: that is found out by what was noted.
            words += (pattern, begin, 1 << 52)
        _, _, *answers = await self._partitions[partition].do("read", *words)
        entries: dict[int, Entry] = {}
        has: dict[str, set[int]] = {pattern: set() for pattern in patterns}
        reached = upto
        for pattern, (_, _, more, found) in zip(patterns, answers, strict=True):
            position = after
            for name, at, stored in found:
                position = self._positions.position_of(partition, int(name.split(b"-")[0]))
                entries[position] = entry_of(position, at, stored)
                has[pattern].add(position)
            if more:
                reached = min(reached, position)
        return list(entries.values()), reached, has

    def _taken(self, entries: list[Entry], messages: int, size: int) -> list[Entry]:
        taken = 0
        for entry in entries[:messages]:
            size -= entry.message.size
            if taken and size < 0:
                break
            taken += 1
        return entries[:taken]

    def _find_lost(self, pattern: str, seen: set[int], after: int, upto: int) -> None:
        for position in list(self._noted.get(pattern, ())):
            if after < position <= upto and position not in seen:
                self._cut(pattern, position)
