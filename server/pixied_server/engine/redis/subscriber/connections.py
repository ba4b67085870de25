"""The connections on which a process receives: one to each server, for all partitions that are there."""

import asyncio
from collections.abc import Callable

import structlog

from pixied_server.engine.redis.connection.failures import StoreUnavailable
from pixied_server.engine.redis.connection.store import Feed, Store
from pixied_server.engine.redis.partition.protocol import Partition

__all__ = ["Connections"]

_log = structlog.get_logger(__name__)


class Connections:
    """See the module.

    Args:
        store: the store.
        received: takes what comes: the connection, what kind of reply it is, its channel and its data.
        lost: is called with a connection that has ended, and why.
    """

    def __init__(
        self,
        store: Store,
        received: Callable[[Feed, bytes, bytes, bytes], None],
        lost: Callable[[Feed, str], None],
    ) -> None:
        self._store = store
        self._received = received
        self._lost = lost
        self._feeds: dict[str, Feed] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._readers: set[asyncio.Task[None]] = set()

    async def of(self, partition: Partition) -> Feed:
        """Return the connection to the server that has a partition; open it, if there is none.

        Raises:
            StoreUnavailable: it can't be reached.
        """
        node = await self._store.node_of(partition.key)
        async with self._opening.setdefault(node, asyncio.Lock()):
            feed = self._feeds.get(node)
            if feed is None:
                feed = await self._store.feed(partition.key)
                self._feeds[feed.node] = feed
                reader = asyncio.get_running_loop().create_task(self._read(feed))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
        return feed

    async def close(self) -> None:
        """Close all connections."""
        readers = list(self._readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        for feed in list(self._feeds.values()):
            await feed.close()

    async def _read(self, feed: Feed) -> None:
        """Receive from one connection to its end."""
        why = "the connection ended"
        try:
            async for kind, channel, data in feed.messages():
                self._received(feed, kind, channel, data)
        except StoreUnavailable as error:
            why = str(error)
        except Exception:  # noqa: BLE001 - the next connection is to be received all the same
            _log.exception("what the store published could not be dealt with")
            why = "see the error before"
        finally:
            self._feeds.pop(feed.node, None)
            await feed.close()
            self._lost(feed, why)
