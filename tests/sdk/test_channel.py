"""Connections: when they are pinged, given up and made again, and how much comes over them.

gRPC ignores an option that it does not know without a word. So the options are tried here as they are, with their times
made shorter.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest
from tests.sdk.servers import TIMEOUT, running_server
from tests.sdk.test_front_end import until

from pixied_client import Backend, Delivery, FrontEnd, Message, channel, sync
from pixied_server.rpc.server import Transport

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING = 4, 6
_ACK = 1


class Peer:
    """A server that knows nothing but HTTP/2's own frames.

    Attributes:
        connections: how many there were.
        pings: how many came.
        ended: set when a connection was ended by the other side.
    """

    def __init__(self, *, answering: bool) -> None:
        self.connections = 0
        self.pings = 0
        self.ended = asyncio.Event()
        self._answering = answering

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self.connections += 1
        try:
            await reader.readexactly(len(_PREFACE))
            self._send(writer, _SETTINGS)
            while True:
                await self._take_frame(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.close()

    async def _take_frame(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(9)
        kind, flags = head[3], head[4]
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        if flags & _ACK:
            return
        if kind == _SETTINGS:
            self._send(writer, _SETTINGS, flags=_ACK)
        if kind == _PING:
            self.pings += 1
            if self._answering:
                self._send(writer, _PING, payload, flags=_ACK)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, kind: int, payload: bytes = b"", *, flags: int = 0) -> None:
        writer.write(len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload)


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server of bare connections; gives its address."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def quicken(monkeypatch: pytest.MonkeyPatch, factor: int, *parts: str) -> None:
    """Make the times of the options with one of these in their names shorter."""
    change(monkeypatch, dict.fromkeys(parts, 1 / factor))


def change(monkeypatch: pytest.MonkeyPatch, factors: dict[str, float]) -> None:
    """Multiply the times of the options that have this in their names."""
    options = list(channel._OPTIONS)
    for part, factor in factors.items():
        assert any(part in name for name, _ in options)
        options = [(name, int(value * factor) if part in name else value) for name, value in options]
    monkeypatch.setattr(channel, "_OPTIONS", options)


Connect = Callable[[str, AsyncExitStack], Awaitable[None]]


async def open_async(address: str, stack: AsyncExitStack) -> None:
    """Connect as the asynchronous faces do."""
    opened = await stack.enter_async_context(channel.open_async_channel(address))
    await asyncio.wait_for(opened.channel_ready(), TIMEOUT)


async def open_sync(address: str, stack: AsyncExitStack) -> None:
    """Connect as the blocking face does."""
    opened = stack.enter_context(channel.open_sync_channel(address))
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    future = grpc.channel_ready_future(opened)
    stack.callback(future.cancel)
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(ready.set))
    await asyncio.wait_for(ready.wait(), TIMEOUT)


FACES = pytest.mark.parametrize("connect", [open_async, open_sync])


@FACES
async def test_an_idle_connection_is_pinged(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, though there is no call and nothing to send: so it stays open in whatever lies between."""
    quicken(monkeypatch, 100, "keepalive_time")
    peer = Peer(answering=True)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(peer.serve))
        await connect(address, stack)
        await until(lambda: peer.pings >= 4)  # gRPC takes a second between them at least
        assert peer.connections == 1


@FACES
async def test_a_dead_connection_is_given_up(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a ping is not answered in time."""
    quicken(monkeypatch, 100, "keepalive_time", "ping_timeout")
    peer = Peer(answering=False)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(peer.serve))
        await connect(address, stack)
        async with asyncio.timeout(TIMEOUT):  # gRPC's own limit is a minute
            await peer.ended.wait()


def test_pings_are_fewer_than_a_server_takes() -> None:
    """It cuts off a client that pings more often than it allows."""
    allowed = dict(Transport((), 1, 1).options)["grpc.http2.min_ping_interval_without_data_ms"]
    assert dict(channel._OPTIONS)["grpc.keepalive_time_ms"] >= 2 * allowed


@FACES
async def test_a_lost_server_is_looked_for_again_and_again(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between attempts to connect do not grow for long: a server that is back is soon found."""
    quicken(monkeypatch, 100, "reconnect_backoff")
    attempts = 0

    async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(drop))
        connecting = asyncio.ensure_future(connect(address, stack))
        # Were there no bound, these would take minutes; with it, they take half a second.
        await until(lambda: attempts >= 25)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)


async def test_the_first_pauses_between_attempts_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """They grow from a tenth of a second, and not from gRPC's whole one: a server that restarts is found at once."""
    change(monkeypatch, {"max_reconnect_backoff": 100})
    attempts = 0

    async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(drop))
        connecting = asyncio.ensure_future(open_async(address, stack))
        # These take less than 2 seconds; had the first pause a whole one, they would take 16.
        async with asyncio.timeout(10):
            await until(lambda: attempts >= 6)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)


@FACES
async def test_each_object_has_a_connection_of_its_own(connect: Connect) -> None:
    """A shared one would share its flow control: one that does not read would hold up the others."""
    peer = Peer(answering=True)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(listening(peer.serve))
        for count in (1, 2, 3):
            await connect(address, stack)
            assert peer.connections == count


async def test_messages_of_many_megabytes_come() -> None:
    """A server may be told to take larger messages than gRPC's 4 MiB; they come by every way."""
    with running_server("--max-message-bytes=8MiB") as server:
        async with Backend(server.address) as backend, FrontEnd(server.address, "test") as front_end:
            client_id = (await backend.create_client()).client_id
            await backend.subscribe(client_id, "/large")
            message = Message.of("/large", "x" * 6_000_000)
            await front_end.publish_one(message)
            with sync.Backend(server.address) as blocking:
                received = await asyncio.to_thread(blocking.dequeue_for, client_id, explicit=True)
            assert received.messages[0].data == message.data
            async with backend.deliver(client_id, explicit=True) as stream:
                assert (await anext(stream)).messages[0].data == message.data
            async with asyncio.timeout(TIMEOUT), await front_end.attach(client_id) as attachment:
                delivery = await anext(attachment)
                assert isinstance(delivery, Delivery)
                assert delivery.messages[0].data == message.data
