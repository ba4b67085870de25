"""How messages, progress and cursors are encoded in Redis, and in notifications."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from struct import Struct

from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.core.progress import Progress

__all__ = [
    "Announcement",
    "Start",
    "announcement",
    "cursors_text",
    "decoded",
    "encoded",
    "entry_of",
    "progress_in",
    "progress_text",
    "starts_in",
    "starts_text",
    "stored_size",
]

# The lengths of the channel, the id and the publisher, and whether the publisher gets no copy.
_HEAD = Struct(">HIHB")
_ENTRY = 45
_WASTE = 1.15


def encoded(message: Message) -> bytes:
    """Return a message as it is stored."""
    channel, name, publisher = message.channel.encode(), message.id.encode(), message.publisher.encode()
    head = _HEAD.pack(len(channel), len(name), len(publisher), message.exclude_publisher)
    return b"".join((head, channel, name, publisher, message.body))


def decoded(stored: bytes) -> Message:
    """Return a stored message."""
    channel, name, publisher, exclude = _HEAD.unpack_from(stored)
    first = _HEAD.size + channel
    second = first + name
    third = second + publisher
    return Message(
        stored[_HEAD.size : first].decode(),
        stored[third:],
        stored[first:second].decode(),
        stored[second:third].decode(),
        bool(exclude),
    )


def entry_of(partition: int, sequence: int, at: bytes, stored: bytes) -> Entry:
    """Return a stored message as an entry."""
    return Entry(sequence, float(at), decoded(stored), partition)


def stored_size(stored: bytes) -> int:
    """Return what a message takes in a log of Redis, in bytes; `scripts/base.lua` says where the numbers come from."""
    return ceil(len(stored) * _WASTE) + _ENTRY


@dataclass(slots=True)
class Announcement:
    """A message that was appended to logs of one partition.

    Attributes:
        sequence: its number in the partition.
        logs: the logs that have it, and its offset in each: patterns, or a client's id for its inbox.
        at: when, in seconds.
        message: the message.
    """

    sequence: int
    logs: list[tuple[str, int]]
    at: float
    message: Message


def announcement(lines: Sequence[bytes]) -> Announcement:
    """Decode a script's announcement of a message: what follows the first line, split at 3 line ends."""
    sequence, at, names, stored = lines
    parts = names.decode().split("\t")
    logs = list(zip(parts[::2], map(int, parts[1::2]), strict=True))
    return Announcement(int(sequence), logs, float(at), decoded(stored))


def progress_text(progress: Progress) -> str:
    """Encode progress for scripts: `partition:sequence,...`, without partitions at 0."""
    return ",".join([f"{partition}:{sequence}" for partition, sequence in enumerate(progress) if sequence])


def progress_in(text: str, partitions: int) -> Progress:
    """Decode progress."""
    progress = [0] * partitions
    for word in text.split(",") if text else ():
        partition, _, sequence = word.partition(":")
        progress[int(partition)] = int(sequence)
    return tuple(progress)


def cursors_text(cursors: Iterable[tuple[int, Progress]]) -> str:
    """Encode cursors, and the progress of each, for scripts."""
    return "".join([f"{cursor}={progress_text(progress)};" for cursor, progress in cursors if cursor])


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscription begins in a log: after a sequence of the partition, and after an offset of the log."""

    sequence: int
    offset: int


def starts_text(starts: Mapping[int, Start]) -> str:
    """Encode where a subscription begins in each partition."""
    return ",".join([f"{partition}:{start.sequence}:{start.offset}" for partition, start in starts.items()])


def starts_in(text: str) -> dict[int, Start]:
    """Decode where a subscription begins in each partition."""
    starts = {}
    for word in text.split(","):
        partition, sequence, offset = word.split(":")
        starts[int(partition)] = Start(int(sequence), int(offset))
    return starts
