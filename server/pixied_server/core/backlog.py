"""Reading a client's pending messages: several logs merged in order, one copy of each message."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

from pixied_server.core.log import Entry, Log
from pixied_server.core.message import Message

__all__ = ["Backlog", "Loss", "Portion", "Source"]

_sequence = attrgetter("sequence")


# Not frozen, though nobody changes one: it is made for each subscription at each read, and freezing doubles that.
@dataclass(slots=True)
class Source:
    """A log that a client reads, and the offset of the first entry that it has not confirmed."""

    log: Log
    offset: int


@dataclass(frozen=True, slots=True)
class Loss:
    """So many messages of one pattern are gone that a reader should have got; the pattern "" is a client's inbox.

    Attributes:
        partition: the partition of the log that lost them.
        sequence: of the youngest that is gone: a reader that has come so far lost none of them.
    """

    pattern: str
    count: int
    partition: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Portion:
    """What one read gave.

    Attributes:
        entries: in order of sequence, each once.
        losses: what was found missing.
        upto: everything up to this sequence has now been read.
    """

    entries: list[Entry]
    losses: list[Loss]
    upto: int


class Backlog:
    """A reader of all that one client has pending, from what it has confirmed on.

    It keeps offsets of its own: reading confirms nothing. Subscriptions that come or go between two reads are seen.

    Args:
        sources: gives the client's sources as they are at the moment.
        wanted: whether a message is for this client at all (it may be its publisher).
    """

    def __init__(self, sources: Callable[[], Iterable[Source]], wanted: Callable[[Message], bool]) -> None:
        self._sources = sources
        self._wanted = wanted
        self._offsets: dict[Log, int] = {}

    def read(self, upto: int, *, messages: int, size: int, least: int = 1) -> Portion:
        """Read on, at most to the sequence `upto`.

        Args:
            upto: a sequence; entries beyond it are left.
            messages: at most so many entries, 1 or more.
            size: at most so many bytes.
            least: so many entries are read whatever their size.
        """
        losses: list[Loss] = []
        taken: list[Entry] = []
        room = size
        last = 0
        readers = [log.read(offset, upto) for log, offset in self._behind(losses)]
        if not readers:
            return Portion(taken, losses, self._advance(upto))
        for entry in merge(*readers, key=_sequence) if len(readers) != 1 else readers[0]:
            if entry.sequence == last:
                continue
            if len(taken) == messages or (len(taken) >= least and entry.message.size > room):
                return Portion(taken, losses, self._advance(entry.sequence - 1))
            last = entry.sequence
            if self._wanted(entry.message):
                taken.append(entry)
                room -= entry.message.size
        return Portion(taken, losses, self._advance(upto))

    def seek(self, sequence: int) -> None:
        """Go on from a sequence: everything up to it has been read by other means. Never goes back."""
        self._offsets = {
            source.log: max(self._from(source), source.log.offset_after(sequence)) for source in self._sources()
        }

    def offset_of(self, log: Log) -> int:
        """The offset of the first entry of a log that was not read."""
        return self._offsets[log]

    def _from(self, source: Source) -> int:
        """The offset of the first entry that is neither read nor confirmed."""
        return max(self._offsets.get(source.log, 0), source.offset)

    def _behind(self, losses: list[Loss]) -> Iterator[tuple[Log, int]]:
        """The logs that hold something unread, from where; and what they have lost."""
        current: dict[Log, int] = {}
        for source in self._sources():
            log = source.log
            offset = self._from(source)
            if offset < log.first:
                losses.append(Loss(log.pattern, log.first - offset, sequence=log.cut))
                offset = log.first
            current[log] = offset
            if offset < log.next:
                yield log, offset
        self._offsets = current

    def _advance(self, sequence: int) -> int:
        """Remember that everything up to a sequence has been read."""
        for log, offset in self._offsets.items():
            self._offsets[log] = max(offset, log.offset_after(sequence))
        return sequence
