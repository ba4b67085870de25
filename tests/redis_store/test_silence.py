"""Servers that accept connections and never answer, or answer what no Redis does."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.redis_store.conftest import Opened
from tests.redis_store.scripts import COUNT, KEYS
from tests.support.redis_servers import Server

from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.store import Store, StoreUnavailable

_TIMEOUT = 0.4
# Each is asked for a quarter of the timeout.
_SERVERS = 6


@pytest.fixture
async def silent() -> AsyncIterator[Address]:
    """A cluster whose servers are silent: there are so many that a call's time is up before the last was asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1_000):
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        yield Address.parse("redis+cluster://" + ",".join([f"127.0.0.1:{port}"] * _SERVERS))


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.open(),
        lambda store: store.run(KEYS, COUNT, []),
        lambda store: store.pubsub(KEYS[0]),
        lambda store: store.node_of(KEYS[0]),
        lambda store: store.info(),
        lambda store: store.inspect(KEYS[0]),
    ],
    ids=["open", "run", "pubsub", "node_of", "info", "inspect"],
)
async def test_a_store_of_which_no_server_answers(silent: Address, call: Callable[[Store], Awaitable[object]]) -> None:
    """Each call ends at the timeout, nothing was done, and the error names the store."""
    store = Store(silent, timeout=_TIMEOUT)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as failure:
        await call(store)
    assert time.monotonic() - began >= _TIMEOUT
    assert str(failure.value).startswith(f"{silent} does not answer")
    assert not failure.value.ambiguous
    await store.close()


async def test_a_single_server_that_never_answers_is_named(silent: Address) -> None:
    """Whoever waits for it is told where it is."""
    where = silent.endpoints[0]
    store = Store(Address.parse(f"redis://{where}/0"), timeout=_TIMEOUT)
    for failure in await asyncio.gather(*[store.run(KEYS, COUNT, []) for _ in range(3)], return_exceptions=True):
        assert isinstance(failure, StoreUnavailable)
        assert str(failure).startswith(f"{where} does not answer")
    await store.close()


@pytest.mark.parametrize(
    "call", [lambda store: store.info(), lambda store: store.inspect(KEYS[0])], ids=["info", "inspect"]
)
async def test_a_server_that_stands_still_is_named(
    server: Server, opened: Opened, call: Callable[[Store], Awaitable[object]]
) -> None:
    """What is asked of it ends at the timeout, and the error says which server it is."""
    async with opened(server.url, timeout=_TIMEOUT) as store:
        server.freeze()
        try:
            with pytest.raises(StoreUnavailable, match=server.address):
                await call(store)
        finally:
            server.thaw()


async def test_an_answer_that_no_redis_gives(server: Server, opened: Opened) -> None:
    """A connection that goes wrong while a call is under way is given up at once, and the next one serves."""
    async with opened(server.url) as store:
        _, wire = await store.run_on(KEYS, COUNT, [])
        running = asyncio.create_task(store.run(KEYS, COUNT, []))
        await asyncio.sleep(0)
        wire.data_received(b"HTTP/1.1 400 Bad Request\r\n")
        with pytest.raises(StoreUnavailable, match="does not speak Redis's protocol") as failure:
            await running
        assert failure.value.ambiguous
        assert await store.run(KEYS, COUNT, []) in {2, 3}
