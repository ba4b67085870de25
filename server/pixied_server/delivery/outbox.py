"""The live mail of a link that waits to be sent, and how far behind the link is."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pixied_server.core.log import Entry
from pixied_server.delivery.hub import Hub

__all__ = ["Outbox", "OutboxLimits"]


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """So much live mail waits for a slow reader; the rest stays in the logs.

    Attributes:
        messages: so many messages.
        bytes: so many bytes.
    """

    messages: int = 10_000
    bytes: int = 4_000_000


class Outbox:
    """Mail in order of position. When it is full, what follows is not kept but read from the logs later.

    Args:
        hub: the hub.
        limits: when it is full.
    """

    def __init__(self, hub: Hub, limits: OutboxLimits) -> None:
        self._hub = hub
        self._limits = limits
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        # Once full: the position up to which mail was kept, and the patterns with mail beyond it.
        self._kept_upto = hub.head
        self._beyond: dict[str, None] = {}
        # While logs are read: up to which position, and what they lost that may have been read before.
        self._reading_upto = 0
        self._cut: list[tuple[str, int]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting or self._beyond)

    @property
    def full(self) -> bool:
        """Whether further mail would not be kept but has to be read from the logs."""
        return bool(self._beyond) or len(self._waiting) >= self._limits.messages or self._bytes >= self._limits.bytes

    @property
    def position(self) -> int:
        """Everything up to this position has been taken out."""
        if self._waiting:
            return self._waiting[0].position - 1
        return self._kept_upto if self._beyond else self._hub.head

    def put(self, entry: Entry, patterns: Sequence[str]) -> None:
        """New mail, that was appended to the logs of these patterns."""
        if self.full:
            if not self._beyond:
                self._kept_upto = self._hub.stalled[self] = self._waiting[-1].position
            self._beyond.update(dict.fromkeys(patterns))
        else:
            self._waiting.append(entry)
            self._bytes += entry.message.size

    def forget(self, pattern: str) -> None:
        """Nobody wants the mail of this pattern any more."""
        self._beyond.pop(pattern, None)
        if not self._beyond:
            self._hub.stalled.pop(self, None)

    def cut(self, pattern: str, position: int) -> bool:
        """The log of a pattern lost the message at a position. Returns whether it was still to be read from there.

        Where that depends on a read that is under way, `unread` tells it later.
        """
        if not self._beyond or position <= self._kept_upto:
            return False
        if position > self._reading_upto:
            return True
        self._cut.append((pattern, position))
        return False

    def unread(self) -> list[tuple[str, int]]:
        """What logs lost while they were read, and was not read: by pattern and position, each told once."""
        cut, self._cut = self._cut, []
        return cut

    async def take(self, size: int) -> Entry | None:
        """The next entry, or None if there is none; about `size` bytes are read ahead."""
        if not self._waiting and self._beyond:
            await self._read_on(size)
        return self.take_ready()

    def take_ready(self) -> Entry | None:
        """The next entry, or None if it would have to be read first, or there is none."""
        if not self._waiting:
            return None
        entry = self._waiting.popleft()
        self._bytes -= entry.message.size
        return entry

    async def _read_on(self, size: int) -> None:
        self._reading_upto = self._hub.head
        portion = await self._hub.engine.read(
            tuple(self._beyond), self._kept_upto, self._reading_upto, messages=self._limits.messages, size=size
        )
        self._reading_upto = 0
        read = {entry.position for entry in portion.entries} if self._cut else ()
        self._cut = [(pattern, position) for pattern, position in self._cut if position not in read]
        self._waiting.extend(portion.entries)
        self._bytes += sum(entry.message.size for entry in portion.entries)
        self._kept_upto = self._hub.stalled[self] = portion.upto
        if portion.upto >= self._hub.head:
            self._beyond.clear()
            del self._hub.stalled[self]

    def close(self) -> None:
        """Nothing more is taken."""
        self._hub.stalled.pop(self, None)
