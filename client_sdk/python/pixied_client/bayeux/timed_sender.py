"""Sending to one side that may be slow."""

import asyncio
from collections.abc import Awaitable, Callable

from pixied_client.attachment import Attachment
from pixied_client.bayeux.limits import Timing

__all__ = ["TimedSender"]


class TimedSender:
    """Sends, and watches how long that takes.

    All messages of a front-end come by one link, with a window for what is not confirmed: a client that takes nothing
    would soon hold up all. So a client whose socket stalls is given up at once, and `Connects` attaches it again.

    Nearly all sends are over at once: one timer looks at those that are not, instead of two for each.

    Args:
        send: sends one text.
        timing: when a socket counts as stalled, and when as stuck.
        give_up: ends the socket; called when it is stuck.
    """

    def __init__(self, send: Callable[[str], Awaitable[None]], timing: Timing, give_up: Callable[[], None]) -> None:
        self._send = send
        self._timing = timing
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._stalls: dict[Attachment, float] = {}
        self._stucks: dict[Attachment, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def send(self, text: str, attachment: Attachment) -> None:
        """Send a client's messages."""
        self._stalls[attachment] = due = self._loop.time() + self._timing.stalled
        if self._timer is None or self._timer.when() > due:
            self._look_at(due)
        try:
            await self._send(text)
        finally:
            self._stalls.pop(attachment, None)
            self._stucks.pop(attachment, None)

    async def send_unheld(self, text: str) -> None:
        """Send something for a client that is not held, so that no other waits for it."""
        await self._send(text)

    def _look(self) -> None:
        """Look at the sends under way, and come back when the next of them is due."""
        now = self._loop.time()
        for attachment in _due(self._stalls, now):
            self._stucks[attachment] = self._stalls.pop(attachment) - self._timing.stalled + self._timing.stuck
            self._let_go(attachment)
        if _due(self._stucks, now):
            self._give_up()
        self._timer = None
        coming = [due for due in (*self._stalls.values(), *self._stucks.values()) if due > now]
        if coming:
            self._look_at(min(coming))

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()  # it would come later: for a socket that has been stalled since
        self._timer = self._loop.call_at(due, self._look)

    def _let_go(self, attachment: Attachment) -> None:
        task = asyncio.create_task(attachment.detach())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _due(deadlines: dict[Attachment, float], now: float) -> list[Attachment]:
    return [attachment for attachment, due in deadlines.items() if due <= now]
