"""A process over a store that can be struck: it receives nothing, or late, it hangs, it is killed.

The faults are between the engine and the store's connections. So they are the same for a server and a cluster, and one
of two processes can be struck alone. What is held back had come in time: when the connection is cut, it is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Any, cast

from tests.engine.benches import Clock, Limits, RedisBench

from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.failures import StoreUnavailable
from pixied_server.engine.redis.connection.store import PubSub, Script, Store
from pixied_server.engine.redis.connection.wire import Wire
from pixied_server.engine.redis.partition.layout import Layout
from pixied_server.errors import EngineUnavailable

__all__ = ["FaultyBench", "FaultyStore", "open_faulty"]

# Seconds that a store has on a busy machine.
_TIMEOUT = 20.0
# Seconds that one process waits for another one: in the histories some never answer.
_PEER_TIMEOUT = 0.1
_PARTITIONS = 4
# After so many turns of the loop without a question to the store there will be none.
_TURNS = 10


class FaultyStore(Store):
    """A store whose process can be struck.

    Args:
        address: where it is.
        timeout: seconds that a call takes at most.

    Attributes:
        notifications_late, answers_late: notifications and answers are taken so many seconds after they came.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
        super().__init__(address, timeout=timeout)
        self.notifications_late = 0.0
        self.answers_late = 0.0
        self._pubsubs: list[_FaultyPubSub] = []
        self._runs = asyncio.Event()
        self._runs.set()
        self._reached = asyncio.Event()
        self._reached.set()

    # What befalls the process

    @property
    def silent(self) -> bool:
        """Whether a connection for notifications is silent."""
        return any(pubsub.silent for pubsub in self._pubsubs)

    @property
    def hangs(self) -> bool:
        """Whether the process hangs."""
        return not self._runs.is_set()

    def silence(self) -> None:
        """Let the connections for notifications that there are bring nothing, until `resume` or until they are cut."""
        for pubsub in self._pubsubs:
            pubsub.silence()

    def resume(self) -> None:
        """Let them bring what has come, and bring on."""
        for pubsub in self._pubsubs:
            pubsub.resume()

    def cut(self) -> None:
        """Break them; what they have not brought is gone."""
        for pubsub in list(self._pubsubs):
            pubsub.abort()

    @contextmanager
    def unreached(self) -> Iterator[None]:
        """Let no new one be opened while the context lasts."""
        self._reached.clear()
        try:
            yield
        finally:
            self._reached.set()

    def hang(self) -> None:
        """Stop the process: it takes no notification and no answer, and asks nothing."""
        self._runs.clear()

    def wake(self) -> None:
        """Let it go on where it was."""
        self._runs.set()

    async def may_take(self, late: float) -> None:
        """Wait until the process takes what has come."""
        if late:
            await asyncio.sleep(late)
        await self._runs.wait()

    # What the engine asks of it

    async def run_on(
        self, keys: Sequence[bytes], script: Script, args: Sequence[bytes | int | str]
    ) -> tuple[Any, Wire]:
        """See `Store`."""
        await self._runs.wait()
        answer = await super().run_on(keys, script, args)
        await self.may_take(self.answers_late)
        return answer

    async def pubsub(self, key: bytes) -> PubSub:
        """See `Store`."""
        await self._runs.wait()
        await self._reached.wait()
        pubsub = _FaultyPubSub(await super().pubsub(key), self)
        self._pubsubs.append(pubsub)
        return cast("PubSub", pubsub)

    def closed(self, pubsub: "_FaultyPubSub") -> None:
        """Forget a connection for notifications that is closed."""
        if pubsub in self._pubsubs:
            self._pubsubs.remove(pubsub)


class _FaultyPubSub:
    """A connection for notifications that can be silent. See `PubSub`."""

    def __init__(self, pubsub: PubSub, store: FaultyStore) -> None:
        self.node = pubsub.node
        self.subscribe = pubsub.subscribe
        self.unsubscribe = pubsub.unsubscribe
        self._pubsub = pubsub
        self._store = store
        self._cut = False
        self._brings = asyncio.Event()
        self._brings.set()

    @property
    def silent(self) -> bool:
        return not self._brings.is_set()

    def silence(self) -> None:
        self._brings.clear()

    def resume(self) -> None:
        self._brings.set()

    async def messages(self) -> AsyncIterator[tuple[bytes, bytes, Any]]:
        async with aclosing(cast("Any", self._pubsub.messages())) as messages:
            async for message in messages:
                await self._store.may_take(self._store.notifications_late)
                await self._brings.wait()
                if self._cut:
                    raise StoreUnavailable("the connection was cut")
                yield message

    def abort(self) -> None:
        self._cut = True
        self._pubsub.abort()
        self._brings.set()

    async def close(self) -> None:
        self._store.closed(self)
        await self._pubsub.close()


class FaultyBench(RedisBench):
    """A process that can be struck.

    Args:
        engine: its engine.
        clock: tells the time.
        store: what can be struck.

    Attributes:
        killed: whether it was.
    """

    def __init__(self, engine: RedisEngine, clock: Clock, store: FaultyStore) -> None:
        super().__init__(engine, clock)
        self.store = store
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
