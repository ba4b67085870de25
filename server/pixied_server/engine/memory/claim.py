"""Reading the messages of a client of the memory engine."""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from typing import Protocol

from pixied_server.core.backlog import Backlog
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.core.progress import NOTHING, Progress
from pixied_server.engine.abc import Reading
from pixied_server.engine.memory.session import Session

__all__ = ["MemoryClaim"]


class Announcer(Protocol):
    """Who announces messages."""

    @property
    def head(self) -> Progress:
        """Everything up to here has been announced."""
        ...


class MemoryClaim:
    """The claim of the memory engine. See `engine.abc.Claim`.

    Args:
        session: the client.
        number: the claim's.
        announcer: tells how far messages go.
    """

    __slots__ = ("_announcer", "_backlog", "_sent", "_session", "client_id", "number")

    def __init__(self, session: Session, number: int, announcer: Announcer) -> None:
        self.client_id = session.client_id
        self.number = number
        self._sent = session.sent
        self._session = session
        self._announcer = announcer
        self._backlog = Backlog(session.sources, self._wanted)

    async def read(self, *, messages: int, size: int, least: int) -> Reading:
        """See `engine.abc.Claim`."""
        head = self._announcer.head
        portion = self._backlog.read(head[0], messages=messages, size=size, least=least)
        redelivered = bisect_right(portion.entries, self._sent, key=_sequence)
        done = portion.upto == head[0]
        own = self._own(portion.entries)
        large = not done and not portion.entries
        return Reading(portion.entries, redelivered, portion.losses, NOTHING, (portion.upto,), done, own, large)

    def _own(self, entries: Iterable[Entry]) -> Collection[Entry]:
        inbox = self._session.inbox
        if inbox is None:
            return ()
        return {
            entry for entry in entries if inbox.offset_after(entry.sequence - 1) < inbox.offset_after(entry.sequence)
        }

    def join(self) -> None:
        """See `engine.abc.Claim`."""

    def seek(self, progress: Progress, sent: Progress) -> Progress:
        """See `engine.abc.Claim`."""
        del sent  # no message of this engine comes late
        if progress:
            self._backlog.seek(progress[0])
        return progress

    def capped(self, progress: Progress) -> Progress:
        """See `engine.abc.Claim`."""
        return progress

    def patterns(self) -> list[str]:
        """See `engine.abc.Claim`."""
        return [log.pattern for log in self._session.logs]

    def _wanted(self, message: Message) -> bool:
        return not message.skips(self.client_id)


def _sequence(entry: Entry) -> int:
    return entry.sequence
