"""Operations, gathered into the frames of one Pipeline stream."""

import asyncio
from collections import deque
from collections.abc import Iterable
from copy import copy
from itertools import chain, islice, takewhile
from typing import Any, Final, TypeVar

import grpc

from pixied.v1 import pipeline_pb2
from pixied_client.errors import (
    DeadlineExceeded,
    PixiedError,
    StreamProtocol,
    Unavailable,
    from_status,
)
from pixied_client.frames import encoded
from pixied_client.kept_stream import Connection, KeptStream, closed
from pixied_client.operations import Call
from pixied_client.rpcs import BACKEND

__all__ = ["Pipeline"]

R = TypeVar("R")

# A frame costs as much as 100 operations, a megabyte at once delays all that come behind it.
_FRAME_BYTES: Final = 1_000_000

# An operation that was under way in so many broken streams may be what breaks them, and with them everyone else's.
_MAX_LOSSES: Final = 5

# When a stream ends with one of these, something that was sent on it is to blame. Sent again, it would end the next.
_BLAMING: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


class _Pending:
    """An operation that has no result yet."""

    __slots__ = ("call", "deadline", "encoded", "future", "losses")

    def __init__(self, call: Call[Any], encoded: bytes, future: "asyncio.Future[Any]", deadline: float) -> None:
        self.call = call
        self.encoded = encoded
        self.future = future
        self.deadline = deadline
        self.losses = 0

    def survives(self) -> bool:
        """Note that its stream broke, and return whether it shall be sent again."""
        self.losses += 1
        return self.call.repeatable and self.losses < _MAX_LOSSES

    def fail(self, error: PixiedError) -> None:
        if not self.future.done():
            self.future.set_exception(copy(error))  # raised in several tasks, one object would collect all their frames


