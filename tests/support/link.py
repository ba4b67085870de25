"""A front-end's link without an SDK: commands out, events in."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from tests.support.caller import TIMEOUT, Caller, within

from pixied.v1 import attach_pb2 as wire

__all__ = ["RawLink", "ack", "attach", "client_ack", "detach", "hello", "linked", "messages_of"]


def hello(front_end: str = "test", window: int = 0) -> wire.AttachCommand:
    """The command that opens a link."""
    return wire.AttachCommand(hello=wire.Hello(front_end=front_end, window=window))


def attach(client_id: str, handle: int, **more: Any) -> wire.AttachCommand:
    """The command that takes a client onto the link."""
    return wire.AttachCommand(attach=wire.AttachClient(client_id=client_id, handle=handle, **more))


def detach(handle: int) -> wire.AttachCommand:
    """The command that gives a client up."""
    return wire.AttachCommand(detach=wire.DetachClient(handle=handle))


def ack(number: int) -> wire.AttachCommand:
    """The command that confirms deliveries of the link."""
    return wire.AttachCommand(ack=wire.Ack(number=number))


def client_ack(handle: int, number: int) -> wire.AttachCommand:
    """The command that confirms deliveries of one client."""
    return wire.AttachCommand(client_ack=wire.ClientAck(handle=handle, number=number))


def messages_of(delivery: wire.Delivery, handle: int) -> list[str]:
    """The data that one handle gets with a delivery, in order; `!` marks what was redelivered."""
    return [
        one.data + "!" * batch.redelivered
        for batch in delivery.batches
        if handle in batch.handles
        for one in batch.messages
    ]


class RawLink:
    """One Attach stream.

    Attributes:
        welcome: the answer to its hello.
        call: the gRPC call.
        timeout: so many seconds it waits for an event; None for as long as it takes.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self.welcome = wire.Welcome()
        self.timeout: float | None = TIMEOUT
        self._events: deque[wire.AttachEvent] = deque()

    async def send(self, *commands: wire.AttachCommand) -> None:
        """Send commands in one frame."""
        await self.call.write(wire.AttachRequest(commands=commands).SerializeToString())

    async def event(self) -> wire.AttachEvent:
        """The next event.

        Raises:
            EOFError: the stream has ended well.
        """
        while not self._events:
            async with asyncio.timeout(self.timeout):
                frame = await self.call.read()
            if frame is grpc.aio.EOF:
                raise EOFError
            self._events.extend(frame.events)
        return self._events.popleft()

    async def next(self, kind: str) -> Any:
        """The next event, which must be of this kind; heartbeats are answered and passed over."""
        async with within():  # heartbeats alone must not keep a test waiting
            event = await self.event()
            while kind != "heartbeat" and event.HasField("heartbeat"):
                await self.send(wire.AttachCommand(heartbeat=wire.Heartbeat()))
                event = await self.event()
        assert event.WhichOneof("event") == kind, event
        return getattr(event, kind)

    async def attach(self, client_id: str, handle: int, **more: Any) -> None:
        """Take a client onto the link, and see that this was done."""
        await self.send(attach(client_id, handle, **more))
        assert (await self.next("attached")).handles == [handle]

    async def messages(self, handle: int, count: int) -> list[str]:
        """The next so many messages of one handle, from deliveries that are confirmed at once; see `messages_of`."""
        found: list[str] = []
        while len(found) < count:
            delivery = await self.next("delivery")
            found += messages_of(delivery, handle)
            await self.send(ack(delivery.number))
        return found

    async def end(self) -> None:
        """End the stream, and see that the server ends it well."""
        await self.call.done_writing()
        while True:
            try:
                await self.event()
            except EOFError:
                return


@asynccontextmanager
async def linked(caller: Caller, front_end: str = "test", window: int = 0) -> AsyncIterator[RawLink]:
    """A link that has been welcomed, cut when the context is left."""
    link = RawLink(caller.both_ways("Attach"))
    try:
        await link.send(hello(front_end, window))
        link.welcome = await link.next("welcome")
        yield link
    finally:
        link.call.cancel()
