"""The connections on which a pixied receives: one to each server, and none that nobody needs any more."""

import asyncio

from tests.distributed.outage import until
from tests.distributed.pair import opened
from tests.engine.benches import Limits, open_redis
from tests.support.redis_servers import Server, single

from pixied_server.delivery.watch import Filter
from pixied_server.engine.abc import Engine, EventKind


def _receiving(server: Server) -> set[str]:
    """The connections of a server that receive by pub/sub."""
    return {line.split()[0] for line in server("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()}


async def _renewed(server: Server, *engines: Engine) -> None:
    """Break the connections of these engines, and wait until they have others and receive again."""
    broken = _receiving(server)
    server("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: len(_receiving(server) - broken) == len(engines))
    await until(lambda: not any(engine.trouble for engine in engines))


async def test_all_partitions_of_a_server_are_received_on_one_connection() -> None:
    """At first, and after it broke; it is closed with the engine."""
    with single() as server:
        async with open_redis(server.url, partitions=16)(Limits()) as bench:
            assert len(_receiving(server)) == 1
            await _renewed(server, bench.engine)
            await bench.settle()
            assert len(_receiving(server)) == 1
        await until(lambda: not _receiving(server))


async def test_channels_that_nobody_follows_are_given_up() -> None:
    """A pixied receives what its clients subscribe to: no message costs it anything that is none of theirs."""
    with single() as server:
        async with opened(server.url) as pair:
            own = len(server("PUBSUB", "SHARDCHANNELS"))
            # One for each process and partition.
            assert own == 2 * 4
            await pair.here.create("ann", "bob")
            for name in ("ann", "bob"):
                await pair.here.subscribe(name, "/a")
            await pair.here.subscribe("ann", "/b/*")
            async with pair.here.attached("ann") as front:
                async with pair.here.attached("bob"):
                    # A wildcard is received from each of the four partitions.
                    assert len(server("PUBSUB", "SHARDCHANNELS")) == own + 1 + 4
                await pair.here.unsubscribe("ann", "/b/*")
                await until(lambda: len(server("PUBSUB", "SHARDCHANNELS")) == own + 1)
                await pair.there.publish("/a", "1")
                await pair.read(front)
                assert front.texts("ann") == ["1"]
            await until(lambda: len(server("PUBSUB", "SHARDCHANNELS")) == own)


async def test_a_watch_has_begun_when_events_are_received() -> None:
    """A watcher sees all that happens anywhere from then on: nothing tells of an event a second time."""
    with single() as server:
        async with opened(server.url) as pair:
            own = len(server("PUBSUB", "SHARDCHANNELS"))
            pair.store.silence()
            watching = asyncio.create_task(pair.here.engine.watch())
            await until(lambda: len(server("PUBSUB", "SHARDCHANNELS")) == own + 1)
            # For what must not happen: it would be over by then.
            await asyncio.sleep(0.1)
            assert not watching.done()
            pair.store.resume()
            await watching


async def test_events_are_received_again_after_the_connection_broke() -> None:
    """Who watches goes on to see what happens at the other pixied."""
    with single() as server:
        async with opened(server.url) as pair:
            with pair.here.watchers.watching(Filter()) as watcher:
                await pair.here.engine.watch()
                await _renewed(server, pair.here.engine, pair.there.engine)
                await pair.there.create("ann")
                await pair.settle()
                assert [one.kind for one in (await watcher.take(100)).events] == [EventKind.CLIENT_CREATED]


async def test_a_pixied_that_starts_later_shows_what_is_watched(redis_url: str) -> None:
    """It finds that somebody watches: nobody asks it."""
    async with opened(redis_url) as pair:
        with pair.here.watchers.watching(Filter()) as watcher:
            await pair.here.engine.watch()
            async with opened(redis_url, prefix=pair.prefix) as later:
                await later.here.create("ann")
                await later.settle()
                await pair.settle()
                assert [one.kind for one in (await watcher.take(100)).events] == [EventKind.CLIENT_CREATED]
