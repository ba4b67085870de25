"""Extensions see every message on its way in, and every reply and every message on its way out, as Faye's do."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from pixied_client.bayeux.message import BayeuxMessage
from pixied_client.bayeux.request import Request

__all__ = ["Extension", "Extensions"]


class Extension:
    """Override one method or both. Messages may be changed in place.

    An extension that sets a message's `error` on its way in refuses it: the reply has that error.
    """

    async def incoming(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """See a message from a client. What is returned goes on; None: it is dropped, and gets no reply."""
        del request
        return message

    async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """See a reply (`message.answers` is what it answers) or a delivered message. None: it is not sent.

        Args:
            message: the reply or message.
            request: the request that it goes out on.
        """
        del request
        return message

    async def replying(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """See a reply, before `outgoing` does. None: it is not sent.

        For an extension that has nothing to do with delivered messages: these stay written once for all who get them.
        """
        del request
        return message


_Step: TypeAlias = Callable[[BayeuxMessage, Request], Awaitable[BayeuxMessage | None]]


class Extensions:
    """All of them: in their order on the way in, in the opposite order on the way out.

    Args:
        extensions: the first of them is the outermost.
    """

    def __init__(self, extensions: Iterable[Extension] = ()) -> None:
        self._incoming: list[Extension] = []
        self._outgoing: list[_Step] = []
        self._replying: list[_Step] = []
        for extension in extensions:
            self.add(extension)

    def add(self, extension: Extension) -> None:
        """Add one as the innermost."""
        # Who does not override a method costs nothing there: delivered messages are then not even parsed.
        if type(extension).incoming is not Extension.incoming:
            self._incoming.append(extension)
        if type(extension).outgoing is not Extension.outgoing:
            self._outgoing.insert(0, extension.outgoing)
            self._replying.insert(0, extension.outgoing)
        if type(extension).replying is not Extension.replying:
            self._replying.insert(0, extension.replying)

    @property
    def look_in(self) -> bool:
        """Whether any sees what comes in."""
        return bool(self._incoming)

    @property
    def look_out(self) -> bool:
        """Whether any sees delivered messages on their way out."""
        return bool(self._outgoing)

    @property
    def look_at_replies(self) -> bool:
        """Whether any sees replies on their way out."""
        return bool(self._replying)

    async def incoming(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Pass a message in."""
        return await _through([extension.incoming for extension in self._incoming], message, request)

    async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Pass a delivered message out."""
        return await _through(self._outgoing, message, request)

    async def replying(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Pass a reply out."""
        return await _through(self._replying, message, request)


async def _through(steps: Sequence[_Step], message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
    current: BayeuxMessage | None = message
    for step in steps:
        if current is None:
            break
        current = await step(current, request)
    return current
