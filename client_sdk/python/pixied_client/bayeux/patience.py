"""Sending to one side that may be slow."""

import asyncio
from collections.abc import Awaitable, Callable

from pixied_client.attachment import Attachment
from pixied_client.bayeux.limits import Timing

__all__ = ["Patience"]


class Patience:
    """Sends, and watches how long that takes.

    All mail of a front-end comes by one link, with a window for what is not confirmed: who takes nothing would soon
    hold up everybody. So a client whose socket stalls is given up at once, and whoever sends to it takes it again.

    Args:
        send: sends one text.
        timing: when a socket counts as stalled, and when as stuck.
        give_up: ends the socket; called when it is stuck.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], timing: Timing, give_up: Callable[[], None]) -> None:
        self._send = send
        self._timing = timing
        self._give_up = give_up
        self._leaving: set[asyncio.Task[None]] = set()

    async def send(self, text: str, attachment: Attachment) -> None:
        """Send a client's mail."""
        loop = asyncio.get_running_loop()
        stalled = loop.call_later(self._timing.stalled, self._let_go, attachment)
        stuck = loop.call_later(self._timing.stuck, self._give_up)
        try:
            await self._send(text)
        finally:
            stalled.cancel()
            stuck.cancel()

    def _let_go(self, attachment: Attachment) -> None:
        task = asyncio.create_task(attachment.detach())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
