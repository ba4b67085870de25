"""Reading the mail of a client of the memory engine."""

from pixied_server.core.backlog import Backlog, Portion
from pixied_server.core.message import Message
from pixied_server.engine.memory.session import Session

__all__ = ["MemoryClaim"]


class MemoryClaim:
    """The claim of the memory engine. See `engine.abc.Claim`."""

    def __init__(self, session: Session, number: int) -> None:
        self.client_id = session.client_id
        self.sent = session.sent
        self.number = number
        self._session = session
        self._backlog = Backlog(session.sources, self._wanted)

    async def read(self, upto: int, *, messages: int, size: int) -> Portion:
        """See `engine.abc.Claim`."""
        return self._backlog.read(upto, messages=messages, size=size)

    def seek(self, position: int) -> None:
        """See `engine.abc.Claim`."""
        self._backlog.seek(position)

    def patterns(self) -> list[str]:
        """See `engine.abc.Claim`."""
        return [topic.pattern for topic in self._session.topics]

    def _wanted(self, message: Message) -> bool:
        return not message.skips(self.client_id)
