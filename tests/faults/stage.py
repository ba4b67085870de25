"""Real pixied processes and clients without an SDK, for tests of faults."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from tests.sdk.servers import Server, running_server
from tests.support.caller import Caller, message, within
from tests.support.link import RawLink, ack

from pixied.v1 import attach_pb2 as wire

__all__ = ["PARTITIONS", "Pixied", "Received", "Seen", "answered", "reading", "receive", "running"]

PARTITIONS = 4
_AT_ONCE = 1_000
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]


class Pixied(Caller):
    """A pixied process, and a channel to it.

    Attributes:
        server: the process.
    """

    def __init__(self, channel: grpc.aio.Channel, server: Server) -> None:
        super().__init__(channel)
        self.server = server

    async def publish(self, channel: str, *texts: str, **more: Any) -> Any:
        """Publish texts to a channel, in one request."""
        return await super().publish(channel, *map(json.dumps, texts), **more)

    async def queue(self, client_id: str, channel: str, *texts: str) -> Any:
        """Queue texts for a client, in one request."""
        messages = [message(channel, json.dumps(text)) for text in texts]
        return await self("QueueFor", client_id=client_id, messages=messages)

    async def publish_many(self, channel: str, texts: Sequence[str]) -> None:
        """Publish texts to a channel, in requests of 1,000."""
        for begin in range(0, len(texts), _AT_ONCE):
            await self.publish(channel, *texts[begin : begin + _AT_ONCE])

    async def taken(self, client_id: str, **fields: Any) -> list[str]:
        """The texts of what a client has pending, taken from it."""
        return list(map(json.loads, await super().taken(client_id, **fields)))


@asynccontextmanager
async def running(engine: str, *flags: str, number: int = 1) -> AsyncIterator[list[Pixied]]:
    """So many pixied processes with an engine, gone when the context is left."""
    # A link on which a test says nothing for a while is to live, however busy the machine is.
    terms = ("--engine", engine, "--silence-limit", "10min", *flags)
    if engine != "memory" and "--redis-partitions" not in flags:
        terms += ("--redis-partitions", str(PARTITIONS))
    async with AsyncExitStack() as stack:
        started = []
        for _ in range(number):
            # In a thread: what is between pixied and its store may be served by this loop.
            server = await asyncio.to_thread(stack.enter_context, running_server(*terms))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address, options=_OPTIONS))
            started.append(Pixied(channel, server))
        yield started


async def answered(call: Callable[[], Any]) -> Any:
    """Call again and again until it is not UNAVAILABLE. Returns the answer."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        await asyncio.sleep(0.02)


class Received:
    """What one handle of a link has got.

    Attributes:
        texts: of its messages, in order; seen: the same.
        redelivered: those of them that are marked so.
        lost: how many messages it was told are lost.
        number: the last delivery's.
        cursor: the last one that it was given.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.seen: set[str] = set()
        self.redelivered: list[str] = []
        self.lost = 0
        self.number = 0
        self.cursor = 0

    def add(self, delivery: wire.Delivery, handle: int) -> None:
        """A delivery has come."""
        for batch in delivery.batches:
            if handle in batch.handles:
                texts = [json.loads(one.data) for one in batch.messages]
                self.texts += texts
                self.seen.update(texts)
                self.redelivered += texts if batch.redelivered else ()
                self.cursor = batch.cursor


async def receive(link: RawLink, until: str, handle: int = 1, *, confirm: bool = True) -> Received:
    """Receive until a message with this text has come to a handle.

    Raises:
        EOFError: the stream has ended.
        AssertionError: it did not come in time.
    """
    received = Received()
    try:
        async with within():
            while until not in received.seen:
                received.number = await _receive(link, received, handle) or received.number
                if confirm:
                    await link.send(ack(received.number))
    except TimeoutError:
        raise AssertionError(f"{until!r} never came; {len(received.texts)} did: {received.texts[-10:]}") from None
    return received


async def _receive(link: RawLink, received: Received, handle: int) -> int:
    """Receive one event. Returns its number if it is a delivery."""
    event = await link.event()
    match event.WhichOneof("event"):
        case "delivery":
            received.add(event.delivery, handle)
            return event.delivery.number
        case "gap":
            received.lost += event.gap.gap.lost * (handle in event.gap.handles)
        case "heartbeat":
            await link.send(wire.AttachCommand(heartbeat=wire.Heartbeat()))
        case other:
            raise AssertionError(f"{other}: {event}")
    return 0


class Seen:
    """What has come on a link, read in a task; nothing is confirmed.

    Attributes:
        received: by handle.
        attached: handles that are.
        failed: handles that could not be attached, and why.
        detached: handles that are no more.
        number: the last delivery's.
    """

    def __init__(self) -> None:
        self.received: defaultdict[int, Received] = defaultdict(Received)
        self.attached: set[int] = set()
        self.failed: dict[int, str] = {}
        self.detached: set[int] = set()
        self.number = 0
        self._changed = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something of this is so; a stream that ends fails the test."""
        async with within(), self._changed:
            await self._changed.wait_for(lambda: condition() or self.ended)
        self.check()

    @property
    def ended(self) -> bool:
        """Whether the stream has."""
        return self._reading is not None and self._reading.done()

    def check(self) -> None:
        """See that the stream goes on."""
        if self._reading is not None and self._reading.done():
            self._reading.result()
            raise AssertionError("the stream has ended")

    async def read(self, link: RawLink) -> None:
        """Read a link to its end."""
        self._reading = asyncio.current_task()
        try:
            while True:
                event = await link.event()
                async with self._changed:
                    self._take(event)
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()

    def _take(self, event: wire.AttachEvent) -> None:
        match event.WhichOneof("event"):
            case "delivery":
                self.number = event.delivery.number
                for handle in {handle for batch in event.delivery.batches for handle in batch.handles}:
                    self.received[handle].add(event.delivery, handle)
            case "attached":
                self.attached.update(event.attached.handles)
            case "attach_failed":
                self.failed[event.attach_failed.handle] = event.attach_failed.error.message
            case "detached":
                self.detached.add(event.detached.handle)
                self.attached.discard(event.detached.handle)
            case "gap":
                for handle in event.gap.handles:
                    self.received[handle].lost += event.gap.gap.lost


@asynccontextmanager
async def reading(link: RawLink) -> AsyncIterator[Seen]:
    """Read a link for as long as the context lasts."""
    seen = Seen()
    task = asyncio.create_task(seen.read(link))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])
