"""Deliveries to one held client: taking them from the attachment, and writing them as JSON."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pixied_client.attachment import Attachment
from pixied_client.bayeux.extension import Extensions
from pixied_client.bayeux.message import BayeuxMessage, bayeux_message_of, delivered
from pixied_client.bayeux.request import Request
from pixied_client.values import Delivery, Detached, Gap, Message

__all__ = ["Gathered", "Hold", "Holds", "Writer", "gather"]

_READY_TEXTS = 64
# A WebSocket message is closed when it has so many characters. Clients take 1 MB by default, some less.
_PORTION = 1 << 16


class Hold:
    """One held connect.

    Attributes:
        over: it is to be answered; what is at hand may still go with the answer.
    """

    __slots__ = ("_attachment", "over")

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self.over = False

    def end(self) -> None:
        """End it now."""
        self.over = True
        self._attachment.nudge()

    async def take(self, room: int | None = None) -> list[Delivery] | Detached:
        """Wait for a delivery and take what is at hand; nothing when the hold is over.

        Args:
            room: so many characters of data at most, but at least one delivery.
        """
        return self._attachment.at_hand(room) if self.over else await self._attachment.take(room)


class Holds:
    """How long connects are held; all of them end at once when the front-end drains."""

    def __init__(self) -> None:
        self.draining = False
        self._held: set[Hold] = set()

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    @contextmanager
    def hold(self, attachment: Attachment, until: float) -> Iterator[Hold]:
        """Hold a client's connect.

        Args:
            attachment: the client.
            until: to this time of the event loop; one in the past takes only what is at hand.
        """
        loop = asyncio.get_running_loop()
        hold = Hold(attachment)
        hold.over = self.draining or until <= loop.time()
        timer = loop.call_at(until, hold.end)
        self._held.add(hold)
        try:
            yield hold
        finally:
            timer.cancel()
            self._held.discard(hold)

    def drain(self) -> None:
        """End all of them, and let no new one wait."""
        self.draining = True
        for hold in self._held:
            hold.end()


@dataclass
class Gathered:
    """What was taken for one response.

    Attributes:
        deliveries: in order.
        detached: why the client is no longer held; then the messages are someone else's to deliver.
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


async def gather(holds: Holds, attachment: Attachment, until: float, room: int) -> Gathered:
    """Wait for a delivery, and take with it what has come meanwhile, as far as one response holds it.

    The client must be attached with `explicit`: taking confirms nothing.

    Args:
        holds: the front-end's.
        attachment: the client.
        until: wait until this time of the event loop.
        room: so many characters of data at most, but at least one delivery.
    """
    with holds.hold(attachment, until) as hold:
        taken = await hold.take(room)
    return Gathered(detached=taken) if isinstance(taken, Detached) else Gathered(taken)


class Writer:
    """Writes messages as JSON. The clients of one link get the same objects, and so the same text, written once.

    Args:
        extensions: those that see what goes out.
    """

    def __init__(self, extensions: Extensions) -> None:
        self._extensions = extensions
        # The messages are kept beside their text: while they are, no other object has their id.
        self._ready: OrderedDict[tuple[int, ...], tuple[list[tuple[Message, ...]], list[str]]] = OrderedDict()

    async def text(self, deliveries: Sequence[Delivery], request: Request) -> str:
        """Write the messages of deliveries as JSON texts with commas between them; empty if there are none."""
        return ",".join(await self.texts(deliveries, request))

    async def texts(self, deliveries: Sequence[Delivery], request: Request) -> list[str]:
        """The same in portions of about 64 KB: clients refuse WebSocket messages that are too large."""
        if self._extensions.look_out:
            return _joined([text for one in deliveries for text in await self._extended(one, request)])
        key = tuple([id(delivery.messages) for delivery in deliveries])
        ready = self._ready.get(key)
        if ready is None:
            ready = self._ready[key] = _written([delivery.messages for delivery in deliveries])
            if len(self._ready) > _READY_TEXTS:
                self._ready.popitem(last=False)
        return ready[1]

    async def passed(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Let the extensions see a message of this front-end's own; None: one of them drops it."""
        return await self._extensions.outgoing(message, request)

    async def _extended(self, delivery: Delivery, request: Request) -> list[str]:
        passed = [await self._extensions.outgoing(bayeux_message_of(message), request) for message in delivery.messages]
        return [message.json() for message in passed if message is not None]


def _written(deliveries: list[tuple[Message, ...]]) -> tuple[list[tuple[Message, ...]], list[str]]:
    return deliveries, _joined([delivered(message) for messages in deliveries for message in messages])


def _joined(texts: list[str]) -> list[str]:
    """Texts with commas between them, each portion closed when it is large enough."""
    portions: list[list[str]] = []
    room = 0
    for text in texts:
        if room <= 0:
            portions.append([])
            room = _PORTION
        portions[-1].append(text)
        room -= len(text)
    return [",".join(portion) for portion in portions]
