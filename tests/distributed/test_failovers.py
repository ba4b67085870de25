"""A store that comes back as it was a moment ago: what was done since is known to pixied alone, or to nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from itertools import repeat

import pytest
from tests.distributed.gate import refusing
from tests.distributed.outage import TIMEOUT, until
from tests.distributed.pair import Pair, opened
from tests.engine.site import Site, reason_of, texts
from tests.support.redis_servers import Server, cluster, single

from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.partition.protocol import Partition


class Past:
    """The store as it is now, to come back to."""

    def __init__(self, servers: Sequence[Server], pair: Pair) -> None:
        self._servers = servers
        self._pair = pair

    def remember(self) -> None:
        """What is done from here on will be lost."""
        for server in self._servers:
            server("SAVE")

    def set_clock(self, seconds: int) -> None:
        """Set the store's clock ahead: what it has is older then."""
        for server in self._servers:
            server.set_clock(seconds)

    async def comes_back(self) -> None:
        """Other server processes take over, with what was remembered; both sites receive from them."""
        for server in self._servers:
            await asyncio.to_thread(server.restart)
        for site in (self._pair.here, self._pair.there):
            await answers(site)


async def answers(site: Site) -> None:
    """Wait until a site reaches its store, and receives from it."""
    async with asyncio.timeout(TIMEOUT):
        for pause in repeat(0.01):
            if await reason_of(site.engine.holdings()) is None:
                break
            await asyncio.sleep(pause)
    await until(lambda: not site.engine.trouble)


Failing = Callable[..., AbstractAsyncContextManager[tuple[Pair, Past]]]


@pytest.fixture(params=["redis", "cluster"])
def over_a_failover(request: pytest.FixtureRequest) -> Failing:
    """Two sites over a server, and over a cluster."""

    @asynccontextmanager
    async def opening(*, own_clock: bool = False) -> AsyncIterator[tuple[Pair, Past]]:
        with ExitStack() as stack:
            if request.param == "cluster":
                formed = stack.enter_context(cluster(own_clock=own_clock))
                url, servers = formed.url, formed.masters
                for one in formed.servers:
                    # A replica knows what its master forgets.
                    one("CONFIG", "SET", "cluster-replica-no-failover", "yes")
            else:
                server = stack.enter_context(single(own_clock=own_clock))
                url, servers = server.url, [server]
            async with opened(url) as pair:
                yield pair, Past(servers, pair)

    return opening


async def test_what_was_taken_just_before_a_failover_comes_marked(over_a_failover: Failing) -> None:
    """The store does not know any more that somebody had the client, who is gone by now."""
    async with over_a_failover() as (pair, past):
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        await pair.here.publish("/a", "1")
        past.remember()
        assert texts(await pair.here.dequeue("ann", explicit=True)) == ["1"]
        await past.comes_back()
        await pair.here.publish("/a", "2")
        taken = await pair.there.dequeue("ann")
        assert texts(taken) == ["1", "2"]
        assert taken.redelivered >= 1
        await pair.here.publish("/a", "3")
        taken = await pair.there.dequeue("ann")
        assert (texts(taken), taken.redelivered) == (["3"], 0)


async def test_a_session_that_began_after_a_failover_has_nothing_marked(over_a_failover: Failing) -> None:
    """Nobody can have got its messages before."""
    async with over_a_failover() as (pair, past):
        await pair.here.create("ann")
        past.remember()
        await past.comes_back()
        await pair.here.create("bob")
        await pair.here.queue_for("bob", "1")
        taken = await pair.there.dequeue("bob")
        assert (texts(taken), taken.redelivered) == (["1"], 0)


async def test_a_cursor_that_was_given_just_before_a_failover_is_not_refused(over_a_failover: Failing) -> None:
    """Nobody knows what it stands for: it confirms nothing, and its client can go on."""
    async with over_a_failover() as (pair, past):
        await pair.here.create("ann")
        await pair.here.queue_for("ann", "1")
        await pair.here.dequeue("ann", explicit=True)
        past.remember()
        taken = await pair.here.dequeue("ann", explicit=True)
        await past.comes_back()
        again = await pair.there.dequeue("ann", explicit=True, cursor=taken.cursor)
        assert (texts(again), again.redelivered) == (["1"], 1)
        assert texts(await pair.there.dequeue("ann", cursor=again.cursor)) == []


