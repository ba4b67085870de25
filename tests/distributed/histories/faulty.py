"""A process over a faulty store, which can also be killed."""

import asyncio
from contextlib import AsyncExitStack

from tests.distributed.faulty_store import FaultyStore
from tests.engine.benches import Clock, Limits, RedisBench

from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.partition.layout import Layout
from pixied_server.errors import EngineUnavailable

__all__ = ["FaultyBench", "open_faulty"]

# Seconds that a store has on a busy machine.
_TIMEOUT = 20.0
# Seconds that one process waits for another one: in the histories some never answer.
_PEER_TIMEOUT = 0.1
_PARTITIONS = 4
# After so many turns of the loop without a question to the store there will be none.
_TURNS = 10


class FaultyBench(RedisBench):
    """A process that can be struck.

    Args:
        engine: its engine.
        clock: tells the time.
        store: what can be struck.

    Attributes:
        killed: whether it was.
    """

    store: FaultyStore

    def __init__(self, engine: RedisEngine, clock: Clock, store: FaultyStore) -> None:
        super().__init__(engine, clock, store)
        self.killed = False

    @property
    def receives(self) -> bool:
        """Whether it gets what the store notifies it of."""
        return not (self.killed or self.store.silent or self.store.hangs)

    async def settle(self) -> None:
        """See `Bench`. Where nothing is received it gets the answers that it waits for, and no more."""
        while self.receives:
            try:
                await super().settle()
            except EngineUnavailable:
                continue
            return
        if not self.store.hangs:
            await self._answered()

    async def _answered(self) -> None:
        quiet = 0
        while quiet < _TURNS:
            await asyncio.sleep(0)
            quiet = 0 if any(partition.busy for partition in self.engine.process.partitions) else quiet + 1

    async def kill(self) -> None:
        """End the process without a word: what it had is gone, but for what is in the store."""
        self.killed = True
        self.store.wake()
        await self.engine.process.close()
        await self.engine.subscriber.close()


async def open_faulty(stack: AsyncExitStack, url: str, prefix: str, limits: Limits, clock: Clock) -> FaultyBench:
    """Start a process over a store.

    Args:
        stack: stops it.
        url: the store's address.
        prefix: of all keys.
        limits: what the engine holds at most.
        clock: tells the time.
    """
    store = FaultyStore(Address.parse(url), timeout=_TIMEOUT)
    engine = RedisEngine(
        store,
        Layout(prefix, _PARTITIONS),
        limits.of_store,
        timeout=_TIMEOUT,
        peer_timeout=_PEER_TIMEOUT,
        clock=clock,
    )
    await store.open()
    stack.push_async_callback(store.close)
    stack.push_async_callback(engine.close)
    await engine.open()
    return FaultyBench(engine, clock, store)