class Pipeline(KeptStream):
    """Carries operations out in the order in which they are given.

    What collects while a frame is written goes into the next one: no timer, and no frame is larger than the server
    allows. When the stream breaks, operations that can be repeated are sent again in their order; the others fail, for
    no one knows whether they were done.

    Args:
        connection: what the front-end's streams share.
        room: how many operations may be without a result; later ones wait.
    """

    kind = "pipeline"

    def __init__(self, connection: Connection, room: int) -> None:
        super().__init__(connection)
        self._room = room
        self._queue: deque[asyncio.Future[None]] = deque()
        self._waiting: deque[_Pending] = deque()
        self._sent: deque[_Pending] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False

    async def perform(self, call: Call[R]) -> R:
        """Carry out one operation.

        Raises:
            Unavailable: there was no connection in time, or it broke and the operation can't be repeated safely.
            DeadlineExceeded: the server did not answer in time.
            MessageTooLarge: the operation is larger than any server takes.
            PixiedError: what the server answered.
        """
        sendable = encoded(call)
        deadline = self._loop.time() + self.connection.timeout
        if self._queue or self._free <= 0:
            await self._wait_for_room(deadline)
        if self._closed or self._leaving:
            raise closed()
        pending = _Pending(call, sendable, self._loop.create_future(), deadline)
        self._waiting.append(pending)
        self._wake.set()
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)
        result: R = await pending.future
        return result

    def close(self) -> None:
        """Fail whatever has no result."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        _fail(chain(self._sent, self._waiting), closed())
        self._sent.clear()
        self._waiting.clear()
        _call(self._queue)

    @property
    def _free(self) -> int:
        return self._room - len(self._waiting) - len(self._sent)

    async def _wait_for_room(self, deadline: float) -> None:
        """Stand in the queue. Who is called still stands there until it runs, so that no one slips in before it."""
        place = self._loop.create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout_at(deadline):
                await place
        except (TimeoutError, asyncio.CancelledError) as error:
            self._queue.remove(place)
            self._call_next()  # it may have been called, and gives that up
            raise self._in_vain() if isinstance(error, TimeoutError) else error from None
        self._queue.remove(place)

    def _call_next(self) -> None:
        _call(islice(self._queue, max(0, self._free)))

    async def _open(self, channel: grpc.aio.Channel) -> Any:
        await self.connection.known.wait()
        open_stream: Any = channel.stream_stream(
            BACKEND["Pipeline"].path,
            request_serializer=None,
            response_deserializer=pipeline_pb2.PipelineResponse.FromString,
        )
        return open_stream()

    async def _write(self, stream: Any) -> None:
        await stream.wait_for_connection()
        self._stands()
        while self._come_back is None:
            while frame := self._next_frame():
                await stream.write(frame)
            if self._leaving or self._come_back is not None:
                break
            self._wake.clear()
            await self._wake.wait()
        await stream.done_writing()

    def _next_frame(self) -> bytes:
        """Take what waits, as one request; nothing if nothing waits, or if nothing more is to be sent."""
        parts: list[bytes] = []
        size = 0
        while self._come_back is None and self._waiting and len(parts) < self.connection.max_commands:
            pending = self._waiting[0]
            if pending.future.done():  # its caller has given up
                self._waiting.popleft()
                continue
            size += len(pending.encoded)
            if size > _FRAME_BYTES and parts:
                break
            self._sent.append(self._waiting.popleft())
            parts.append(pending.encoded)
        return b"".join(parts)

    def _take(self, frame: pipeline_pb2.PipelineResponse) -> None:
        for result in frame.results:
            if not self._sent:
                raise StreamProtocol("pixied sent a result for no operation")
            _settle(self._sent.popleft(), result)
        self._call_next()
        if frame.HasField("closing"):
            self._closing(frame.closing)

    def _broke(self, error: PixiedError) -> None:
        """Put what can be repeated back in front of what waits; the rest has failed."""
        again: list[_Pending] = []
        for pending in self._sent:
            if error.code in _BLAMING:
                pending.fail(error)
            elif pending.survives():
                again.append(pending)
            else:
                pending.fail(_unknown_outcome(pending, error))
        self._sent.clear()
        self._waiting.extendleft(reversed(again))
        self._call_next()

    def _expire(self) -> None:
        """Fail what is overdue. One timer serves all, for all have the same time: the first is the next to be due."""
        self._timer = None
        now = self._loop.time()
        for pending in takewhile(lambda pending: pending.deadline <= now, chain(self._sent, self._waiting)):
            pending.fail(self._in_vain())
        # Without a connection no frame would clear them away, and they would keep the room of who comes after.
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()
        self._call_next()
        later = (pending.deadline for pending in chain(self._sent, self._waiting) if pending.deadline > now)
        if next_due := next(later, None):
            self._timer = self._loop.call_at(next_due, self._expire)

    def _in_vain(self) -> PixiedError:
        if not self.up:
            return self.connection.unavailable()
        connection = self.connection
        return DeadlineExceeded(f"pixied at {connection.address} did not answer within {connection.timeout:g} s")


def _settle(pending: _Pending, result: pipeline_pb2.OperationResult) -> None:
    kind = result.WhichOneof("result")
    future = pending.future
    if future.done():
        return
    if kind == pending.call.rpc.field:
        _answer(pending, getattr(result, kind))
    elif kind == "error":
        future.set_exception(from_status(result.error))
    else:
        error = StreamProtocol(f"pixied answered {pending.call.rpc.field} with {kind}")
        future.set_exception(error)
        raise error


def _answer(pending: _Pending, response: Any) -> None:
    try:
        pending.future.set_result(pending.call.result(response))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one answer is its caller's matter alone
        nonsense = StreamProtocol(f"pixied's answer to {pending.call.rpc.field} makes no sense: {error}")
        nonsense.__cause__ = error
        pending.future.set_exception(nonsense)


def _call(places: Iterable[asyncio.Future[None]]) -> None:
    for place in places:
        if not place.done():
            place.set_result(None)


def _fail(several: Iterable[_Pending], error: PixiedError) -> None:
    for pending in several:
        pending.fail(error)


def _unknown_outcome(pending: _Pending, error: PixiedError) -> Unavailable:
    return Unavailable(f"{error.message}; the outcome of {pending.call.rpc.field} is unknown")
