"""One response, or one WebSocket message: what goes out together, and what is done once it is out."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from pixied_client.bayeux.message import BayeuxMessage, encoded

__all__ = ["Exchange"]


class Exchange(AsyncExitStack):
    """Leave it by `async with`: then what was held for it is given up, and what was not confirmed comes again.

    Attributes:
        replies: in the order of the messages that they answer.
        messages: for the client, as JSON text, in order.
        cookies: values of `Set-Cookie` headers.
        backend_hangs: a message has waited for pixied in vain; the others shall not wait as long, one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[BayeuxMessage] = []
        self.messages: list[str] = []
        self.cookies: list[str] = []
        self.backend_hangs = False
        self._once_sent: list[Callable[[], None]] = []

    def answer(self, reply: BayeuxMessage | None) -> None:
        """Add a reply; None: an extension has dropped it."""
        if reply is not None:
            self.replies.append(reply)

    def once_sent(self, confirm: Callable[[], None]) -> None:
        """Call this when everything is handed to the transport, and not if that fails."""
        self._once_sent.append(confirm)

    def text(self) -> str:
        """All of it as a JSON array."""
        return encoded(self.replies, self.messages)

    def sent(self) -> None:
        """Everything has been handed to the transport."""
        for confirm in self._once_sent:
            confirm()
