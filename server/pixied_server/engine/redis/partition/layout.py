"""The layout of Redis: partitions, their hash tags, and the prefixes of all keys and channels.

All of a partition's keys have its hash tag, so they are in one slot, and a script may use any of them. A client's own
keys are in the partition of its id. The log of a channel is in the partition of its name. The logs of a pattern that
ends in `/*` or `/**` are in all partitions: each has the messages of the channels that are in that partition. So
everything that happens to a message happens in one partition, in one script, and gets one place in one order.
"""

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count

from pixied_server.core.channels import is_pattern

__all__ = ["SLOTS", "VERSION", "Layout"]

VERSION = 3
SLOTS = 16_384

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of an installation.

    Attributes:
        prefix: begins each name, so that installations can share a Redis.
        partitions: how many there are; the same in each process, and as long as the store is not empty.
    """

    prefix: str
    partitions: int

    @property
    def bases(self) -> Sequence[str]:
        """The common prefix of the names of each partition's keys."""
        return tuple(f"{self.prefix}{{{tag}}}:" for tag in _tags(self.partitions))

    @property
    def key(self) -> bytes:
        """A key of the first partition."""
        return f"{self.bases[0]}meta".encode()

    def of(self, name: str) -> int:
        """Return the partition of a client, a channel or anything else that has a name."""
        return crc_hqx(name.encode(), 0) % self.partitions

    def of_log(self, pattern: str) -> Sequence[int]:
        """Return the partitions that have a log of this pattern."""
        return range(self.partitions) if is_pattern(pattern) else (self.of(pattern),)


@cache
def _tags(partitions: int) -> tuple[str, ...]:
    """Return the shortest tags whose slots are spread evenly: the n-th is in the n-th of equal parts of all slots.

    Numbers would be bad tags: the slots of neighbours lie close together, and a cluster's nodes have ranges of slots.
    """
    tags: dict[int, str] = {}
    for number in count():
        tag = _spelt(number)
        tags.setdefault(crc_hqx(tag.encode(), 0) % SLOTS * partitions // SLOTS, tag)
        if len(tags) == partitions:
            return tuple(tags[part] for part in range(partitions))
    raise AssertionError


def _spelt(number: int) -> str:
    letters = _LETTERS[number % 36]
    while number := number // 36:
        letters += _LETTERS[number % 36]
    return letters
