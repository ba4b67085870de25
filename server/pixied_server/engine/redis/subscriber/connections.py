"""The connections on which a process receives: one to each server, for all of its partitions."""

import asyncio
from collections.abc import Callable

import structlog

from pixied_server.engine.redis.connection.failures import StoreUnavailable
from pixied_server.engine.redis.connection.store import PubSub, Store
from pixied_server.engine.redis.partition.protocol import Partition

__all__ = ["Connections"]

_log = structlog.get_logger(__name__)


class Connections:
    """See the module.

    Args:
        store: the store.
        received: takes each reply: the connection, the kind of reply, its channel and its data.
        lost: is called with a connection that has ended, and why.
    """

    def __init__(
        self,
        store: Store,
        received: Callable[[PubSub, bytes, bytes, bytes], None],
        lost: Callable[[PubSub, str], None],
    ) -> None:
        self._store = store
        self._received = received
        self._lost = lost
        self._pubsubs: dict[str, PubSub] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._readers: set[asyncio.Task[None]] = set()

    async def of(self, partition: Partition) -> PubSub:
        """Return the connection to the server that has a partition; open it, if there is none.

        Raises:
            StoreUnavailable: the server can't be reached.
        """
        node = await self._store.node_of(partition.key)
        async with self._opening.setdefault(node, asyncio.Lock()):
            pubsub = self._pubsubs.get(node)
            if pubsub is None:
                pubsub = await self._store.pubsub(partition.key)
                self._pubsubs[pubsub.node] = pubsub
                reader = asyncio.get_running_loop().create_task(self._read(pubsub))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
        return pubsub

    async def close(self) -> None:
        """Close all connections."""
        readers = list(self._readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        for pubsub in list(self._pubsubs.values()):
            await pubsub.close()

    async def _read(self, pubsub: PubSub) -> None:
        """Receive from a connection until it ends."""
        why = "the connection ended"
        try:
            async for kind, channel, data in pubsub.messages():
                self._received(pubsub, kind, channel, data)
        except StoreUnavailable as error:
            why = str(error)
        except Exception:  # noqa: BLE001 - the next connection is to be received all the same
            _log.exception("what the store published could not be dealt with")
            why = "see the error before"
        finally:
            self._pubsubs.pop(pubsub.node, None)
            await pubsub.close()
            self._lost(pubsub, why)
