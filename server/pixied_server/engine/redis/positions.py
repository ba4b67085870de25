"""Positions: one order for the mail of all partitions, as it was announced in this process.

A partition orders its own mail by places. What a process tells its links needs one order for all of them, so it numbers
mail as it comes. This is where one is turned into the other: how far was partition 3 when the process was at 1,234?
"""

from array import array
from bisect import bisect_left, bisect_right

__all__ = ["BITS", "Positions"]

# So many bits of a position count what one process announced and read; those above name the process.
BITS = 40
# So many steps of a partition are known exactly; of older ones every second, every fourth and so on.
_EXACT = 20_000


class Positions:
    """See the module.

    Args:
        ordinal: the process's, 1 to 8,191: no other that still matters has it.
        partitions: how many there are.

    Attributes:
        head: the youngest position.
    """

    def __init__(self, ordinal: int, partitions: int) -> None:
        self.head = ordinal << BITS
        self._steps = [(array("Q"), array("Q")) for _ in range(partitions)]

    def announce(self, partition: int, place: int) -> int:
        """Number the mail at a partition's place, which is beyond all others of the partition."""
        self.head += 1
        self._step(partition, place)
        return self.head

    def reach(self, partition: int, place: int) -> None:
        """All mail of a partition up to a place that was to be announced has been."""
        if self.last(partition) < place:
            self._step(partition, place)

    def reserve(self, count: int) -> int:
        """Take so many positions for mail that is read. Returns the one before the first of them."""
        before = self.head
        self.head += count
        return before

    def last(self, partition: int) -> int:
        """The last place of a partition that was announced or reached; 0 for none."""
        places = self._steps[partition][1]
        return places[-1] if places else 0

    def place_at(self, partition: int, position: int) -> int:
        """Up to which place the partition's mail had been announced at a position: rather less than too much."""
        positions, places = self._steps[partition]
        index = bisect_right(positions, position)
        return places[index - 1] if index else 0

    def position_of(self, partition: int, place: int) -> int:
        """The position at which the mail at a place was announced: rather more than too little."""
        positions, places = self._steps[partition]
        index = bisect_left(places, place)
        return positions[index] if index < len(positions) else self.head

    def _step(self, partition: int, place: int) -> None:
        positions, places = self._steps[partition]
        if positions and positions[-1] == self.head:
            places[-1] = place
        else:
            positions.append(self.head)
            places.append(place)
            if len(positions) > 2 * _EXACT:
                self._thin(partition)

    def _thin(self, partition: int) -> None:
        positions, places = self._steps[partition]
        self._steps[partition] = (
            positions[:_EXACT:2] + positions[_EXACT:],
            places[:_EXACT:2] + places[_EXACT:],
        )
