"""Two sites that share a store, their clients and the time: `here` and `there`."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

from tests.distributed.faulty_store import FaultyStore
from tests.distributed.outage import until
from tests.engine.benches import Clock, Limits, RedisBench, open_redis
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site

from pixied_server.engine.redis import RedisEngine

__all__ = ["Pair", "opened"]

_names = count(1)


class Pair:
    """See the module.

    Args:
        here: one of them.
        there: the other one.
        prefix: of their keys.
    """

    def __init__(self, here: Site, there: Site, prefix: str) -> None:
        self.here = here
        self.there = there
        self.prefix = prefix
        there.ids = here.ids

    @property
    def store(self) -> FaultyStore:
        """The store of `here`, to strike it."""
        bench = self.here.bench
        assert isinstance(bench, RedisBench)
        assert isinstance(bench.store, FaultyStore)
        return bench.store

    async def cut(self) -> None:
        """Cut the connections on which `here` receives, and wait until it receives on others."""
        cut = self.store.receiving
        self.store.cut()
        await until(lambda: not cut & self.store.receiving and not self.here.engine.trouble)

    async def settle(self) -> None:
        """Let both receive what the other has published, and what follows from that, and from that."""
        for _ in range(3):
            for site in (self.here, self.there):
                await site.bench.settle()

    async def read(self, *fronts: FrontEnd) -> None:
        """Read until nothing comes any more."""
        await self.settle()
        for front in fronts:
            await front.drain()

    async def beat(self) -> None:
        """Both say that they live, as they do each second."""
        for site in (self.here, self.there):
            engine = site.engine
            assert isinstance(engine, RedisEngine)
            await engine.upkeep.beat()

    async def die(self, site: Site) -> None:
        """One of them is gone without a word: what it holds stays as it is in the store."""
        engine = site.engine
        assert isinstance(engine, RedisEngine)
        await engine.subscriber.close()

    async def reap(self, heir: Site, dead: Site) -> None:
        """The other one finds that it is gone."""
        engine, gone = heir.engine, dead.engine
        assert isinstance(engine, RedisEngine)
        assert isinstance(gone, RedisEngine)
        await engine.upkeep.reap(gone.process.name)


@asynccontextmanager
async def opened(
    url: str, limits: Limits | None = None, *, prefix: str = "", outbox: int = 10_000
) -> AsyncIterator[Pair]:
    """Two sites over a store, with the keys of others if their prefix is given."""
    async with AsyncExitStack() as stack:
        clock = Clock()
        prefix = prefix or f"pair{os.getpid()}-{next(_names)}"
        open_bench = open_redis(url, prefix=prefix, clock=clock, store_class=FaultyStore)
        benches = [await stack.enter_async_context(open_bench(limits or Limits())) for _ in range(2)]
        here, there = (Site(bench, outbox=outbox) for bench in benches)
        yield Pair(here, there, prefix)
