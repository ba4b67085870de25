"""What every call has around it: decoding, the domain's errors as statuses, and the unforeseen as INTERNAL.

A call ends with a status that says what was wrong, or with a fixed text where the fault is ours: the exception's own
text goes to the log only, for it may hold anything.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TypeVar

import structlog
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage
from google.rpc.status_pb2 import Status

from pixied_server.core.traces import without_traces
from pixied_server.core.turns import Turns, caller
from pixied_server.errors import FieldInvalid, PixiedError
from pixied_server.rpc.context import Context
from pixied_server.rpc.frames import FRAME_BYTES
from pixied_server.rpc.status import end, internal_status, status_of
from pixied_server.rpc.writer import Answer, Writer
from pixied_server.rpc.writes import Writes

__all__ = ["decode", "decoded", "first_of", "in_turns", "method_name", "status_for", "stream_call", "unary_call"]

M = TypeVar("M", bound=ProtoMessage)

_log = structlog.get_logger(__name__)

# To decode a request with more bytes takes some 100 µs: it waits for a turn.
_LARGE = 16_384


def method_name(rpc: str) -> str:
    """The Python name of an RPC: `SubscribersOf` is `subscribers_of`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()


def decode(kind: type[M], raw: bytes) -> M:
    """Decode a request.

    Raises:
        FieldInvalid: it is no such message: its text is not UTF-8, say.
    """
    try:
        return kind.FromString(raw)
    except DecodeError:
        why = f"it is not a valid {kind.DESCRIPTOR.full_name}; texts must be UTF-8"
        raise FieldInvalid("request", why) from None


def status_for(error: Exception, rpc: str) -> Status:
    """The status that answers an exception. What is not the domain's own is logged with its trace.

    The trace is given up then: it holds the frames that the exception came through, and with them the request, and a
    frame may hold the exception. The garbage collector, which looks for such cycles, hardly ever looks at old objects.
    """
    if isinstance(error, PixiedError):
        status = status_of(error)
    else:
        _log.error("unforeseen failure", rpc=rpc, exc_info=error)
        status = internal_status()
    without_traces(error)
    return status


# RPCs that wait for something to answer with: they take room for it themselves, once there is something.
_WAITING = frozenset({"DequeueFor"})
# Other RPCs with large answers: the size of the answer, roughly, by that of the request; in bytes. The answers of all
# others are small, or no larger than their requests.
_SMALL_REQUEST = 16_384
_LARGE_ANSWERS: Mapping[str, Callable[[int], int]] = MappingProxyType(
    {
        **dict.fromkeys(("SubscribersOf", "SubscribedTo", "ListClients", "ListChannels"), lambda _: FRAME_BYTES),
        **dict.fromkeys(("Subscribe", "Unsubscribe", "PingClient"), lambda size: size if size > _SMALL_REQUEST else 0),
    }
)


def unary_call(
    rpc: str,
    kind: type[ProtoMessage],
    method: Callable[..., Awaitable[ProtoMessage]],
    writes: Writes,
    turns: Turns,
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """A unary RPC's handler, from encoded request to encoded response."""
    expected: Callable[[int], int] = _LARGE_ANSWERS.get(rpc, lambda _: 0)

    async def handle(raw: bytes, context: Context) -> bytes:
        caller.set(context.peer())
        answer = Answer(writes, context)
        try:
            if len(raw) > _LARGE:
                await turns.give()
            if size := expected(len(raw)):
                await answer.room(size)
            request = decode(kind, raw)
            response = await (method(request, answer) if rpc in _WAITING else method(request))
            encoded = response.SerializeToString()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status and the log the rest
            end(context, status_for(error, rpc))
            encoded = b""
        except BaseException:
            answer.give_back()
            raise
        answer.settle(len(encoded))
        return encoded

    return handle


Stream = TypeVar("Stream")


def stream_call(
    rpc: str, method: Callable[[Stream, Writer], Awaitable[None]], writes: Writes
) -> Callable[[Stream, Context], Awaitable[None]]:
    """A streaming RPC's handler. `method` gets the encoded request or an iterator of them, and what it writes with."""

    async def handle(requests: Stream, context: Context) -> None:
        caller.set(context.peer())
        try:
            await method(requests, Writer(writes, context))
        except Exception as error:  # noqa: BLE001 - as above
            end(context, status_for(error, rpc))

    return handle


async def first_of(*jobs: Coroutine[None, None, None]) -> None:
    """Do all jobs until the first one ends; cancel the others, and see each of them end.

    Raises:
        Exception: what the first one failed with.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def in_turns(requests: AsyncIterator[bytes], turns: Turns) -> AsyncIterator[bytes]:
    """The encoded requests of a stream, large ones in turns of their own."""
    async for raw in requests:
        if len(raw) > _LARGE:
            await turns.give()
        yield raw


async def decoded(kind: type[M], requests: AsyncIterator[bytes]) -> AsyncIterator[M]:
    """The requests of a stream."""
    async for raw in requests:
        yield decode(kind, raw)
