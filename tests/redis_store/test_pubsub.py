"""Pub/sub connections: live messages of a server."""

import asyncio

import pytest
from tests.counts.counting import calls
from tests.redis_store.conftest import Opened
from tests.redis_store.scripts import PUBLISH
from tests.support.redis_servers import Server

from pixied_server.engine.redis.connection.store import StoreUnavailable

A, B = b"test{a}:one", b"test{b}:two"


async def test_messages_of_subscribed_channels(server: Server, opened: Opened) -> None:
    """A pub/sub connection yields its confirmations, then its messages in order, then the end of its subscription."""
    async with opened(server.url) as store:
        pubsub = await store.pubsub(A)
        assert pubsub.node == await store.node_of(A)
        messages = pubsub.messages()
        pubsub.subscribe(A, B)
        assert [await anext(messages) for _ in range(2)] == [(b"ssubscribe", A, 1), (b"ssubscribe", B, 2)]
        await store.run([A], PUBLISH, [b"1", b"\xff\r\n"])
        await store.run([B], PUBLISH, [b"3"])
        got = [await anext(messages) for _ in range(3)]
        assert got == [(b"smessage", A, b"1"), (b"smessage", A, b"\xff\r\n"), (b"smessage", B, b"3")]
        pubsub.unsubscribe(A)
        assert await anext(messages) == (b"sunsubscribe", A, 1)
        await pubsub.close()


async def test_broken(server: Server, opened: Opened) -> None:
    """A pub/sub connection that breaks says so to its reader, after all that came before."""
    async with opened(server.url) as store:
        pubsub = await store.pubsub(A)
        pubsub.subscribe(A)
        messages = pubsub.messages()
        assert await anext(messages) == (b"ssubscribe", A, 1)
        await store.run([A], PUBLISH, [b"last"])
        server("CLIENT", "KILL", "TYPE", "pubsub")
        assert await anext(messages) == (b"smessage", A, b"last")
        with pytest.raises(StoreUnavailable, match="broke"):
            await anext(messages)
        await pubsub.close()


async def test_a_reader_that_is_late_holds_the_server_back(server: Server, opened: Opened) -> None:
    """Beyond some thousand messages, what nobody reads stays in Redis, and nothing of it is lost."""
    # A TCP socket's own buffers may grow to tens of megabytes.
    async with opened(f"unix://{server.socket}") as store:
        pubsub = await store.pubsub(A)
        pubsub.subscribe(A)
        messages = pubsub.messages()
        await anext(messages)
        text = b"x" * 500
        for _ in range(50):
            await store.run([A], PUBLISH, [text] * 1000)
        waiting = [-2, -1]
        while len(set(waiting[-5:])) > 1:
            # For the server to send what it may, and for this process to take it.
            await asyncio.sleep(0.01)
            waiting.append(_unsent(server))
        # The rest was read, or is in the buffers of sockets.
        assert waiting[-1] > 35_000 * len(text)
        assert [await anext(messages) for _ in range(50_000)] == [(b"smessage", A, text)] * 50_000
        await pubsub.close()


def _unsent(server: Server) -> int:
    """How many bytes the server has yet to send on its pub/sub connection."""
    (line,) = server("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
    return int(dict(word.split("=", 1) for word in line.split())["omem"])


async def test_few_calls_for_each_message(server: Server, opened: Opened) -> None:
    """A pub/sub connection is not what limits a process: what has come together is parsed together."""
    async with opened(server.url) as store:
        pubsub = await store.pubsub(A)
        pubsub.subscribe(A)
        messages = pubsub.messages()
        await anext(messages)
        await store.run([A], PUBLISH, [b"x" * 200] * 5000)
        with calls() as counted:
            for _ in range(5000):
                await anext(messages)
        assert counted["feed"] < 500
        assert counted.total() < 8 * 5000
        await pubsub.close()


async def test_given_up(server: Server, opened: Opened) -> None:
    """A pub/sub connection that is aborted ends its reading."""
    async with opened(server.url) as store:
        pubsub = await store.pubsub(A)
        messages = pubsub.messages()
        asyncio.get_running_loop().call_soon(pubsub.abort)
        with pytest.raises(StoreUnavailable):
            await anext(messages)
        await pubsub.close()
