"""A pub/sub connection: the live messages of one server's channels."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pixied_server.engine.redis.connection.answers import meaning
from pixied_server.engine.redis.connection.wire import Refusal, Wire

__all__ = ["PubSub"]

# So many unread messages may wait. Beyond, Redis keeps them, and drops the connection when they are too many.
_MOST_UNREAD = 10_000
_ELSEWHERE = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"})


class PubSub:
    """A pub/sub connection to one server. Close it when it is no longer read.

    Attributes:
        node: the server's name; the same for all keys of a server.
    """

    def __init__(self, wire: Wire) -> None:
        self.node = str(wire.endpoint)
        self._wire = wire
        self._came: deque[Any] = deque()
        self._asked: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._paused = False
        wire.listen(self._take)

    def subscribe(self, *channels: bytes) -> None:
        """Subscribe to channels; `messages` yields the confirmation, or a `sunsubscribe` if they are elsewhere."""
        self._say(b"SSUBSCRIBE", channels)

    def unsubscribe(self, *channels: bytes) -> None:
        """Unsubscribe from channels; `messages` yields the confirmation."""
        self._say(b"SUNSUBSCRIBE", channels)

    async def messages(self) -> AsyncIterator[tuple[bytes, bytes, Any]]:
        """Yield `smessage`, `ssubscribe` or `sunsubscribe`, the channel, and the message or a number, in order.

        A `sunsubscribe` that nobody asked for means that the channel's slot has moved to another server.

        Raises:
            StoreUnavailable: the connection has broken.
        """
        came = self._came
        while True:
            while came:
                reply = came.popleft()
                yield self._understood(reply)
            if self._paused:
                self._paused = False
                self._wire.resume()
            self._news.clear()
            await self._news.wait()

    def abort(self) -> None:
        """Cut the connection: `messages` raises."""
        self._wire.abort()

    async def close(self) -> None:
        """Close the connection."""
        await self._wire.close()

    def _say(self, verb: bytes, channels: Sequence[bytes]) -> None:
        # One command for each channel: one command can't name several slots, and a refusal then concerns one channel.
        for channel in channels:
            self._asked.append(channel)
            self._wire.send((verb, channel))

    def _take(self, reply: Any) -> None:
        self._came.append(reply)
        self._news.set()
        if len(self._came) >= _MOST_UNREAD and not self._paused:
            self._paused = True
            self._wire.pause()

    def _understood(self, reply: Any) -> tuple[bytes, bytes, Any]:
        if type(reply) is not list:
            return self._refused(reply)
        kind, channel, data = reply
        # The server confirms requests in their order; a `sunsubscribe` out of order is the server's own.
        if kind != b"smessage" and self._asked and self._asked[0] == channel:
            self._asked.popleft()
        return kind, channel, data

    def _refused(self, reply: Any) -> tuple[bytes, bytes, int]:
        if isinstance(reply, Refusal) and reply.code in _ELSEWHERE and self._asked:
            return b"sunsubscribe", self._asked.popleft(), 0
        raise meaning(reply) if isinstance(reply, Refusal) else reply
