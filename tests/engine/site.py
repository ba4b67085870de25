"""A site to test on: an engine, a hub, front-ends, and clients with names instead of ids.

So a test reads as the steps of a story: `await site.subscribe("alice", "/foo")`, `await site.publish("/foo", "hi")`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.engine.benches import Bench
from tests.engine.front_end import FrontEnd
from tests.support.turns import endless

from pixied_server.core.message import Message
from pixied_server.core.paging import PageRequest
from pixied_server.core.turns import Turns
from pixied_server.delivery.audience import AudienceLimits
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import AttachTerms, Link, LinkLimits
from pixied_server.delivery.outbox import OutboxLimits
from pixied_server.delivery.tap import Taken, Tap, parse_cursor, tapped
from pixied_server.delivery.watch import Filter, Watcher, Watchers
from pixied_server.engine.abc import Client, PublishOutcome, QueueOutcome
from pixied_server.errors import PixiedError, Reason

__all__ = ["Site", "page", "reason_of", "texts"]

# More than any test sends.
_PLENTY = 1_000_000


class Site:
    """See the module.

    Args:
        bench: the engine under test.
        outbox: so many live messages wait in memory for a link that does not read.
        delivery_bytes: about so many bytes in one delivery.
        clients: so many may be attached to one link.
        ready_handles: so many handles are kept ready on a link, in the audiences of overlapping patterns.
        turns: when links and watchers let others go on; None for never.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        outbox: int = 10_000,
        delivery_bytes: int = 900_000,
        clients: int = 1_000,
        ready_handles: int = 2_000_000,
        turns: Turns | None = None,
    ) -> None:
        self.bench = bench
        self.engine = bench.engine
        self.clock = bench.clock
        turns = turns or endless()
        self.watchers = Watchers(10_000, turns)
        self.hub = Hub(bench.engine, self.watchers, bench.clock, turns)
        self.ids: dict[str, str] = {}
        self._limits = LinkLimits(
            clients, delivery_bytes, OutboxLimits(messages=outbox), AudienceLimits(handles=ready_handles)
        )

    async def elapse(self, seconds: float) -> None:
        """Let time pass."""
        await self.bench.elapse(seconds)

    # Clients

    async def create(self, *names: str, timeout: float = 60.0) -> None:
        """Start sessions."""
        for name in names:
            self.ids[name] = (await self.engine.create_client(timeout, {})).client_id

    async def look_at(self, name: str) -> Client:
        """What is known of a client."""
        return await self.engine.get_client(self.ids[name])

    async def lives(self, name: str) -> bool:
        """Whether a client's session has not ended."""
        return await reason_of(self.look_at(name)) is None

    async def ping(self, name: str) -> float | None:
        """Prolong a session."""
        return await self.engine.ping_client(self.ids[name])

    async def destroy(self, name: str, reason: str = "enough") -> None:
        """End a session."""
        await self.engine.destroy_client(self.ids[name], reason)

    # Subscriptions

    async def subscribe(self, name: str, *patterns: str) -> list[str]:
        """Subscribe a client."""
        return await self.engine.subscribe(self.ids[name], patterns)

    async def unsubscribe(self, name: str, *patterns: str) -> list[str]:
        """Unsubscribe a client."""
        return await self.engine.unsubscribe(self.ids[name], patterns)

    # Taken

    async def publish(self, channel: str, *bodies: str, by: str = "", exclude: bool = False) -> list[PublishOutcome]:
        """Publish messages, in one request."""
        return await self.engine.publish(self._messages(channel, bodies, by, exclude=exclude))

    async def queue_for(self, name: str, *bodies: str, channel: str = "/service/own") -> QueueOutcome:
        """Send messages to one client alone."""
        return await self.engine.queue_for(self.ids[name], self._messages(channel, bodies, "", exclude=False))

    def _messages(self, channel: str, bodies: Sequence[str], by: str, *, exclude: bool) -> list[Message]:
        publisher = self.ids[by] if by else ""
        return [Message(channel, body.encode(), publisher=publisher, exclude_publisher=exclude) for body in bodies]

    # Delivery

    def front_end(self, name: str = "front", *, window: int = 64) -> FrontEnd:
        """Open a link."""
        return FrontEnd(self.bench, Link(self.hub, name, window, self._limits))

    async def attach(
        self, name: str, front: FrontEnd, *, explicit: bool = False, expires: bool = False, cursor: int = 0
    ) -> int:
        """Take a client onto a link."""
        return await front.attach(name, self.ids[name], AttachTerms(explicit, expires, cursor))

    def tapped(self, name: str, *, explicit: bool = False, cursor: str = "") -> AbstractAsyncContextManager[Tap]:
        """Hold a client as Deliver does."""
        return tapped(self.hub, self.ids[name], "Deliver", explicit=explicit, cursor=parse_cursor(cursor))

    async def dequeue(self, name: str, most: int = _PLENTY, *, explicit: bool = False, cursor: str = "") -> Taken:
        """Take a client's messages as DequeueFor does, without waiting."""
        async with self.tapped(name, explicit=explicit, cursor=cursor) as tap:
            taken = await tap.take(messages=most, size=_PLENTY)
            tap.all_taken()
        return taken

    @asynccontextmanager
    async def watching(self, wanted: Filter) -> AsyncIterator[Watcher]:
        """A watcher that keeps up."""
        with self.watchers.watching(wanted) as watcher:
            keeping_up = asyncio.create_task(watcher.keep_up())
            try:
                yield watcher
            finally:
                keeping_up.cancel()
                await asyncio.wait([keeping_up])

    @asynccontextmanager
    async def attached(self, *names: str, window: int = 64) -> AsyncIterator[FrontEnd]:
        """A front-end that has these clients, caught up."""
        front = self.front_end(window=window)
        for name in names:
            await self.attach(name, front)
        await front.read()
        yield front
        await front.lose()


def texts(taken: Taken) -> list[str]:
    """The messages of an answer."""
    return [entry.message.body.decode() for entry in taken.entries]


def page(size: int = 100, token: str = "", query: str = "a test") -> PageRequest:
    """Ask for a page."""
    return PageRequest.parse(query, size, token)


async def reason_of(operation: Awaitable[object]) -> Reason | None:
    """Why an operation was refused; None if it was not."""
    try:
        await operation
    except PixiedError as error:
        return error.reason
    return None
