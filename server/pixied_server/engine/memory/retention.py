"""How long the memory engine keeps messages: trimming each log to its bounds, and all to the memory there is."""

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count

from pixied_server.core.log import Bounds, Entry, Log
from pixied_server.core.message import Message
from pixied_server.core.turns import Turns
from pixied_server.errors import LimitMemory

__all__ = ["Retention"]

# A heap with this many places and more than twice as many as there are logs with messages is built anew.
_CROWDED = 1024
# A log that nobody has any more loses its messages at once if there are no more of them, which takes some 500 µs.
_AT_ONCE = 1_000


class Retention:
    """Appends to logs, and takes the oldest entries away. Readers notice by their offsets.

    Args:
        bounds: of each log.
        total: bytes that all entries together may take, each counted once.
        turns: tells when others are to go on.
    """

    def __init__(self, bounds: Bounds, total: int, turns: Turns) -> None:
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
        # While the heap is built anew: as it will be.
        self._new: tuple[list[tuple[int, int, Log]], set[Log]] | None = None
        # Logs that nobody has any more, with what they still hold.
        self._cleared: deque[Log] = deque()
        self._turns = turns

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
        while self.bytes > self._total:
            if not self._take_cleared():
                oldest = self._oldest()
                if oldest is None:
                    return
                self._take_oldest(oldest)

    def forget(self, log: Log, offset: int) -> None:
        """Take away, as done with, everything before an offset."""
        while log.first < offset:
            self._take_oldest(log)

    def clear(self, log: Log) -> None:
        """Take away, as done with, all that a log holds that nobody has any more. What is much goes in later turns."""
        if len(log) <= _AT_ONCE and not self._turns.over:
            self.forget(log, log.next)
        else:
            self._cleared.append(log)

    async def settle(self) -> None:
        """Take away all that belongs to nobody any more."""
        while self._take_cleared():
            await self._turns.give()

    def sweep(self, now: float) -> Iterator[None]:
        """Take away what has become too old or belongs to nobody any more, one message in each step."""
        while self._take_cleared():
            yield
        while self._by_age:
            log = self._first()
            if log is not None:
                if not log.exceeds(self._bounds, now):
                    break
                self._take_oldest(log)
            yield
        if len(self._by_age) > _CROWDED and len(self._by_age) > 2 * self._filled:
            yield from self._rebuild()

    def _take_cleared(self) -> bool:
        """Take away a message that belongs to nobody any more. Returns whether there was one."""
        while self._cleared:
            log = self._cleared[0]
            if len(log):
                self._take_oldest(log)
                return True
            self._cleared.popleft()
        return False

    def _take_oldest(self, log: Log) -> None:
        entry = log.drop_oldest()
        self._filled -= not len(log)
        if entry.log_count == 0:
            self.bytes -= entry.message.size
            self.messages -= 1

    def _place(self, log: Log) -> None:
        oldest = log.oldest
        if oldest is None:
            return
        place = (oldest.sequence, next(self._serial), log)
        self._placed.add(log)
        heappush(self._by_age, place)
        if self._new is not None and log not in self._new[1]:
            self._new[1].add(log)
            heappush(self._new[0], place)

    def _oldest(self) -> Log | None:
        """The log whose oldest entry is the oldest of all."""
        while self._by_age:
            if (log := self._first()) is not None:
                return log
        return None

    def _first(self) -> Log | None:
        """The log at the first place, if that is its true place; None after it was given its true one."""
        sequence, _, log = self._by_age[0]
        oldest = log.oldest
        if oldest is not None and oldest.sequence == sequence:
            return log
        heappop(self._by_age)
        self._placed.discard(log)
        self._place(log)
        return None

    def _rebuild(self) -> Iterator[None]:
        """Leave out the logs that have no messages any more, looking at one in each step."""
        heap: list[tuple[int, int, Log]] = []
        placed: set[Log] = set()
        self._new = heap, placed
        for log in tuple(self._placed):
            if log.oldest is None:
                # If it gets a message now, it gets a place in both.
                self._placed.discard(log)
            elif log not in placed:
                placed.add(log)
                heappush(heap, (log.oldest.sequence, next(self._serial), log))
            yield
        self._by_age, self._placed, self._new = heap, placed, None
