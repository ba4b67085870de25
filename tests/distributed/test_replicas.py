"""What a failover loses, and what it does not where replicas were waited for."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count, repeat

import pytest
from tests.distributed.outage import TIMEOUT, until
from tests.distributed.pair import opened as pair_opened
from tests.engine.benches import Limits, open_redis
from tests.engine.site import Site, reason_of, texts
from tests.support.redis_servers import Server, Trio, sentinel_trio

from pixied_server.engine.redis import RedisEngine
from pixied_server.errors import Reason

_names = count(1)


@pytest.fixture
def trio() -> Iterator[Trio]:
    """A master, two replicas, three Sentinels."""
    with sentinel_trio() as servers:
        yield servers


@asynccontextmanager
async def opened(trio: Trio, replicas: int) -> AsyncIterator[Site]:
    """A site that waits for so many replicas, at most for 2 seconds."""
    async with open_redis(trio.url, prefix=f"replicas{next(_names)}", replicas=replicas, timeout=2.0)(
        Limits()
    ) as bench:
        yield Site(bench)


@contextmanager
def cut_off(trio: Trio) -> Iterator[Server]:
    """The master, whose replicas get nothing more until the context is left."""
    master = trio.master
    replicas = [one for one in trio.servers if one is not master]
    for one in replicas:
        one.freeze()
    # What is in their sockets already they would still read.
    master("CLIENT", "KILL", "TYPE", "replica")
    try:
        yield master
    finally:
        for one in replicas:
            one.thaw()


async def restored(site: Site, trio: Trio, killed: Server) -> None:
    """Wait for the failover, and until the site has found the new master."""
    await asyncio.to_thread(trio.await_failover, killed)
    engine = site.engine
    assert isinstance(engine, RedisEngine)
    await until(lambda: engine.subscriber.receives)
    async with asyncio.timeout(30):
        for pause in repeat(0.05):
            if await reason_of(site.engine.holdings()) is None:
                return
            await asyncio.sleep(pause)


async def test_a_failover_loses_what_no_replica_had_and_says_so(trio: Trio) -> None:
    """Replication is asynchronous: a publish that was answered is gone, and a gap says so to who did not get it."""
    async with opened(trio, replicas=0) as site:
        await site.create("ann")
        await site.subscribe("ann", "/a")
        await site.publish("/a", "1")
        await asyncio.to_thread(trio.settle)
        async with site.attached("ann") as front:
            await front.drain()
            await front.lose()
        with cut_off(trio) as master:
            assert await reason_of(site.publish("/a", "lost")) is None
            await site.bench.settle()
            master.kill()
        await restored(site, trio, master)
        await site.publish("/a", "2")
        taken = await site.dequeue("ann")
        assert texts(taken) == ["2"]
        assert [(loss.pattern, loss.count) for loss in taken.losses] == [("/a", 1)]


async def test_what_was_lost_is_found_out_though_others_go_on_at_once(trio: Trio) -> None:
    """Whichever pixied comes back first: the places of what is missing are not given to what comes next."""
    async with pair_opened(trio.url) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        await pair.here.publish("/a", "1")
        await asyncio.to_thread(trio.settle)
        with cut_off(trio) as master:
            await pair.here.publish("/a", "lost", "lost")
            await pair.here.queue_for("ann", "lost")
            master.kill()
        await asyncio.to_thread(trio.await_failover, master)
        async with asyncio.timeout(TIMEOUT):
            for pause in repeat(0.01):
                if await reason_of(pair.there.publish("/a", "2")) is None:
                    break
                await asyncio.sleep(pause)
        taken = await pair.there.dequeue("ann")
        assert texts(taken) == ["1", "2"]
        assert sorted((loss.pattern, loss.count) for loss in taken.losses) == [("", 1), ("/a", 2)]


async def test_what_replicas_were_waited_for_survives(trio: Trio) -> None:
    """Nothing that was answered is lost; what too few replicas have is refused, and may be there or not."""
    async with opened(trio, replicas=1) as site:
        await site.create("ann")
        await site.subscribe("ann", "/a")
        await site.publish("/a", *map(str, range(100)))
        with cut_off(trio) as master:
            assert await reason_of(site.publish("/a", "refused")) is Reason.ENGINE_UNAVAILABLE
            assert site.engine.trouble
            assert await reason_of(site.look_at("ann")) is None
            master.kill()
        await restored(site, trio, master)
        taken = await site.dequeue("ann")
        assert [text for text in texts(taken) if text != "refused"] == [str(number) for number in range(100)]
        assert not taken.losses


async def test_a_master_without_memory_lets_go_of_what_replicas_have(trio: Trio) -> None:
    """What makes room is answered when the replicas know, though not a byte more can be stored."""
    async with opened(trio, replicas=2) as site:
        await site.create("ann", "bob")
        await site.subscribe("ann", "/a")
        trio.master("CONFIG", "SET", "maxmemory", 1)
        assert await site.unsubscribe("ann", "/a") == ["/a"]
        assert await site.ping("ann") is not None
        await site.destroy("bob")
        assert await reason_of(site.create("eve")) is Reason.ENGINE_UNAVAILABLE


async def test_replicas_that_come_back_end_the_refusals(trio: Trio) -> None:
    """Health follows without anyone publishing."""
    async with opened(trio, replicas=2) as site:
        engine = site.engine
        assert isinstance(engine, RedisEngine)
        await site.create("ann")
        with cut_off(trio):
            assert await reason_of(site.subscribe("ann", "/a")) is Reason.ENGINE_UNAVAILABLE
            assert engine.trouble
            running = asyncio.create_task(engine.run())
        try:
            await until(lambda: not engine.trouble)
            assert await reason_of(site.subscribe("ann", "/a")) is None
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
