"""A store that comes back as it was a moment ago: what was done since is known to pixied alone, or to nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import repeat

from tests.distributed.gate import refusing
from tests.distributed.outage import TIMEOUT, until
from tests.distributed.pair import Pair, opened
from tests.engine.site import Site, reason_of, texts
from tests.support.redis_servers import Server, single

from pixied_server.engine.redis import RedisEngine


class Past:
    """The store as it is now, to come back to."""

    def __init__(self, server: Server, pair: Pair) -> None:
        self._server = server
        self._pair = pair

    def remember(self) -> None:
        """What is done from here on will be lost."""
        self._server("SAVE")

    def set_clock(self, seconds: int) -> None:
        """Set the store's clock ahead: what it has is older then."""
        self._server.set_clock(seconds)

    async def comes_back(self) -> None:
        """Another server takes over, as it was when it was remembered; both sites receive from it."""
        await asyncio.to_thread(self._server.restart)
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


@asynccontextmanager
async def over_a_failover(*, own_clock: bool = False) -> AsyncIterator[tuple[Pair, Past]]:
    """Two sites over a server."""
    with single(own_clock=own_clock) as server:
        async with opened(server.url) as pair:
            yield pair, Past(server, pair)


async def test_what_was_taken_just_before_a_failover_comes_marked() -> None:
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


async def test_a_session_that_began_after_a_failover_has_nothing_marked() -> None:
    """Nobody can have got its messages before."""
    async with over_a_failover() as (pair, past):
        await pair.here.create("ann")
        past.remember()
        await past.comes_back()
        await pair.here.create("bob")
        await pair.here.queue_for("bob", "1")
        taken = await pair.there.dequeue("bob")
        assert (texts(taken), taken.redelivered) == (["1"], 0)


async def test_a_cursor_that_was_given_just_before_a_failover_is_not_refused() -> None:
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


async def test_what_an_owner_sent_before_its_claim_was_lost_comes_marked_at_the_next() -> None:
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


async def test_what_was_received_is_not_announced_as_lost() -> None:
    """The server lacks messages that a link has got: those of each of its channels, and not only of the last one."""
    async with over_a_failover() as (pair, past):
        of = pair.here.engine.process.layout.of  # type: ignore[attr-defined]
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


async def test_a_channel_that_began_anew_just_before_a_failover_has_not_lost_millions() -> None:
    """Its offsets begin anywhere: how many messages it had in that life nobody knows, and that is a loss of one."""
    async with over_a_failover(own_clock=True) as (pair, past):
        of = pair.here.engine.process.layout.of  # type: ignore[attr-defined]
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
        taken = await pair.there.dequeue("ann")
        assert sorted(texts(taken)) == ["1", "4", "old"]
        assert [(loss.pattern, loss.count) for loss in taken.losses] == [("/a", 1)]
        await pair.here.publish("/a", "5", "6")
        for partition in _partitions(pair.here):
            await partition.shrink(1 << 30, 1 << 53)  # type: ignore[attr-defined]
        (loss,) = (await pair.there.dequeue("ann")).losses
        # Messages that it has got may count too: its progress says how far it is, and not how many these were.
        assert (loss.pattern, 2 <= loss.count <= 5) == ("/a", True)


def _partitions(site: Site) -> list[object]:
    engine = site.engine
    assert isinstance(engine, RedisEngine)
    return list(engine.process.partitions)
