"""Entries for the tests of logs: what a message says does not matter there, only how large it is and whose."""

from pixied_server.core.log import Entry, Log
from pixied_server.core.message import Message

__all__ = ["entry", "sequences"]


def entry(sequence: int, *, at: float = 0.0, size: int = 0, publisher: str = "", partition: int = 0) -> Entry:
    """An entry at a sequence; `size` bytes of body."""
    return Entry(
        sequence, at, Message("/a", b"x" * size, publisher=publisher, exclude_publisher=bool(publisher)), partition
    )


def sequences(log: Log, offset: int = 0, upto: int = 1 << 60) -> list[int]:
    """What can be read of a log."""
    return [one.sequence for one in log.read(offset, upto)]
