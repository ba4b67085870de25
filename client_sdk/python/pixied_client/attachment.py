"""One attached client, as the front-end's program sees it."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto
from operator import index
from types import TracebackType
from typing import Protocol, Self, TypeAlias

import grpc

from pixied_client.errors import FieldInvalid
from pixied_client.values import Delivery, Detached, Gap

__all__ = ["Attachment", "AttachmentHost", "Standing"]


class Standing(Enum):
    """How an attachment stands with the server."""

    ASKED = auto()
    """Not attached yet, or not again since the link broke."""
    HELD = auto()
    """Attached."""
    LEAVING = auto()
    """Given up; the server has not said so yet."""
    OVER = auto()
    """No longer attached, for good."""


class AttachmentHost(Protocol):
    """The link, as its attachments see it."""

    def release(self, numbers: Iterable[int]) -> None:
        """Note that these deliveries were dealt with by one more of their consumers."""

    def confirm(self, attachment: "Attachment", number: int) -> None:
        """Confirm a client's deliveries up to this number."""

    def give_up(self, attachment: "Attachment") -> None:
        """Begin to detach."""


Item: TypeAlias = Delivery | Detached

# Every cursor is below this.
_CURSORS_END = 2**53

# A client that confirms later than this many deliveries confirms them on their own link alone.
_CURSORS = 1_024


