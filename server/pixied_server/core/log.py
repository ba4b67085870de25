"""The messages of one subscribed pattern, in order.

Two numbers name a message in a log. Its *sequence* orders all messages of a partition: it is the same in every log that
holds the message. Its *offset* counts the messages of this one log, trimmed ones included, so that a reader who kept an
offset knows exactly how many messages it missed.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from pixied_server.core.message import Message
from pixied_server.core.progress import Progress

__all__ = ["Bounds", "Entry", "Log"]

_sequence = attrgetter("sequence")
# A list is cut at its front only when at least this many entries, and half of it, are gone: amortised constant time.
# Until then `_GONE` stands for them.
_CUT = 32


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one log may hold.

    Attributes:
        messages: so many messages.
        bytes: so many bytes, counted as `Message.size` does.
        age: no message older than this, in seconds.
    """

    messages: int
    bytes: int
    age: float


class Entry:
    """A message in the logs of an engine. Each log that holds it has the same entry.

    Attributes:
        sequence: its number among all messages of its partition; 1 and up.
        at: when it was appended, in seconds.
        message: the message.
        partition: the partition of the engine that took it in.
        log_count: how many logs hold it.
    """

    __slots__ = ("at", "log_count", "message", "partition", "sequence")

    def __init__(self, sequence: int, at: float, message: Message, partition: int = 0) -> None:
        self.sequence = sequence
        self.at = at
        self.message = message
        self.partition = partition
        self.log_count = 0

    def is_beyond(self, progress: Progress) -> bool:
        """Return whether a reader with this progress has not read it."""
        return not progress or self.sequence > progress[self.partition]


_GONE = Entry(0, 0.0, Message("", b""))


class Log:
    """An append-only list of entries that loses its oldest ones.

    Attributes:
        pattern: the channel or pattern, or "" for a client's inbox.
        first: the offset of the oldest entry it still has; equal to `next` if it is empty.
        cut: the sequence of the youngest entry it has lost, or 0.
        bytes: what its entries take.
    """

    # An idle site has many logs without a message, so an empty one allocates no list.
    __slots__ = ("_entries", "_gone", "bytes", "cut", "first", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.first = 0
        self.cut = 0
        self.bytes = 0
        # The entries, the oldest of which are gone. Never an empty list, and never one of which all are gone.
        self._entries: list[Entry] | None = None
        self._gone = 0

    def __len__(self) -> int:
        return len(self._entries) - self._gone if self._entries else 0

    @property
    def next(self) -> int:
        """The offset that the next entry will get."""
        return self.first + len(self)

    @property
    def oldest(self) -> Entry | None:
        """The oldest entry, or None if the log is empty."""
        return self._entries[self._gone] if self._entries else None

    @property
    def last_sequence(self) -> int:
        """The sequence of the youngest entry that was ever in the log, or 0."""
        return self._entries[-1].sequence if self._entries else self.cut

    def append(self, entry: Entry) -> None:
        """Append an entry whose sequence is beyond all others."""
        if self._entries is None:
            self._entries = []
        self._entries.append(entry)
        self.bytes += entry.message.size
        entry.log_count += 1

    def drop_oldest(self) -> Entry:
        """Lose the oldest entry of a log that is not empty."""
        entries = self._entries
        if not entries:
            raise IndexError("the log is empty")
        entry, entries[self._gone] = entries[self._gone], _GONE
        self._gone += 1
        self.first += 1
        self.cut = entry.sequence
        self.bytes -= entry.message.size
        entry.log_count -= 1
        if self._gone == len(entries):
            self._entries, self._gone = None, 0
        elif self._gone >= _CUT and self._gone * 2 >= len(entries):
            del entries[: self._gone]
            self._gone = 0
        return entry

    def exceeds(self, bounds: Bounds, now: float) -> bool:
        """Whether the oldest entry has to go: the log is too long, too large, or that entry is too old."""
        entries, gone = self._entries, self._gone
        if not entries:
            return False
        return len(entries) - gone > bounds.messages or self.bytes > bounds.bytes or entries[gone].at + bounds.age < now

    def offset_after(self, sequence: int) -> int:
        """The offset of the first entry beyond a sequence.

        Where entries beyond the sequence were already cut, how many is no longer known exactly: then it is the smallest
        offset that can be right, so that a loss is rather counted too high than kept silent.
        """
        if sequence < self.cut:
            return max(0, self.first - (self.cut - sequence))
        entries = self._entries
        if not entries or entries[-1].sequence <= sequence:
            return self.next
        return self.first + bisect_right(entries, sequence, key=_sequence) - self._gone

    def read(self, offset: int, upto: int) -> Iterator[Entry]:
        """The entries from an offset on, up to the sequence `upto`. The log must not change meanwhile."""
        entries = self._entries or []
        for index in range(self._gone + max(offset - self.first, 0), len(entries)):
            entry = entries[index]
            if entry.sequence > upto:
                return
            yield entry
