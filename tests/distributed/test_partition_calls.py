"""The calls of a partition: which operations are refused, promised, and how many go in one call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.distributed.outage import TIMEOUT, until
from tests.engine.benches import Limits, open_redis
from tests.engine.site import Site, reason_of, texts
from tests.support.redis_servers import Server, eventually, single

from pixied_server.core.message import Message
from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.partition.codec import Start, encoded
from pixied_server.engine.redis.partition.protocol import Partition, Record, Settled
from pixied_server.errors import EngineUnavailable, Reason

_STORED = encoded(Message("/a", b"1"))
_BOUNDS = (1_000, 1_000_000)
_START = {"/a": {0: Start(0, 0)}}

Operation = Callable[[Partition], Awaitable[object]]

# In an order in which each can be done.
_CHANGES: dict[str, Operation] = {
    "create": lambda one: one.create("ann", 60.0, "{}"),
    "ping": lambda one: one.ping("ann"),
    "join": lambda one: one.join("/a", "ann", wild=False),
    "declare": lambda one: one.declare("/b/*", 1, 1),
    "subscribe": lambda one: one.subscribe("ann", 10, _START),
    "reserve_key": lambda one: one.reserve_key("key", "f", room=True),
    "publish": lambda one: one.publish("", "", room=True, bounds=_BOUNDS, stored=_STORED, patterns=["/a"]),
    "queue": lambda one: one.queue("ann", "", "", room=True, bounds=_BOUNDS, stored=_STORED),
    "reserve": lambda one: one.reserve("space"),
    "free": lambda one: one.free("space"),
    "unsubscribe": lambda one: one.unsubscribe("ann", ["/a"]),
    "part": lambda one: one.part("/a", "ann", wild=False),
    "destroy": lambda one: one.destroy("ann", "enough"),
}
_LOOKS: dict[str, Operation] = {
    "alive": lambda one: one.alive(["ann"]),
    "claim": lambda one: one.claim("ann", "", expires=True, link="", force=False, cursor=0, settled=Settled(0)),
    "look": lambda one: one.look("ann"),
    "read": lambda one: one.read([("/a", 0, -1)], upto=None, messages=1, size=1),
    "confirm": lambda one: one.confirm("ann", 1, (), 0),
    "sweep": lambda one: one.sweep(3_600.0, 1),
}
_NEED_ROOM = {"create", "join", "publish", "queue", "reserve", "reserve_key", "subscribe"}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that nobody else uses."""
    with single() as started:
        started("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        yield started


@asynccontextmanager
async def _opened(server: Server, *, replicas: int = 0, timeout: float = 5.0) -> AsyncIterator[tuple[Site, Partition]]:
    """A site of one partition, and that."""
    async with open_redis(server.url, partitions=1, replicas=replicas, timeout=timeout)(Limits()) as bench:
        assert isinstance(bench.engine, RedisEngine)
        yield Site(bench), bench.engine.process.partitions[0]


async def test_what_replicas_were_demanded_for_is_refused_without_them(server: Server) -> None:
    """It may be done all the same; what costs no message, or can be repeated, is answered."""
    async with _opened(server, replicas=1, timeout=0.1) as (site, partition):
        for name, operation in _CHANGES.items():
            if name == "destroy":
                for look in _LOOKS.values():
                    await look(partition)
            with pytest.raises(EngineUnavailable) as refusal:
                await operation(partition)
            assert refusal.value.ambiguous, name
        assert "redis_min_replicas" in site.engine.trouble


async def test_what_replicas_were_demanded_for_is_answered_with_them(server: Server) -> None:
    """Once a replica is there the refusals end, though nobody asks; what is answered it has."""
    async with _opened(server, replicas=1, timeout=2.0) as (site, partition):
        assert await reason_of(site.create("ann")) is Reason.ENGINE_UNAVAILABLE
        running = asyncio.create_task(site.engine.run())
        with single() as replica:
            replica("REPLICAOF", "127.0.0.1", server.port)
            eventually(lambda: server("WAIT", 1, 100) == 1, "replica")
            await until(lambda: not site.engine.trouble)
            async with asyncio.timeout(TIMEOUT):
                while await reason_of(site.create("ann")):  # noqa: ASYNC110 - the first may still be too late
                    await asyncio.sleep(0.01)
            await site.subscribe("ann", "/a")
            before = server.info("commandstats")["cmdstat_wait"]["calls"]
            replica.freeze()
            publishing = []
            for number in range(100):
                publishing.append(asyncio.create_task(site.publish("/a", str(number))))
                await asyncio.sleep(0.002)  # so that each is a call of its own
            # For what must not happen: they would be answered by now.
            assert not any(one.done() for one in publishing)
            replica.thaw()
            await asyncio.gather(*publishing)
            assert replica("XLEN", f"{partition.base}log:/a") == 100
            # All that were under way together waited together.
            assert server.info("commandstats")["cmdstat_wait"]["calls"] - before < 10
            running.cancel()
            await asyncio.wait([running])
            async with asyncio.timeout(TIMEOUT):
                await site.bench.settle()


async def test_who_lacks_replicas_is_told_so(server: Server) -> None:
    """How many have it, and how many were demanded; the change may stay."""
    async with _opened(server, replicas=2, timeout=3.0) as (site, _):
        with single() as replica:
            replica("REPLICAOF", "127.0.0.1", server.port)
            eventually(lambda: server("WAIT", 1, 100) == 1, "replica")
            with pytest.raises(EngineUnavailable, match="on 1 of its replicas in time, not on 2") as refusal:
                await site.create("ann")
            assert refusal.value.ambiguous
            assert (await site.engine.holdings()).clients == 1


async def test_a_full_server_refuses_what_needs_room_alone(server: Server) -> None:
    """What takes messages away, or is needed for that, is done."""
    async with _opened(server) as (site, partition):
        for operation in list(_CHANGES.values())[:6]:
            await operation(partition)
        server("CONFIG", "SET", "maxmemory", 1)
        for name, operation in {**_LOOKS, **_CHANGES}.items():
            if name in _NEED_ROOM:
                with pytest.raises(EngineUnavailable, match="maxmemory") as refusal:
                    await operation(partition)
                assert not refusal.value.ambiguous, name
                assert "maxmemory" in site.engine.trouble
            elif name != "free":  # there is no namespace
                await operation(partition)
        server("CONFIG", "SET", "maxmemory", 0)
        running = asyncio.create_task(site.engine.run())
        await until(lambda: not site.engine.trouble)
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize(
    ("operation", "together"),
    [
        (lambda one: one.confirm("ann", 1, (), 0), 10),
        (lambda one: one.expire(500), 2),
        (lambda one: one.pending(500, [("/a", 0)]), 4),
        (lambda one: one.read([("/a", 0, -1)], upto=None, messages=1, size=1), 4),
        (lambda one: one.reap("nobody", 50, {}), 4),
        (lambda one: one.shrink(0, 0), 2),
        (lambda one: one.sweep(3_600.0, 500), 2),
        (lambda one: one.head(), 200),
    ],
    ids=["confirm", "expire", "pending", "read", "reap", "shrink", "sweep", "head"],
)
async def test_no_call_blocks_others_for_long(server: Server, operation: Operation, together: int) -> None:
    """Operations that are asked for at once share calls, so many that a call takes about a millisecond."""
    async with _opened(server) as (_, partition):
        before = server.info("commandstats")["cmdstat_evalsha"]["calls"]
        await asyncio.gather(*[_awaited(operation(partition)) for _ in range(3 * together)])
        assert server.info("commandstats")["cmdstat_evalsha"]["calls"] - before == 3


async def test_no_call_is_larger_than_a_megabyte_or_so(server: Server) -> None:
    """Large messages go in several calls."""
    large = encoded(Message("/a", b"x" * 300_000))
    async with _opened(server) as (_, partition):
        before = server.info("commandstats")["cmdstat_evalsha"]["calls"]
        publishes = [
            partition.publish("", "", room=True, bounds=_BOUNDS, stored=large, patterns=["/a"]) for _ in range(8)
        ]
        await asyncio.gather(*map(_awaited, publishes))
        assert server.info("commandstats")["cmdstat_evalsha"]["calls"] - before == 2


@pytest.mark.parametrize("full", [False, True])
async def test_no_answer_is_larger_than_a_megabyte_or_so(server: Server, *, full: bool) -> None:
    """The records of clients with many subscriptions come in several calls, each of which blocks others for a while."""
    names = [f"ann{number}" for number in range(60)]
    starts = {f"/{number}/*": {number: Start(0, 0) for number in range(500)} for number in range(30)}
    async with _opened(server) as (_, partition):
        for name in names:
            await partition.create(name, 60.0, "{}")
            await partition.subscribe(name, 100, starts)
        if full:
            server("CONFIG", "SET", "maxmemory", 1)
        before = server.info("commandstats")["cmdstat_evalsha"]["calls"]
        refused = asyncio.create_task(_awaited(partition.reserve("space")))
        records = await asyncio.gather(*[_record(partition, name) for name in names])
        calls = server.info("commandstats")["cmdstat_evalsha"]["calls"] - before
        assert (await asyncio.gather(refused, return_exceptions=True) != [None]) == full
    size = sum(len(pattern) + 8 * len(some) for pattern, some in starts.items())
    assert all(record.starts == starts for record in records)
    assert calls >= len(names) * size / 1_200_000


async def _record(partition: Partition, name: str) -> Record:
    return await partition.look(name)


@pytest.mark.parametrize(
    "take",
    [lambda one: one.sweep(-1.0, 500), lambda one: one.shrink(1 << 30, 1 << 53)],
    ids=["sweep", "shrink"],
)
async def test_no_call_takes_more_than_a_megabyte_or_so_away(server: Server, take: Operation) -> None:
    """Large messages of many channels go in several calls: one reads what it takes away."""
    async with open_redis(server.url, partitions=1)(Limits(total_bytes=100_000_000)) as bench:
        assert isinstance(bench.engine, RedisEngine)
        site, channels = Site(bench), [f"/{number}" for number in range(20)]
        await site.create("ann")
        await site.subscribe("ann", *channels)
        for channel in channels:
            await site.publish(channel, "x" * 300_000)
        await take(bench.engine.process.partitions[0])
        assert 15 <= (await site.engine.holdings()).messages < 20


async def _awaited(answer: Awaitable[object]) -> None:
    await answer


@pytest.mark.parametrize("read", [0, 1], ids=["from the begin", "read on"])
async def test_a_read_of_many_large_messages_looks_at_few(read: int) -> None:
    """However many logs there are: a script that had them all in its hands would stop Redis for long."""
    with single() as server:
        limits = Limits(subscriptions_per_client=200, total_bytes=1_000_000_000, log_bytes=100_000_000)
        async with open_redis(server.url, partitions=1)(limits) as bench:
            site = Site(bench)
            channels = [f"/{number}" for number in range(200)]
            await site.create("ann")
            await site.subscribe("ann", *channels)
            for number in range(read):
                for channel in channels:
                    await site.publish(channel, str(number))
                await site.dequeue("ann")
            for channel in channels:
                await site.publish(channel, channel + " " * 100_000)
            server("CONFIG", "RESETSTAT")
            before = server.info("memory")["used_memory_vm_eval"]
            taken = await site.dequeue("ann", 5)
            assert [text.strip() for text in texts(taken)] == channels[:5]
            assert server.info("memory")["used_memory_vm_eval"] - before < 5_000_000
            assert [text.strip() for text in texts(await site.dequeue("ann"))] == channels[5:14]
