"""A store whose process can be struck: it receives nothing, or late, or it hangs.

The faults are between the engine and the store's connections. So they are the same for a server and a cluster, and one
of two processes can be struck alone. What is held back had come in time: when the connection is cut, it is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, cast

from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.failures import StoreUnavailable
from pixied_server.engine.redis.connection.store import PubSub, Script, Store
from pixied_server.engine.redis.connection.wire import Wire

__all__ = ["FaultyStore"]


class FaultyStore(Store):
    """A store whose process can be struck.

    Args:
        address: where it is.
        timeout: seconds that a call takes at most.

    Attributes:
        notifications_late, answers_late: notifications and answers are taken so many seconds after they came.
        requests: requests to subscribe that have yet to be sent; None if they are sent at once.
        drops: notifications with this in them do not come, b"" for none, as behind a server that is no master any more.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
        super().__init__(address, timeout=timeout)
        self.notifications_late = 0.0
        self.answers_late = 0.0
        self.drops = b""
        # What requests to subscribe wait in; None if they go out at once.
        self.requests: list[Callable[[], None]] | None = None
        self._pubsubs: list[_FaultyPubSub] = []
        self._runs = asyncio.Event()
        self._runs.set()
        self._reached = asyncio.Event()
        self._reached.set()

    # What befalls the process

    @property
    def receiving(self) -> "frozenset[_FaultyPubSub]":
        """The connections for notifications that are open."""
        return frozenset(self._pubsubs)

    @property
    def unconfirmed(self) -> bool:
        """Whether the process has subscribed to something, and has not been brought the confirmation."""
        return any(pubsub.unconfirmed for pubsub in self._pubsubs)

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

    @contextmanager
    def late_subscriptions(self) -> Iterator[None]:
        """Let requests to subscribe reach the server only when the context ends."""
        self.requests = requests = []
        try:
            yield
        finally:
            self.requests = None
            for request in requests:
                request()

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
        self.unsubscribe = pubsub.unsubscribe
        self.unconfirmed = set[bytes]()
        self._pubsub = pubsub
        self._store = store
        self._cut = False
        self._brings = asyncio.Event()
        self._brings.set()

    @property
    def silent(self) -> bool:
        return not self._brings.is_set()

    def subscribe(self, *channels: bytes) -> None:
        self.unconfirmed.update(channels)
        request = partial(self._pubsub.subscribe, *channels)
        if self._store.requests is None:
            request()
        else:
            self._store.requests.append(request)

    def silence(self) -> None:
        self._brings.clear()

    def resume(self) -> None:
        self._brings.set()

    async def messages(self) -> AsyncIterator[tuple[bytes, bytes, Any]]:
        async with aclosing(cast("Any", self._pubsub.messages())) as messages:
            async for message in messages:
                if self._store.drops and message[0] == b"smessage" and self._store.drops in message[2]:
                    continue
                await self._store.may_take(self._store.notifications_late)
                await self._brings.wait()
                if self._cut:
                    raise StoreUnavailable("the connection was cut")
                if message[0] != b"smessage":
                    self.unconfirmed.discard(message[1])
                yield message

    def abort(self) -> None:
        self._cut = True
        self._pubsub.abort()
        self._brings.set()

    async def close(self) -> None:
        try:
            await self._pubsub.close()
        finally:
            self._store.closed(self)
