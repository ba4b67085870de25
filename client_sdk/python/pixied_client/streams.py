"""Deliver and Watch as iterators, by asyncio and blocking."""

import asyncio
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from pixied_client.errors import PixiedError, Unavailable, closed, from_call
from pixied_client.feeds import Feed
from pixied_client.origin import Origin
from pixied_client.unary import serialized

__all__ = ["BlockingStream", "Stream"]

T = TypeVar("T")


class _Frames(Generic[T]):
    """What both kinds of streams have in common: the items that came and were not taken yet."""

    def __init__(self, feed: Feed[T], address: str, origin: Origin) -> None:
        origin.check()
        self._origin = origin
        self._feed = feed
        self._address = address
        self._items: deque[T] = deque()
        self._begun = False
        self._closed = False

    @property
    def _open(self) -> bool:
        """Whether there may be more.

        Raises:
            RuntimeError: the process has forked since, and has no part in this stream.
        """
        if not self._closed:
            self._origin.check()
        return not self._closed

    def _took(self, frame: Any) -> None:
        self._begun = True
        self._items.extend(self._feed.take(frame))

    def _ended(self) -> PixiedError:
        broken = f"the stream from pixied at {self._address} ended"
        return self._feed.ending or Unavailable(broken)


class Stream(_Frames[T]):
    """An asynchronous iterator over what the server sends. Leave it by `async with`, or by `aclose()`.

    Who waits for an item can be cancelled, by a timeout say: the stream goes on, and nothing is lost.

    Iteration ends by itself only after `aclose()`. Otherwise an error says why it ended: `Draining` when the server
    stops, with `retry_after`; `Unavailable` when the connection broke; `TakenOver` and `ClientUnknown` as they happen.
    """

    def __init__(self, feed: Feed[T], channel: grpc.aio.Channel, address: str, origin: Origin) -> None:
        super().__init__(feed, address, origin)
        open_stream = channel.unary_stream(
            feed.rpc.path,
            request_serializer=serialized,
            response_deserializer=feed.rpc.response.FromString,
        )
        self._call: Any = open_stream(feed.request)
        self._reading: asyncio.Future[Any] | None = None

    async def ready(self) -> None:
        """Wait until the stream stands: from then on, nothing that happens is missed unannounced."""
        while self._open and not self._begun:
            await self._read()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while self._open:
            if self._items:
                return self._items.popleft()
            await self._read()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the stream. What has come and was not taken is dropped."""
        self._closed = True
        if not self._origin.is_here:
            return
        self._call.cancel()
        if self._reading:
            await asyncio.wait([self._reading])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self) -> None:
        if not self._reading:
            self._reading = asyncio.ensure_future(self._call.read())
        reading = self._reading
        # `wait` leaves the read alone if this task is cancelled: to cancel it would cancel the whole stream.
        await asyncio.wait([reading])
        if reading is self._reading:  # else another task that waited for it has had it
            self._reading = None
            self._took_from(reading)

    def _took_from(self, reading: "asyncio.Future[Any]") -> None:
        try:
            frame = reading.result()
        except grpc.aio.AioRpcError as error:
            if not self._closed:
                raise from_call(error, self._address) from None
        except asyncio.CancelledError:
            if not self._closed:
                raise closed(self._address) from None
        else:
            if frame is not grpc.aio.EOF:
                self._took(frame)
            elif not self._closed:
                raise self._ended()


class BlockingStream(_Frames[T]):
    """A blocking iterator over what the server sends. Leave it by `with`, or by `close()` from any thread.

    One thread at a time may read. It ends as `Stream` does.
    """

    def __init__(self, feed: Feed[T], channel: grpc.Channel, address: str, origin: Origin) -> None:
        super().__init__(feed, address, origin)
        open_stream = channel.unary_stream(
            feed.rpc.path,
            request_serializer=serialized,
            response_deserializer=feed.rpc.response.FromString,
        )
        self._call: Any = open_stream(feed.request)

    def ready(self) -> None:
        """Wait until the stream stands: from then on, nothing that happens is missed unannounced."""
        while self._open and not self._begun:
            self._read()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while self._open:
            if self._items:
                return self._items.popleft()
            self._read()
        raise StopIteration

    def close(self) -> None:
        """End the stream. What has come and was not taken is dropped."""
        self._closed = True
        if self._origin.is_here:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        try:
            frame = next(self._call)
        except StopIteration:
            if not self._closed:
                raise self._ended() from None
        except grpc.RpcError as error:
            if not self._closed:
                raise from_call(error, self._address) from None
        else:
            self._took(frame)
