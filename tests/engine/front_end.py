"""A front-end's side of one link: what it asks for, what was sent to it, and what of that it has received."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.engine.benches import Bench

from pixied_server.delivery.events import Attached, AttachFailed, Delivery, Detached, DetachReason, LinkEvent, Lost
from pixied_server.delivery.link import AttachTerms, Link
from pixied_server.errors import PixiedError

__all__ = ["FrontEnd", "Receipt"]

# More often than this no link has nothing to send though it had something to do.
_EMPTY = 1_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """One message as one client got it."""

    text: str
    channel: str
    number: int
    redelivered: bool


class FrontEnd:
    """Stands at the other end of a link. Names stand for clients; handles are its own business.

    What is taken from the link is in flight until it is received, and is gone if the link is lost before.

    Attributes:
        got: what each client got through this front-end.
        lost: how many messages each client was told it lost, by pattern.
        attached: the clients that it was told it has, by handle.
        detached: why it was told that clients are gone, in order.
        failed: why clients could not be attached.
        number: the number of the last delivery it has received.
    """

    def __init__(self, bench: Bench, link: Link) -> None:
        self.link = link
        self._bench = bench
        self._asked: dict[int, str] = {}
        self._flight: list[LinkEvent] = []
        self.got: defaultdict[str, list[Receipt]] = defaultdict(list)
        self.lost: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.attached: dict[int, str] = {}
        self.detached: list[tuple[str, DetachReason, str]] = []
        self.failed: dict[str, PixiedError] = {}
        self.deliveries: list[Delivery] = []
        self.number = 0

    async def attach(self, name: str, client_id: str, terms: AttachTerms) -> int:
        """Ask for a client under the smallest handle that is free."""
        handle = next(number for number in range(1, 1_000) if number not in self._asked)
        self._asked[handle] = name
        await self.link.attach(client_id, handle, terms)
        return handle

    async def detach(self, name: str) -> None:
        """Give a client up."""
        await self.link.detach(self.handle_of(name))

    async def client_ack(self, name: str, number: int | None = None) -> None:
        """A client confirms: everything, if no number is named."""
        await self.link.client_ack(self.handle_of(name), self.number if number is None else number)

    async def ack(self, number: int | None = None) -> None:
        """Confirm deliveries: all that were received, if no number is named."""
        await self.link.ack(self.number if number is None else number)

    async def lose(self) -> None:
        """The stream breaks; what is in flight is gone."""
        self._flight.clear()
        await self.link.close()

    def handle_of(self, name: str) -> int:
        """The handle under which a client was asked for last."""
        return max(handle for handle, asked in self._asked.items() if asked == name)

    def name_of(self, handle: int) -> str:
        """The client for which a handle stands."""
        return self._asked[handle]

    async def take(self) -> list[LinkEvent]:
        """What the link has to send at this moment goes in flight: at most one delivery."""
        for _ in range(_EMPTY):
            taking = asyncio.ensure_future(self.link.take())
            await self._bench.settle()
            if not taking.done():
                taking.cancel()
                await asyncio.wait([taking])
                return []
            if events := taking.result():
                self.send(events)
                return events
            # What it had was for nobody, or it has only found out that a client is not behind; more may have come.
        raise AssertionError("the link always has something to do and nothing to send")

    def send(self, events: Sequence[LinkEvent]) -> None:
        """What was taken from the link goes in flight."""
        self._flight += events

    def receive(self) -> list[LinkEvent]:
        """All that is in flight arrives."""
        events, self._flight = self._flight, []
        for event in events:
            self._receive(event)
        return events

    async def read(self) -> None:
        """Take and receive until nothing comes any more."""
        while await self.take():
            self.receive()

    async def drain(self) -> None:
        """Read and confirm until nothing comes any more."""
        before = -1
        while self.number != before:
            before = self.number
            await self.ack()
            await self.read()

    def texts(self, name: str) -> list[str]:
        """The messages that a client got, in order."""
        return [receipt.text for receipt in self.got[name]]

    def numbers(self, name: str) -> list[int]:
        """The numbers that a client got, sorted: each channel's came in order; of several no order is promised."""
        by_channel: defaultdict[str, list[int]] = defaultdict(list)
        for receipt in self.got[name]:
            by_channel[receipt.channel].append(int(receipt.text))
        assert all(numbers == sorted(numbers) for numbers in by_channel.values())
        return sorted(number for numbers in by_channel.values() for number in numbers)

    def marked(self, name: str) -> list[str]:
        """Those among them that were marked as redelivered."""
        return [receipt.text for receipt in self.got[name] if receipt.redelivered]

    def _receive(self, event: LinkEvent) -> None:
        match event:
            case Attached(handle):
                self.attached[handle] = self._asked[handle]
            case AttachFailed(handle, error):
                self.failed[self._asked.pop(handle)] = error
            case Detached(handle, reason, detail):
                self.attached.pop(handle, None)
                self.detached.append((self._asked.pop(handle), reason, detail))
            case Lost(handles, pattern, count):
                self._count_lost(handles, pattern, count)
            case Delivery():
                self._take_in(event)

    def _count_lost(self, handles: Iterable[int], pattern: str, count: int) -> None:
        for handle in handles:
            self.lost[self._asked[handle]][pattern] += count

    def _take_in(self, delivery: Delivery) -> None:
        assert delivery.number == self.number + 1
        self.number = delivery.number
        self.deliveries.append(delivery)
        for batch in delivery.batches:
            assert batch.entries
            assert batch.audience.handles
            for handle in batch.audience.handles:
                self.got[self._asked[handle]] += [
                    Receipt(entry.message.body.decode(), entry.message.channel, delivery.number, batch.redelivered)
                    for entry in batch.entries
                ]
