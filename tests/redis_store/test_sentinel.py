"""A store behind Sentinels."""

import asyncio
from typing import cast

import hiredis
import pytest
from tests.redis_store.conftest import Opened, found_at
from tests.redis_store.scripts import COUNT, KEYS, PUBLISH
from tests.support.caller import until
from tests.support.redis_servers import Server, Trio, single

from pixied_server.engine.redis.connection.store import Store, StoreUnavailable


async def test_a_failover_that_is_asked_for(trio: Trio, opened: Opened) -> None:
    """When the Sentinels name another master, calls and pub/sub go there, and a call's count says it was done once."""
    async with opened(trio.url, timeout=20) as store:
        before = await store.node_of(KEYS[0])
        counted = await store.run(KEYS, COUNT, [])
        await asyncio.to_thread(trio.fail_over)
        assert trio.master.address != before
        await found_at(store, KEYS, trio.master)
        assert await _surely_counted(store) == int(trio.master("GET", KEYS[0])) > counted
        pubsub = await store.pubsub(KEYS[0])
        assert pubsub.node == trio.master.address
        pubsub.subscribe(KEYS[0])
        messages = pubsub.messages()
        await anext(messages)
        await store.run(KEYS[:1], PUBLISH, [b"here"])
        assert await anext(messages) == (b"smessage", KEYS[0], b"here")
        await pubsub.close()


async def test_a_master_that_dies(trio: Trio, opened: Opened) -> None:
    """When the master is killed, calls wait until there is another."""
    async with opened(trio.url, timeout=20) as store:
        await store.run(KEYS, COUNT, [])
        master = trio.master
        master.kill()
        try:
            await _surely_counted(store)
            assert await store.node_of(KEYS[0]) != master.address
        finally:
            await asyncio.to_thread(master.start)


async def test_replicas_that_lag(trio: Trio, opened: Opened) -> None:
    """A wait for replicas ends when they have it or are too few, and holds up no other calls."""
    replicas = [one for one in trio.servers if one is not trio.master]
    async with opened(trio.url, timeout=3) as store:
        counted, wire = await store.run_on(KEYS, COUNT, [])
        await store.replicated(wire, b"test{a}:written", 2)
        assert [int(one("GET", KEYS[0])) for one in replicas] == [counted, counted]
        replicas[0].freeze()
        try:
            await store.run(KEYS, COUNT, [])
            await store.replicated(wire, b"test{a}:written", 1)
            waiting = asyncio.create_task(store.replicated(wire, b"test{a}:written", 2))
            await asyncio.gather(*[store.run(KEYS, COUNT, []) for _ in range(100)])
            assert not waiting.done()
            with pytest.raises(StoreUnavailable, match="1 of its replicas") as failure:
                await waiting
            assert failure.value.ambiguous
        finally:
            replicas[0].thaw()


async def test_sentinels_that_are_gone(trio: Trio, opened: Opened) -> None:
    """A store needs one of its Sentinels, none while the master lives, and says so when it finds none."""
    first, *others = trio.sentinels
    async with opened(trio.url, timeout=5) as store:
        first.kill()
        try:
            async with opened(trio.url) as another:
                assert await another.node_of(KEYS[0]) == await store.node_of(KEYS[0])
            for one in others:
                one.freeze()
            await store.run(KEYS, COUNT, [])
            with pytest.raises(StoreUnavailable, match=others[0].address):
                async with opened(trio.url, timeout=1):
                    pass
        finally:
            for one in others:
                one.thaw()
            await asyncio.to_thread(first.start)


async def test_a_master_that_nobody_knows(trio: Trio, opened: Opened) -> None:
    """A name that the Sentinels don't know is refused as such."""
    with pytest.raises(StoreUnavailable, match="no master of this name"):
        async with opened(trio.url + "-not", timeout=0.3):
            pass


async def _surely_counted(store: Store) -> int:
    while True:
        try:
            count: int = await store.run(KEYS, COUNT, [])
        except StoreUnavailable as failure:
            if not failure.ambiguous:
                raise
        else:
            return count


class _Sentinel(asyncio.Protocol):
    """Stands for a Sentinel: says what a test says."""

    def __init__(self, master: list[Server]) -> None:
        self._master = master
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer HELLO, and where the master is."""
        self._reader.feed(data)
        while command := self._reader.gets():
            port = str(self._master[0].port).encode()
            answer = (b"role", b"sentinel") if command[0] == b"HELLO" else (b"127.0.0.1", port)
            self._transport.write(hiredis.pack_command(answer))


async def test_a_master_that_has_been_replaced_and_does_not_know(opened: Opened) -> None:
    """One that is cut off from the Sentinels goes on answering: within seconds nobody asks it any more."""
    with single() as former, single() as new:
        master = [former]
        sentinel = await asyncio.get_running_loop().create_server(lambda: _Sentinel(master), "127.0.0.1", 0)
        port = sentinel.sockets[0].getsockname()[1]
        async with opened(f"redis+sentinel://127.0.0.1:{port}/main") as store:
            assert await store.run(KEYS, COUNT, []) == 1
            master[0] = new

            async def moved() -> bool:
                await store.run(KEYS, COUNT, [])
                return bool(new("EXISTS", KEYS[0]))

            await until(moved)
            before = former("GET", KEYS[0])
            assert await store.run(KEYS, COUNT, []) == 2
            assert former("GET", KEYS[0]) == before
        sentinel.close()
