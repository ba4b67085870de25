"""One response, or one WebSocket message: what goes out together, and what is done once it is out."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from pixied_client.bayeux.message import BayeuxMessage, encoded

__all__ = ["Exchange"]

# Seconds that the end of a response waits for pixied to know that it is sent. It is one round trip.
_SETTLES_IN = 1.0


class Exchange(AsyncExitStack):
    """Leave it by `async with`: then what was held for it is given up, and what was not confirmed comes again.

    Attributes:
        replies: in the order of the messages that they answer.
        mail: messages for the client, as JSON text, in order.
        cookies: values of `Set-Cookie` headers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[BayeuxMessage] = []
        self.mail: list[str] = []
        self.cookies: list[str] = []
        self._once_sent: list[Callable[[], None]] = []

    def once_sent(self, confirm: Callable[[], None]) -> None:
        """Call this when everything is handed to the transport, and not if that fails."""
        self._once_sent.append(confirm)

    @property
    def confirms(self) -> bool:
        """Whether something is to be done once everything is handed to the transport."""
        return bool(self._once_sent)

    def text(self) -> str:
        """All of it as a JSON array."""
        return encoded(self.replies, self.mail)

    def sent(self) -> None:
        """Everything has been handed to the transport."""
        for confirm in self._once_sent:
            confirm()

    async def settle(self) -> None:
        """As `sent`, and see that pixied knows it, and that nothing is held for this any more."""
        self.sent()
        self._once_sent.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLES_IN):
                await self.aclose()