class Attachment:
    """An asynchronous iterator over one client's deliveries, for one consumer; its last item is a `Detached`.

    Asking for the next item says that the one before has been dealt with, and lets the link confirm it; what was not
    dealt with comes again, wherever the client attaches next. The server sends a link no more than its window of
    unconfirmed deliveries, so that a consumer that is slow, or stops, holds up its whole front-end: keep iterating, or
    detach. Leave it by `async with`, or by `detach()`.

    Attributes:
        client_id: the client; a secret.
        handle: the number that stands for it in batches. It stays the same when the link is renewed.
        explicit: only `confirm` confirms.
        expires: the session timeout runs on while it is attached.
    """

    def __init__(
        self, host: AttachmentHost, client_id: str, handle: int, *, explicit: bool, expires: bool, ack_cursor: int
    ) -> None:
        self.client_id = client_id
        self.handle = handle
        self.explicit = explicit
        self.expires = expires
        self._ack_cursor = _checked(ack_cursor)
        self.standing = Standing.ASKED
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._host = host
        self._waiting: deque[Delivery] = deque()
        self._taken: deque[int] = deque()
        # What the client itself may confirm: numbers and cursors of its deliveries.
        self._cursors: deque[tuple[int, int]] = deque(maxlen=_CURSORS)
        self._last = 0
        self._gaps: dict[str, int] = {}
        self._detached: Detached | None = None
        self._ended = False
        self._nudged = False
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Attachment {self.handle} {self.standing.name.lower()}>"

    @property
    def detached(self) -> Detached | None:
        """Why the client is no longer attached; None while it is, or will be again when the link is renewed."""
        return self._detached

    @property
    def ack_cursor(self) -> int:
        """The client itself has confirmed what came with this cursor; 0 for nothing.

        Named at each attach, so that a confirmation outlives the link that it was sent on.

        Raises:
            FieldInvalid: when set to what no delivery can have.
        """
        return self._ack_cursor

    @ack_cursor.setter
    def ack_cursor(self, cursor: int) -> None:
        self._ack_cursor = _checked(cursor)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self.done()
        while not self._waiting:
            if self._detached:
                return self._last_item(self._detached)
            self._news.clear()
            await self._news.wait()
        delivery = self._waiting.popleft()
        self._taken.append(delivery.number)
        return delivery

    async def take(self, room: int | None = None) -> list[Delivery] | Detached:
        """Wait for a delivery and take all that are at hand, for those who send them on together.

        As iteration does, it says that what was taken before has been dealt with.

        Args:
            room: so many characters of data at most, but at least one delivery.

        Returns:
            An empty list after a `nudge`. A `Detached` again and again, once it has come.
        """
        while not (self._waiting or self._detached or self._nudged):
            self.done()
            self._news.clear()
            await self._news.wait()
        return self.at_hand(room)

    def at_hand(self, room: int | None = None) -> list[Delivery] | Detached:
        """Take what is at hand without waiting. See `take`."""
        self.done()
        self._nudged = False
        if self._detached:
            return self._detached
        taken: list[Delivery] = []
        while self._waiting:
            if room is not None and (room := room - self._waiting[0].size) < 0 and taken:
                break
            delivery = self._waiting.popleft()
            taken.append(delivery)
            self._taken.append(delivery.number)
        return taken

    def nudge(self) -> None:
        """Let who waits in `take`, or does so next, get what is at hand, be it nothing."""
        self._nudged = True
        self._news.set()

    def done(self) -> None:
        """Say that what was taken has been dealt with. Asking for the next item says so too."""
        if self._taken:
            self._host.release(self._taken)
            self._taken.clear()

    def confirm(self, number: int) -> None:
        """Confirm for the client itself everything up to the delivery with this number.

        A number of a link that is gone is named when the client is next attached; what comes again before is no
        mistake. (With a front-end's `on_batch`, whose messages do not come by here, set `ack_cursor` for that.)

        Raises:
            ValueError: no delivery had this number yet.
        """
        self._host.confirm(self, number)
        while self._cursors and self._cursors[0][0] <= number:
            # The newer, not the larger: cursors of two links can't be compared.
            self._ack_cursor = self._cursors.popleft()[1] or self._ack_cursor

    async def detach(self) -> None:
        """Give the client up, and wait until the server has done so. What was not dealt with will come again."""
        self._host.give_up(self)
        await self._over.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.detach()

    # What follows is the link's to call.

    @property
    def dealt_with(self) -> int:
        """The number up to which nothing waits for the consumer any more; 0 if there is none on this link."""
        oldest = self._taken[0] if self._taken else self._waiting[0].number if self._waiting else None
        return self._last if oldest is None else oldest - 1

    def deliver(self, delivery: Delivery) -> None:
        """Put a delivery before the consumer, with the gaps announced just before it. `wake` wakes the consumer."""
        if self._gaps:
            gaps = tuple(Gap(channel, lost) for channel, lost in self._gaps.items())
            delivery = replace(delivery, gaps=gaps)
            self._gaps.clear()
        self._last = delivery.number
        if self.explicit:
            self._cursors.append((delivery.number, delivery.cursor))
        self._waiting.append(delivery)

    def wake(self) -> None:
        """Wake the consumer: there are deliveries."""
        self._news.set()

    def lost(self, gap: Gap) -> None:
        """Note a gap for the next delivery. Gaps of a channel add up."""
        self._gaps[gap.channel] = self._gaps.get(gap.channel, 0) + gap.lost

    def attached(self) -> None:
        """Note that the server holds the client for this front-end."""
        self.standing = Standing.HELD
        if not self.settled.done():
            self.settled.set_result(None)

    def broke(self) -> None:
        """Note that the link is gone: its deliveries and gaps that were not dealt with come again."""
        self._waiting.clear()
        self._taken.clear()
        self._gaps.clear()
        self._last = 0
        self.standing = Standing.ASKED

    def end(self, detached: Detached) -> None:
        """Note that the client is no longer attached, for good. What was not taken is someone else's now."""
        self.standing = Standing.OVER
        self._detached = detached
        untaken = [delivery.number for delivery in self._waiting]
        self._waiting.clear()
        self._host.release(untaken)
        self.done()
        self._over.set()
        self._news.set()

    def _last_item(self, detached: Detached) -> Item:
        if self._ended:
            raise StopAsyncIteration
        self._ended = True
        return detached


def _checked(cursor: int) -> int:
    if not 0 <= index(cursor) < _CURSORS_END:
        message = "ack_cursor: no delivery has such a cursor; name one that came with a delivery"
        raise FieldInvalid(message, code=grpc.StatusCode.INVALID_ARGUMENT, field="ack_cursor")
    return cursor
