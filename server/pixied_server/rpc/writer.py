"""Writing to one caller: the frames of a stream, or the answer of a unary call, within the account of all writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from grpc.aio import InternalError

from pixied_server.errors import NotReceived
from pixied_server.rpc.context import Context
from pixied_server.rpc.writes import Charge, Writes

__all__ = ["Answer", "Writer"]

_MIB = 1 << 20


class Writer:
    """Writes frames to one caller's stream, one at a time. Made in the task that serves the stream.

    Args:
        writes: the account of all writes.
        context: the stream's call.
    """

    def __init__(self, writes: Writes, context: Context) -> None:
        self._writes = writes
        self._context = context
        self._peer = context.peer()
        self._call = _call()
        self._turn = asyncio.Lock()
        self._charge: Charge | None = None
        self._begun = False
        # The size of the frame that gRPC has and the caller has not received, in bytes.
        self._unreceived = 0

    @asynccontextmanager
    async def room(self, size: int, *, narrow: bool = True) -> AsyncIterator[None]:
        """Wait until frames of this size may be built. Their room is kept as long as the context lasts.

        Args:
            size: in bytes; roughly, for the frames are not built yet.
            narrow: they are held one after the other: what counts is the one that is being written.

        Raises:
            NotReceived: there was none in time.
        """
        charge = await self._writes.room(self._peer, size)
        self._charge = charge if narrow else None
        try:
            yield
        finally:
            self._charge = None
            _release_when_received(charge, self._unreceived, self._call)

    async def write(self, frame: bytes) -> None:
        """Write a frame, and wait until the caller took it.

        Raises:
            NotReceived: it did not in time.
            CancelledError: the caller is gone.
        """
        limit = self._writes.limits.timeout * max(1, -(-len(frame) // _MIB))
        async with self._turn:
            if self._charge is not None:
                self._charge.resize(len(frame))
            try:
                await self._begin()
                self._unreceived = len(frame)
                async with asyncio.timeout(limit):
                    await self._context.write(frame)
            except InternalError:
                # As gRPC itself does soon, when it notices.
                raise asyncio.CancelledError from None
            except TimeoutError:
                why = f"{len(frame):,} bytes that were written to this stream were not received within {limit:g} s"
                raise NotReceived(why) from None
            self._unreceived = 0

    async def _begin(self) -> None:
        """Send the beginning by itself.

        gRPC would send it with the first frame, and again with the status if that frame is given up: then it refuses
        the status, and the call never ends.
        """
        if not self._begun:
            self._begun = True
            await self._context.send_initial_metadata(())


class Answer:
    """The one answer of a unary call, which gRPC writes after the handler has ended.

    Args:
        writes: the account of all writes.
        context: the call.
    """

    def __init__(self, writes: Writes, context: Context) -> None:
        self._writes = writes
        self._context = context
        self._charge: Charge | None = None

    async def room(self, size: int) -> None:
        """Wait until an answer of roughly this size, in bytes, may be built; `settle` and `give_back` end that.

        Raises:
            NotReceived: there was none in time.
        """
        self._charge = await self._writes.room(self._context.peer(), size)

    def give_back(self) -> None:
        """Need no room any more, for now."""
        if self._charge is not None:
            self._charge.release()
            self._charge = None

    def settle(self, size: int) -> None:
        """The answer is built, and counts until the caller has received it."""
        if self._charge is not None:
            charge, self._charge = self._charge, None
            _release_when_received(charge, size, _call())


def _call() -> "asyncio.Task[Any]":
    """The task that serves the call. It ends when the caller has received everything, the status too, or is gone.

    gRPC has callbacks of its own for that. They are in a cycle with the call, which would then stay until the garbage
    collector comes, and it hardly ever does.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a call is served by a task")
    return task


def _release_when_received(charge: Charge, size: int, call: "asyncio.Task[Any]") -> None:
    charge.resize(size)
    if size:
        call.add_done_callback(lambda _: charge.release())