async def test_what_an_owner_sent_before_its_claim_was_lost_comes_marked_at_the_next(over_a_failover: Failing) -> None:
    """Another process claims the client before the owner has found that its claim is lost."""
    async with over_a_failover() as (pair, past):
        await pair.here.create("ann")
        await pair.here.queue_for("ann", "1")
        past.remember()
        front, later = pair.here.front_end("front"), pair.there.front_end("later")
        await pair.here.attach("ann", front)
        await pair.read(front)
        with refusing(pair.here, "resume"):
            await past.comes_back()
            await pair.there.attach("ann", later)
            await pair.read(later)
        assert front.texts("ann") == later.texts("ann") == later.marked("ann") == ["1"]


async def test_what_was_received_is_not_announced_as_lost(over_a_failover: Failing) -> None:
    """The server lacks messages that a link has got: those of each of its channels, and not only of the last one."""
    async with over_a_failover() as (pair, past):
        of = _engine(pair.here).process.layout.of
        one, other = [name for name in (f"/{number}" for number in range(100)) if of(name) == of("/0")][:2]
        await pair.here.create("ann")
        await pair.here.subscribe("ann", one, other)
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.read(front)
        past.remember()
        await pair.there.publish(one, "1")
        await pair.there.publish(other, "2")
        await pair.read(front)
        await past.comes_back()
        await pair.there.publish(one, "3")
        await pair.read(front)
        assert front.texts("ann") == ["1", "2", "3"]
        assert not front.lost


async def test_a_channel_that_began_anew_just_before_a_failover_has_not_lost_millions(over_a_failover: Failing) -> None:
    """Its offsets begin anywhere: how many messages it had in that life nobody knows, and that is a loss of one."""
    async with over_a_failover(own_clock=True) as (pair, past):
        await _begin_anew(pair, past)
        taken = await pair.there.dequeue("ann")
        assert sorted(texts(taken)) == ["1", "4", "old"]
        assert [(loss.pattern, loss.count) for loss in taken.losses] == [("/a", 1)]
        assert (await pair.there.dequeue("ann")).losses == []


async def test_what_is_trimmed_around_a_channel_that_began_anew_is_announced(over_a_failover: Failing) -> None:
    """What is left of its former life is lost, and what came since; the offsets in between are not."""
    async with over_a_failover(own_clock=True) as (pair, past):
        await _begin_anew(pair, past)
        await pair.here.publish("/a", "5", "6")
        for partition in _partitions(pair.here):
            await partition.shrink(1 << 30, 1 << 53)
        taken = await pair.there.dequeue("ann")
        assert texts(taken) == []
        # "1", the one that stands for "2" and "3", "4", "5", "6"
        assert {loss.pattern: loss.count for loss in taken.losses}["/a"] == 5


async def _begin_anew(pair: Pair, past: Past) -> None:
    """Have a channel begin anew with "2" and "3", of which the store then does not know; then "4" comes."""
    of = _engine(pair.here).process.layout.of
    other = next(name for name in (f"/{number}" for number in range(100)) if of(name) == of("/a"))
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a", other)
    await pair.here.publish("/a", "1")
    past.set_clock(600)
    await pair.here.publish(other, "old")
    past.remember()
    await pair.here.unsubscribe("ann", "/a")
    await pair.here.subscribe("ann", "/a")
    await pair.here.publish("/a", "2", "3")
    await past.comes_back()
    await pair.here.publish("/a", "4")


def _partitions(site: Site) -> Sequence[Partition]:
    return _engine(site).process.partitions


def _engine(site: Site) -> RedisEngine:
    assert isinstance(site.engine, RedisEngine)
    return site.engine
