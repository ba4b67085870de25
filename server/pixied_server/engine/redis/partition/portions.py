"""Reading more logs than one call of the script may look at: some of them in each call, as if it were one."""

from collections.abc import Sequence

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.engine.redis.partition.protocol import Partition, Read

__all__ = ["read_in_portions"]

# A call that reads so many logs takes about 2 ms. Lua can't take more than some 8,000 at all.
_LOGS = 250


async def read_in_portions(
    partition: Partition,
    logs: Sequence[tuple[str, int, int]],
    *,
    upto: int,
    messages: int,
    size: int,
    least: int,
    announced: Sequence[int],
) -> Read:
    """Do as `Partition.read`."""
    portions = -(-len(logs) // _LOGS)
    if portions == 1:
        return await partition.read(logs, upto=upto, messages=messages, size=size, least=least, announced=announced)
    reading = _Reading(partition, logs, upto, least, announced, portions)
    # Each portion reads its share. Where that was little in all, because most messages are in one, it reads on.
    share = portions
    while await reading.pass_on(messages // share + 1, size // share + 1):
        if share == 1 or least or 2 * len(reading.found) > messages or 2 * reading.size > size:
            break
        share //= 2
    return reading.result


class _Reading:
    """What the portions have read together: all of them were read to the same sequence."""

    def __init__(
        self,
        partition: Partition,
        logs: Sequence[tuple[str, int, int]],
        upto: int,
        least: int,
        announced: Sequence[int],
        portions: int,
    ) -> None:
        self._partition = partition
        self._logs = list(logs)
        self._upto = upto
        self._least = least
        self._announced = announced
        self._portions = portions
        self._reached = 0
        self._losses: list[tuple[int, Loss, int]] = []
        self.found: dict[int, tuple[Entry, list[tuple[int, int]]]] = {}

    @property
    def size(self) -> int:
        """How many bytes were found."""
        return sum([entry.message.size for entry, _ in self.found.values()])

    @property
    def result(self) -> Read:
        """What was read."""
        found = [self.found[sequence] for sequence in sorted(self.found)]
        entries, offsets = [entry for entry, _ in found], [offsets for _, offsets in found]
        return Read(self._reached, self._reached < self._upto, self._losses, entries, offsets)

    async def pass_on(self, messages: int, size: int) -> bool:
        """Read on in all portions, in each at most so much. Return whether there is more."""
        end = self._upto
        for begin in range(self._portions):
            # Not neighbours, which often have their messages at the same time: then the others' share is left.
            end = await self._read(slice(begin, None, self._portions), end, messages, size)
        self.found = {sequence: one for sequence, one in self.found.items() if sequence <= end}
        self._reached = end
        self._logs = [(name, max(at, end), offset) for name, at, offset in self._logs]
        return end < self._upto

    async def _read(self, some: slice, upto: int, messages: int, size: int) -> int:
        """Read one portion. Return how far."""
        places = range(len(self._logs))[some]
        # What was announced was so at the end of all.
        announced = self._announced[some] if upto == self._upto else ()
        read = await self._partition.read(
            self._logs[some], upto=upto, messages=messages, size=size, least=self._least, announced=announced
        )
        for number, loss, offset in read.losses:
            place = places[number]
            self._losses.append((place, loss, offset))
            name, at, _ = self._logs[place]
            self._logs[place] = (name, at, offset)
        for entry, logs in zip(read.entries, read.offsets, strict=True):
            _, offsets = self.found.setdefault(entry.sequence, (entry, []))
            offsets += [(places[number], offset) for number, offset in logs]
        return read.reached
