"""A server of the store, and the connections to it."""

import asyncio
from collections.abc import Awaitable, Callable

from pixied_server.engine.redis.connection.attempts import FIRST_PAUSE
from pixied_server.engine.redis.connection.failures import StoreUnavailable
from pixied_server.engine.redis.connection.wire import Refusal, Wire

__all__ = ["Node"]


# Without allow-oom a server that has no memory left refuses SET: then nothing could be deleted from it either.
_WRITE = b"#!lua flags=allow-oom\nredis.call('SET', KEYS[1], '')"


class Node:
    """A server, and the connection to it that all commands share.

    Args:
        open_wire: makes a connection to it.
    """

    def __init__(self, open_wire: Callable[[], Awaitable[Wire]]) -> None:
        self._open = open_wire
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._failure: tuple[float, StoreUnavailable] | None = None
        self._second: Node | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    @property
    def wire(self) -> Wire | None:
        """The connection, if there is one."""
        return self._wire if self._wire and self._wire.alive else None

    async def connect(self) -> Wire:
        """Return the connection; open it if there is none.

        Raises:
            StoreUnavailable: the server can't be reached, or could not a moment ago.
        """
        async with self._connecting:
            if wire := self.wire:
                return wire
            self._hold_back()
            try:
                self._wire = await self._open()
            except StoreUnavailable as failure:
                self._failure = (asyncio.get_running_loop().time(), failure)
                raise
            return self._wire

    async def replicated(self, key: bytes, replicas: int, timeout: float) -> None:
        """Wait until so many replicas have everything that this server has answered before.

        Concurrent calls share one WAIT.

        Raises:
            StoreUnavailable: the timeout came first (`ambiguous`).
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._after(self._waiting, key, replicas, timeout))
            self._next.add_done_callback(_seen)
        await asyncio.shield(self._next)

    async def _after(self, before: "asyncio.Task[None] | None", key: bytes, replicas: int, timeout: float) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._waiting, self._next = self._next, None
        # WAIT blocks all later commands of its connection, so it has a connection of its own.
        if self._second is None:
            self._second = Node(self._open)
        wire = await self._second.connect()
        deadline = asyncio.get_running_loop().time() + timeout
        # WAIT waits for the connection's own last write, so there has to be one.
        written = wire.request((b"EVAL", _WRITE, 1, key), deadline)
        waited = wire.request((b"WAIT", replicas, max(1, round(timeout * 900))), deadline)
        for reply in (await written, await waited):
            if isinstance(reply, Refusal):
                raise StoreUnavailable(f"{wire.endpoint} answers {reply.text}", ambiguous=True)
            if isinstance(reply, StoreUnavailable):
                raise reply
        if (reached := waited.result()) < replicas:
            why = f"{wire.endpoint} has it on {reached} of its replicas in time, not on {replicas}"
            raise StoreUnavailable(why, ambiguous=True)

    async def close(self) -> None:
        """Close the connections."""
        if self._second:
            await self._second.close()
        if self._wire:
            await self._wire.close()

    def _hold_back(self) -> None:
        """Try a server that is down once per pause, however many callers wait for it."""
        if self._failure and asyncio.get_running_loop().time() - self._failure[0] < FIRST_PAUSE:
            raise type(self._failure[1])(str(self._failure[1]))


def _seen(one: "asyncio.Task[None]") -> None:
    """Mark a failure as seen: that nobody waits for it any more is no fault."""
    if not one.cancelled():
        one.exception()
