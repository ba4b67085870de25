"""A front-end: everything that a busy Bayeux server does with pixied, over two streams."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

import grpc

from pixied_client.attachment import Attachment
from pixied_client.callback import OnBatch
from pixied_client.channel import DEFAULT_ADDRESS, open_async_channel
from pixied_client.faces import AwaitedOperations
from pixied_client.kept_stream import Connection
from pixied_client.link import Link
from pixied_client.operations import Call
from pixied_client.pipeline import Pipeline
from pixied_client.retry import Backoff
from pixied_client.values import Detached, Gap

__all__ = ["FrontEnd"]

R = TypeVar("R")

_MAX_NAME_BYTES = 255
_MAX_WINDOW = 65_536


class FrontEnd(AwaitedOperations):
    """Every operation through one Pipeline, the messages of all attached clients through one Attach stream.

    Use it by `async with`. Both streams are kept open, and opened again with backoff and jitter; after a break all
    attached clients are attached again. What a callback raises, and a refusal that trying again would not change (such
    as missing rights), ends the `async with` as an ExceptionGroup.

    Operations are carried out in the order in which they are called, and wait for the connection if there is none.
    What the server refuses with DRAINING or ENGINE_UNAVAILABLE is not tried again here, for that would change the
    order. `dequeue_for` can't wait here.

    Args:
        address: `host:port` or `unix:///path`; several pixieds over one store are `ip:port,ip:port`.
        name: this front-end's name, 1 to 255 bytes; operators see it.
        window: how many deliveries the server sends ahead of their confirmation, 1 to 65,536.
        timeout: after how many seconds without an answer an operation or an attach fails.
        max_pending: how many operations may wait for their results; more wait for room.
        backoff: the pauses between attempts to reconnect.
        on_batch: gets all messages in batches instead of each `Attachment` its own, for high rates. A delivery is
            confirmed when it has returned; it may be a coroutine function, and gets one batch at a time.
        on_gap: called when an attached client lost messages; its `Attachment` gives the gap too.
        on_detached: called when a client is no longer attached; its `Attachment` gives the reason too.
        channel: a channel of your own, with credentials, say; you close it. Default: an insecure one to `address`.
        sleep: waits for seconds.
        chance: gives 0 <= x < 1, for the jitter.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        name: str = "python",
        *,
        window: int = 64,
        timeout: float = 10.0,
        max_pending: int = 10_000,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        on_batch: OnBatch | None = None,
        on_gap: Callable[[Attachment, Gap], None] | None = None,
        on_detached: Callable[[Attachment, Detached], None] | None = None,
        channel: grpc.aio.Channel | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 1 <= len(name.encode()) <= _MAX_NAME_BYTES:
            raise ValueError(f"a front-end's name has 1 to 255 bytes, not {len(name.encode())}")
        if not 1 <= window <= _MAX_WINDOW:
            raise ValueError(f"a front-end's window is 1 to {_MAX_WINDOW:,} deliveries, not {window:,}")
        self._connection = Connection(address, timeout, backoff, sleep=sleep, chance=chance)
        self._link = Link(self._connection, name, window, on_batch=on_batch, on_gap=on_gap, on_detached=on_detached)
        self._pipeline = Pipeline(self._connection, max_pending)
        self._owned = channel is None
        self._channel = channel or open_async_channel(address)
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether both streams stand at this moment."""
        return self._link.up and self._pipeline.up

    @property
    def attachments(self) -> Mapping[int, Attachment]:
        """A live view of the attached clients by their handles, with those that are to be attached again."""
        return MappingProxyType(self._link.attachments)

    def perform(self, call: Call[R]) -> Coroutine[Any, Any, R]:
        """Carry out one call of `pixied_client.operations` through the Pipeline.

        Raises:
            Unavailable: there was no connection in time, or it broke and the operation can't be repeated safely.
            DeadlineExceeded: the server did not answer in time.
            PixiedError: what the server answered.
        """
        return self._pipeline.perform(call)

    async def attach(
        self, client_id: str, *, explicit: bool = False, expires: bool = False, ack_cursor: int = 0
    ) -> Attachment:
        """Take a client, its pending messages first, then live ones. Its previous owner loses it.

        Args:
            client_id: the client.
            explicit: only `Attachment.confirm` confirms, for clients that confirm by themselves.
            expires: its session timeout runs on; by default it lives as long as the link.
            ack_cursor: confirms everything up to the delivery that had this cursor, on whatever link, before any comes.

        Raises:
            ClientUnknown: there is none such.
            FieldInvalid: no delivery to this client had that cursor; its owner keeps it.
            LimitClients: the link has as many as it may.
            Unavailable: there was no link in time.
            PixiedError: what else the server answered.
        """
        return await self._link.attach(client_id, explicit=explicit, expires=expires, ack_cursor=ack_cursor)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        tasks = [self._link.keep(self._channel), self._pipeline.keep(self._channel)]
        if self._link.callback:
            tasks.append(self._link.callback.run())
        self._running = [self._tasks.create_task(task) for task in tasks]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as ending:  # unwound from its end: all of it, whatever a callback raises
            if self._owned:
                ending.push_async_callback(self._channel.close)
            ending.push_async_exit(self._end_tasks)
            ending.callback(self._link.close)
            ending.callback(self._pipeline.close)
            if error is None:
                await asyncio.gather(self._pipeline.leave(), self._link.leave())
            elif isinstance(error, asyncio.CancelledError):
                raise error

    async def _end_tasks(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)
