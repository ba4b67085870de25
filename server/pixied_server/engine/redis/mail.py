"""Messages as Redis keeps them, and as processes tell each other of them."""

from dataclasses import dataclass
from struct import Struct

from pixied_server.core.log import Entry
from pixied_server.core.message import Message

__all__ = ["Announcement", "announcement", "decoded", "encoded", "entry_of"]

# The lengths of the channel, the id and the publisher, and whether the publisher gets no copy.
_HEAD = Struct(">HIHB")


def encoded(message: Message) -> bytes:
    """A message as it is stored."""
    channel, name, publisher = message.channel.encode(), message.id.encode(), message.publisher.encode()
    head = _HEAD.pack(len(channel), len(name), len(publisher), message.exclude_publisher)
    return b"".join((head, channel, name, publisher, message.body))


def decoded(stored: bytes) -> Message:
    """A stored message."""
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


def entry_of(position: int, at: bytes, stored: bytes) -> Entry:
    """An entry at a position."""
    return Entry(position, float(at), decoded(stored))


@dataclass(slots=True)
class Announcement:
    """Mail that was appended to logs of one partition.

    Attributes:
        place: where it stands among all mail of the partition.
        logs: the logs that have it, and which of their entries it is: patterns, or a client's id for its inbox.
        at: when, in seconds.
        stored: the message.
    """

    place: int
    logs: list[tuple[str, int]]
    at: bytes
    stored: bytes


def announcement(lines: list[bytes]) -> Announcement:
    """What `partition.lua` tells of a message: all that follows the first line, split at 3 line ends."""
    place, at, names, stored = lines
    parts = names.decode().split("\t")
    return Announcement(int(place), list(zip(parts[::2], map(int, parts[1::2]), strict=True)), at, stored)
