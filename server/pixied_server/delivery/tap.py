"""One client's messages for one caller: what is behind Deliver and DequeueFor.

A tap always reads the logs and uses live messages only as a signal that there is something to read: for one client
that is cheap enough, and there is no seam.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, later
from pixied_server.delivery.events import DetachReason
from pixied_server.delivery.hub import Hub
from pixied_server.engine.abc import Claim, Delivered
from pixied_server.errors import ClientUnknown, FieldInvalid, PixiedError, TakenOver

__all__ = ["CURSORS", "Taken", "Tap", "parse_cursor", "tapped"]

CURSORS = 4
"""How many of the last cursors that a client was given are remembered."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one `take` returned.

    Attributes:
        entries: in order.
        redelivered: so many of them, from the first on, may have been delivered before.
        losses: messages that are missing.
        cursor: names the end of the entries.
    """

    entries: list[Entry]
    redelivered: int
    losses: Sequence[Loss]
    cursor: str


class Tap:
    """See the module. Made by `tapped`.

    Args:
        hub: the hub.
        claim: the claim on the client.
        name: the owner's name, shown where a front-end's name is.
        explicit: taking messages does not confirm them.
    """

    def __init__(self, hub: Hub, claim: Claim, name: str, *, explicit: bool) -> None:
        self.claim = claim
        self._hub = hub
        self._name = name
        self._explicit = explicit
        self._confirmed = NOTHING
        # How far the last messages that were taken reached, and all of them: a new subscription is read from earlier.
        self._taken = NOTHING
        self._sent = NOTHING
        self._cursors: deque[tuple[int, Progress]] = deque(maxlen=CURSORS)
        self._news = asyncio.Event()
        self._over: PixiedError | None = None
        self._patterns: set[str] = set()
        for pattern in claim.patterns():
            self._follow(pattern)

    async def take(self, *, messages: int, size: int) -> Taken:
        """Take pending messages: at most so many, and about so many bytes.

        In automatic mode this confirms messages that were handed on before.

        Raises:
            TakenOver, ClientUnknown: the client is no longer this tap's.
        """
        if self._over is not None:
            raise self._over
        self._news.clear()
        await self._confirm_taken()
        reading = await self.claim.read(messages=messages, size=size, least=1)
        if self._over is not None:
            # The client's next owner does not know of this reading, and reads again.
            raise self._over
        if not reading.done:
            self._news.set()
        self._taken = reading.upto
        self._sent = later(self._sent, reading.upto)
        self._hub.handed_out(reading.entries, 1, self._name, redelivered=reading.redelivered)
        self._hub.counters.lost += sum(loss.count for loss in reading.losses)
        cursor = self._hub.engine.cursor_of(reading.upto)
        self._cursors.append((cursor, self.claim.capped(reading.upto)))
        return Taken(reading.entries, reading.redelivered, reading.losses, f"{cursor:x}")

    async def wait(self) -> None:
        """Wait until there may be more to take.

        Raises:
            TakenOver, ClientUnknown: the client is no longer this tap's.
        """
        await self._news.wait()
        if self._over is not None:
            raise self._over

    def all_taken(self) -> None:
        """Note that all messages that were taken have been handed on."""
        if not self._explicit:
            self._confirmed = self._taken

    async def close(self) -> None:
        """Release the client."""
        try:
            await self._hub.let_go(self.claim.client_id, self)
        finally:
            self._unfollow()

    async def _confirm_taken(self) -> None:
        if confirmed := self.claim.capped(self._confirmed):
            await self._hub.engine.confirm(self.claim, confirmed)

    def _follow(self, pattern: str) -> None:
        self._patterns.add(pattern)
        self._hub.follow(pattern, self)

    def _unfollow(self) -> None:
        for pattern in self._patterns:
            self._hub.unfollow(pattern, self)

    # What the hub announces (`Follower` and `Owner`)

    def delivered(self) -> Delivered:
        """See `Owner`."""
        return Delivered(self.claim.capped(self._confirmed), self._sent, self._cursors)

    def on_published(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """See `Follower`."""
        self._news.set()

    def on_missed(self, loss: Loss) -> None:
        """See `Follower`. The next read finds out by itself."""
        self._news.set()

    def on_queued(self, entry: Entry) -> None:
        """See `Owner`."""
        self._news.set()

    def on_subscribed(self, pattern: str, since: Progress) -> None:
        """See `Owner`."""
        self._follow(pattern)

    def on_behind(self) -> None:
        """See `Owner`."""
        for pattern in self.claim.patterns():
            self._follow(pattern)
        # Messages from before a new subscription do not cover that subscription's messages.
        self._confirmed = self.claim.capped(self._confirmed)
        capped = [(cursor, self.claim.capped(progress)) for cursor, progress in self._cursors]
        self._cursors = deque(capped, maxlen=CURSORS)
        self._news.set()

    def on_own_missed(self, loss: Loss) -> None:
        """See `Owner`. The next read finds out by itself."""
        self.on_behind()

    def on_unsubscribed(self, pattern: str) -> None:
        """See `Owner`."""
        self._patterns.discard(pattern)
        self._hub.unfollow(pattern, self)

    def on_gone(self, reason: DetachReason, detail: str) -> None:
        """See `Owner`."""
        client_id = self.claim.client_id
        self._over = TakenOver(client_id) if reason is DetachReason.TAKEN_OVER else ClientUnknown(client_id)
        self._news.set()


@asynccontextmanager
async def tapped(hub: Hub, client_id: str, name: str, *, explicit: bool, cursor: int) -> AsyncIterator[Tap]:
    """Hold a client as long as the context lasts.

    Args:
        hub: the hub.
        client_id: the client.
        name: the owner's name, shown where a front-end's name is.
        explicit: messages that were taken stay until a later call names their cursor.
        cursor: confirms everything up to what it stands for; 0 for nothing.

    Raises:
        ClientUnknown, FieldInvalid (the cursor was not handed out): nothing is changed.
    """
    claim = await hub.engine.claim(client_id, name, expires=False, cursor=cursor)
    tap = Tap(hub, claim, name, explicit=explicit)
    hub.own(client_id, tap)
    try:
        yield tap
    finally:
        await tap.close()


def parse_cursor(text: str) -> int:
    """Parse a cursor; "" is 0.

    Raises:
        FieldInvalid: the text is not a cursor.
    """
    if not text:
        return 0
    if len(text) > _CURSOR_LENGTH or not set(text) <= _HEX:
        raise FieldInvalid("ack_cursor", "this is not a cursor that an answer carried")
    return int(text, 16)


_CURSOR_LENGTH = 16
_HEX = frozenset("0123456789abcdef")
