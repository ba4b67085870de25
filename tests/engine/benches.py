"""The engines under test, and how each is set up, told the time and given a moment."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from tests.support.turns import endless

from pixied_server.core.log import Bounds
from pixied_server.core.turns import Turns
from pixied_server.engine.abc import Engine
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.memory import MemoryEngine
from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.store import Store
from pixied_server.engine.redis.partition.layout import Layout

__all__ = ["Bench", "Clock", "Limits", "OpenBench", "RedisBench", "open_memory", "open_redis"]


class Clock:
    """Time that passes when a test says so, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine under test holds at most. So much by default that no test meets it by accident."""

    clients: int = 1_000
    subscriptions_per_client: int = 100
    namespaces: int = 1_000
    idempotency_keys: int = 1_000
    total_bytes: int = 10_000_000
    log_messages: int = 10_000
    log_bytes: int = 5_000_000
    log_age: float = 3_600.0
    creates_per_second: float = 0.0
    publishes_per_second: float = 0.0
    shortest_session: float = 0.1

    @property
    def of_store(self) -> EngineLimits:
        """The same for an engine in whose store messages take less: as many of them fit."""
        limits = self.of_engine
        log = replace(limits.log, bytes=round(limits.log.bytes * _IN_REDIS))
        return replace(limits, total_bytes=round(limits.total_bytes * _IN_REDIS), log=log)

    @property
    def of_engine(self) -> EngineLimits:
        """The same as an engine takes them."""
        return EngineLimits(
            clients=self.clients,
            subscriptions_per_client=self.subscriptions_per_client,
            namespaces=self.namespaces,
            idempotency_keys=self.idempotency_keys,
            total_bytes=self.total_bytes,
            log=Bounds(self.log_messages, self.log_bytes, self.log_age),
            creates_per_second=self.creates_per_second,
            publishes_per_second=self.publishes_per_second,
            shortest_session=self.shortest_session,
        )


# What a message of these tests takes in Redis, as a share of what it takes in memory: at most 98 bytes of 355.
_IN_REDIS = 98 / 355


class Bench(Protocol):
    """One engine under test."""

    engine: Engine
    clock: Clock

    async def elapse(self, seconds: float) -> None:
        """Let time pass, and the engine do what that demands."""
        ...

    async def settle(self) -> None:
        """Give whatever can go on the time to do so."""
        ...


OpenBench = Callable[[Limits], AbstractAsyncContextManager[Bench]]


class MemoryBench:
    """The memory engine. It never waits, so a few turns of the loop settle everything."""

    def __init__(self, limits: Limits, turns: Turns | None = None) -> None:
        self.clock = Clock()
        self.turns = turns or endless()
        self.engine: MemoryEngine = MemoryEngine(limits.of_engine, self.clock, turns=self.turns)

    async def elapse(self, seconds: float) -> None:
        """See `Bench`."""
        self.clock.advance(seconds)
        while self.engine.tick():
            pass

    async def settle(self) -> None:
        """See `Bench`."""
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def open_memory(limits: Limits) -> AsyncIterator[Bench]:
    """A memory engine."""
    yield MemoryBench(limits)


class RedisBench:
    """The Redis engine, on a prefix of its own of a real server. It is told the time, and asked when it has settled."""

    def __init__(self, engine: RedisEngine, clock: Clock, store: Store) -> None:
        self.engine = engine
        self.clock = clock
        self.store = store

    async def elapse(self, seconds: float) -> None:
        """See `Bench`."""
        self.clock.advance(seconds)
        await self.engine.tick()
        await self.settle()

    async def settle(self) -> None:
        """See `Bench`."""
        await self.engine.settle()
        await self._idle()

    async def _idle(self) -> None:
        """Wait until nothing is asked of the store any more."""
        quiet = 0
        while quiet < _TURNS:
            await asyncio.sleep(0)
            quiet = 0 if self.engine.busy else quiet + 1


# After so many turns of the loop without a question to the store there will be none.
_TURNS = 10
_names = count(1)


def open_redis(
    url: str,
    partitions: int = 4,
    prefix: str = "",
    clock: Clock | None = None,
    replicas: int = 0,
    timeout: float = 10.0,
    engine_timeout: float = 2.0,
    store_class: type[Store] = Store,
) -> OpenBench:
    """Redis engines on a server or a cluster.

    Args:
        url: its address.
        partitions: how many.
        prefix: of all keys; "" for one of its own for each engine.
        clock: tells the time; None for one of its own for each engine.
        replicas: what changes something is only answered when so many replicas have it.
        timeout: seconds that the store has to answer.
        engine_timeout: seconds that notifications have to come, and owners to yield.
        store_class: connects to it.
    """

    @asynccontextmanager
    async def opened(limits: Limits) -> AsyncIterator[Bench]:
        time = clock or Clock()
        store = store_class(Address.parse(url), timeout=timeout)
        engine = RedisEngine(
            store,
            Layout(prefix or f"test{os.getpid()}-{next(_names)}", partitions),
            limits.of_store,
            timeout=engine_timeout,
            clock=time,
            replicas=replicas,
        )
        await store.open()
        try:
            await engine.open()
            yield RedisBench(engine, time, store)
        finally:
            await engine.close()
            await store.close()

    return opened
