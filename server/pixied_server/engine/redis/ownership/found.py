"""What one reading of a client's logs has found, in several partitions."""

from collections.abc import Collection, Iterable, Sequence

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.engine.abc import LogName
from pixied_server.engine.redis.partition.protocol import Read

__all__ = ["Found"]

# A read goes on while there is more, until only this share of its size is left.
_REST = 4
# Where the next message of each partition is larger than its share, this part of them is asked.
_FEWER = 4
# Reads of several partitions at once ask for so many bytes of each at least.
_LEAST = 1_000


class Found:
    """See the module.

    Of several partitions at once each message has to fit into its partition's share, for together such messages would
    come to many times the size.

    Args:
        behind: the logs to read, by partition, and the sequence and offset that each was read to.
        announced: the offset of the last message of each that was received.
        reached: how far each partition was read.
        left: so many messages may follow.
        room: so many bytes may.

    Attributes:
        asking: partitions that may have more.
        large: those of them whose next message has not fitted.
        entries, own, losses: what was found.
        gone: the offset up to which messages are gone, of logs that have lost some.
    """

    def __init__(
        self,
        behind: dict[int, list[tuple[LogName, int, int]]],
        announced: dict[int, list[int]],
        reached: list[int],
        left: int,
        room: int,
    ) -> None:
        self.behind = behind
        self.announced = announced
        self.reached = reached
        self.left = left
        self.room = room
        self.asking = list(behind)
        self.large: list[int] = []
        self.entries: list[Entry] = []
        self.own: set[Entry] = set()
        self.losses: list[Loss] = []
        self.gone: dict[LogName, int] = {}
        self._rest = room // _REST
        self._at_once = len(behind)

    def turn(self, number: int) -> None:
        """Begin with another partition than the last time, so that large messages of all of them come in turns."""
        begin = number % (len(self.asking) or 1)
        self.asking = self.asking[begin:] + self.asking[:begin]

    def next(self) -> list[int]:
        """Return the partitions to ask next, none if that is all."""
        if not self._at_once or self.left <= 0 or (self.room <= self._rest and self.entries):
            return []
        return self.asking[: max(1, min(self._at_once, self.left, self.room // _LEAST))]

    def take(self, number: int, read: Read, entries: Iterable[Entry]) -> None:
        """Note what a partition has answered, and those of the messages that the client does not have."""
        self.entries += entries
        self.own.update(_own(read, self.behind[number]))
        self.left -= len(read.entries)
        self.room -= sum(entry.message.size for entry in read.entries)
        for place, loss, offset in read.losses:
            self.losses.append(loss)
            self.gone[self.behind[number][place][0]] = offset
        self.reached[number] = read.reached
        self.asking.remove(number)
        if number in self.large:
            self.large.remove(number)
        if read.more:
            self.asking.append(number)
            self.behind[number] = [
                (log, max(at, read.reached), max(offset, self.gone.get(log, 0)))
                for log, at, offset in self.behind[number]
            ]
            if not read.entries:
                self.large.append(number)

    def narrow(self, asked: Collection[int]) -> None:
        """Ask fewer at once if none of these had a message that fits, and no more if it was one alone."""
        if self.large and set(asked) <= set(self.large):
            self._at_once = max(1, len(asked) // _FEWER) if len(asked) > 1 else 0


def _own(read: Read, logs: Sequence[tuple[LogName, int, int]]) -> Iterable[Entry]:
    """The messages of an inbox, if it is one of the logs."""
    inbox = next((place for place, (log, _, _) in enumerate(logs) if not log[0]), None)
    if inbox is not None:
        for entry, places in zip(read.entries, read.offsets, strict=True):
            if any(place == inbox for place, _ in places):
                yield entry
