"""How long the memory engine keeps messages: trimming each log to its bounds, and all to the memory there is."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import count

from pixied_server.core.log import Bounds, Entry, Log
from pixied_server.core.message import Message
from pixied_server.errors import LimitMemory

__all__ = ["Retention"]

# A heap with this many places and more than twice as many as there are logs with messages is built anew.
_CROWDED = 1024


class Retention:
    """Appends to logs, and takes the oldest entries away. Readers notice by their offsets.

    Args:
        bounds: of each log.
        total: bytes that all entries together may take, each counted once.
    """

    def __init__(self, bounds: Bounds, total: int) -> None:
        self._bounds = bounds
        self._total = total
        self.bytes = 0
        self.messages = 0
        # Each log with messages has one place here, under the sequence its oldest entry had when it was put there. The
        # true sequence can only be higher, so who comes up first is looked at again: trimming never touches the heap.
        self._by_age: list[tuple[int, int, Log]] = []
        self._placed: set[Log] = set()
        self._filled = 0
        self._serial = count()

    def check_room(self, messages: Sequence[Message]) -> None:
        """Refuse what would not fit even into empty logs.

        Raises:
            LimitMemory: the messages are larger than all memory.
        """
        size = sum([message.size for message in messages])
        if size > self._total:
            raise LimitMemory(
                f"these messages take {size:,} bytes; max_total_bytes is {self._total:,}: send smaller batches",
                field="messages",
            )

    def append(self, entry: Entry, logs: Sequence[Log]) -> None:
        """Append an entry to logs, 1 or more. It is for the caller to `trim` them when it has announced the entry."""
        self.bytes += entry.message.size
        self.messages += 1
        for log in logs:
            self._filled += not len(log)
            log.append(entry)
            if log not in self._placed:
                self._place(log)

    def trim(self, logs: Sequence[Log], now: float) -> None:
        """Take away what no longer fits since something was appended to these logs."""
        for log in logs:
            while log.exceeds(self._bounds, now):
                self._take_oldest(log)
        while self.bytes > self._total and (oldest := self._oldest()) is not None:
            self._take_oldest(oldest)

    def forget(self, log: Log, offset: int) -> None:
        """Take away, as done with, everything before an offset."""
        while log.first < offset:
            self._take_oldest(log)

    def clear(self, log: Log) -> None:
        """Take away, as done with, all that a log holds."""
        self.forget(log, log.next)

    def sweep(self, now: float) -> None:
        """Take away what has become too old."""
        while (log := self._oldest()) is not None and log.exceeds(self._bounds, now):
            self._take_oldest(log)
        if len(self._by_age) > _CROWDED and len(self._by_age) > 2 * self._filled:
            self._rebuild()

    def _take_oldest(self, log: Log) -> None:
        entry = log.drop_oldest()
        self._filled -= not len(log)
        if entry.log_count == 0:
            self.bytes -= entry.message.size
            self.messages -= 1

    def _place(self, log: Log) -> None:
        oldest = log.oldest
        if oldest is not None:
            self._placed.add(log)
            heappush(self._by_age, (oldest.sequence, next(self._serial), log))

    def _oldest(self) -> Log | None:
        """The log whose oldest entry is the oldest of all."""
        while self._by_age:
            sequence, _, log = self._by_age[0]
            oldest = log.oldest
            if oldest is not None and oldest.sequence == sequence:
                return log
            heappop(self._by_age)
            self._placed.discard(log)
            self._place(log)
        return None

    def _rebuild(self) -> None:
        """Leave out the logs that have no messages any more."""
        places = [(log.oldest.sequence, next(self._serial), log) for log in self._placed if log.oldest]
        self._placed = {log for _, _, log in places}
        heapify(places)
        self._by_age = places
