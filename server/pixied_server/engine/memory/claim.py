"""Reading the mail of a client of the memory engine."""

from bisect import bisect_right
from typing import Protocol

from pixied_server.core.backlog import Backlog
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.engine.abc import Reading
from pixied_server.engine.memory.session import Session

__all__ = ["MemoryClaim"]


class Positions(Protocol):
    """Who numbers the mail."""

    head: int
    """The position of the youngest."""


class MemoryClaim:
    """The claim of the memory engine. See `engine.abc.Claim`.

    Args:
        session: the client.
        number: the claim's.
        positions: tells how far the mail goes.
    """

    __slots__ = ("_backlog", "_positions", "_sent", "_session", "client_id", "number")

    def __init__(self, session: Session, number: int, positions: Positions) -> None:
        self.client_id = session.client_id
        self.number = number
        self._sent = session.sent
        self._session = session
        self._positions = positions
        self._backlog = Backlog(session.sources, self._wanted)

    async def read(self, *, messages: int, size: int) -> Reading:
        """See `engine.abc.Claim`."""
        head = self._positions.head
        portion = self._backlog.read(head, messages=messages, size=size)
        redelivered = bisect_right(portion.entries, self._sent, key=_position)
        return Reading(portion.entries, redelivered, portion.losses, portion.upto, portion.upto == head)

    def join(self) -> None:
        """See `engine.abc.Claim`."""

    def seek(self, position: int) -> None:
        """See `engine.abc.Claim`."""
        self._backlog.seek(position)

    def patterns(self) -> list[str]:
        """See `engine.abc.Claim`."""
        return [topic.pattern for topic in self._session.topics]

    def _wanted(self, message: Message) -> bool:
        return not message.skips(self.client_id)


def _position(entry: Entry) -> int:
    return entry.position
