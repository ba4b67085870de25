"""Mail of one held client: taking it from the attachment, and writing it as JSON."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pixied_client.attachment import Attachment
from pixied_client.bayeux.extension import Extensions
from pixied_client.bayeux.message import delivered, parsed_mail
from pixied_client.bayeux.request import Request
from pixied_client.values import Delivery, Detached, Gap, Message

__all__ = ["Bag", "Holds", "Writer", "gather"]

_READY_TEXTS = 64


class Holds:
    """How long connects are held; all of them end at once when the front-end drains."""

    def __init__(self) -> None:
        self.draining = False
        self._timers: set[asyncio.Timeout] = set()

    def __len__(self) -> int:
        """How many are held."""
        return len(self._timers)

    @contextmanager
    def _noted(self, timer: asyncio.Timeout) -> Iterator[asyncio.Timeout]:
        self._timers.add(timer)
        try:
            yield timer
        finally:
            self._timers.discard(timer)

    async def next(self, attachment: Attachment, until: float) -> Delivery | Detached | None:
        """Wait for the next item of a client's mail.

        Args:
            attachment: the client.
            until: wait until this time of the event loop; one in the past takes only what is at hand.

        Returns:
            None if nothing came in time.
        """
        try:
            async with asyncio.timeout_at(0.0 if self.draining else until) as timer:
                with self._noted(timer):
                    return await anext(attachment)
        except TimeoutError:
            return None

    def drain(self) -> None:
        """End all of them, and let no new one wait."""
        self.draining = True
        for timer in self._timers:
            if not timer.expired():
                timer.reschedule(0.0)


@dataclass
class Bag:
    """What was taken for one response.

    Attributes:
        deliveries: in order.
        detached: why the client is no longer held; then the mail is someone else's to deliver.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    detached: Detached | None = None

    @property
    def number(self) -> int:
        """What confirms all of it on the link that it came by; 0 if it is empty."""
        return self.deliveries[-1].number if self.deliveries else 0

    @property
    def cursor(self) -> int:
        """What confirms all of it on any link; 0 if there are no messages."""
        cursors = [delivery.cursor for delivery in self.deliveries if delivery.cursor]
        return cursors[-1] if cursors else 0

    @property
    def gaps(self) -> list[Gap]:
        """What was lost."""
        return [gap for delivery in self.deliveries for gap in delivery.gaps]

    @property
    def size(self) -> int:
        """About how many bytes its messages have."""
        return sum(len(message.data) for delivery in self.deliveries for message in delivery.messages)


async def gather(holds: Holds, attachment: Attachment, until: float, size: int) -> Bag:
    """Wait for mail, and take with it what has come meanwhile, as far as one response holds it.

    The client must be attached with `explicit`: taking confirms nothing.

    Args:
        holds: the front-end's.
        attachment: the client.
        until: wait until this time of the event loop.
        size: about so many bytes, but at least one delivery.
    """
    bag = Bag()
    item = await holds.next(attachment, until)
    while isinstance(item, Delivery):
        bag.deliveries.append(item)
        if bag.size >= size:
            break
        item = await holds.next(attachment, 0.0)
    if isinstance(item, Detached):
        bag.detached = item
    return bag


class Writer:
    """Writes messages as JSON. The clients of one link get the same objects, so that each is written once for all.

    Args:
        extensions: those that see what goes out.
    """

    def __init__(self, extensions: Extensions) -> None:
        self._extensions = extensions
        # The messages are kept beside their text: while they are, no other object has their id.
        self._texts: OrderedDict[int, tuple[tuple[Message, ...], list[str]]] = OrderedDict()

    async def texts(self, delivery: Delivery, request: Request) -> list[str]:
        """Write the messages of a delivery, each as its JSON text."""
        if self._extensions.look_out:
            return await self._extended(delivery, request)
        messages = delivery.messages
        ready = self._texts.get(id(messages))
        if ready is None:
            ready = self._texts[id(messages)] = (messages, [delivered(message) for message in messages])
            if len(self._texts) > _READY_TEXTS:
                self._texts.popitem(last=False)
        return ready[1]

    async def _extended(self, delivery: Delivery, request: Request) -> list[str]:
        passed = [await self._extensions.outgoing(parsed_mail(message), request) for message in delivery.messages]
        return [message.json() for message in passed if message is not None]
