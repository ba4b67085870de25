"""What every call has around it: decoding, the domain's errors as statuses, and the unforeseen as INTERNAL.

A call ends with a status that says what was wrong, or with a fixed text where the fault is ours: the exception's own
text goes to the log only, for it may hold anything.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage
from google.rpc.status_pb2 import Status

from pixied_server.core.traces import without_traces
from pixied_server.errors import FieldInvalid, PixiedError
from pixied_server.rpc.status import end, internal_status, status_of

__all__ = ["Context", "decode", "decoded", "first_of", "method_name", "status_for", "stream_call", "unary_call"]

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
M = TypeVar("M", bound=ProtoMessage)

_log = structlog.get_logger(__name__)


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


def unary_call(
    rpc: str, kind: type[ProtoMessage], method: Callable[[ProtoMessage], Awaitable[ProtoMessage]]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """A unary RPC's handler, from encoded request to encoded response."""

    async def handle(raw: bytes, context: Context) -> bytes:
        try:
            return (await method(decode(kind, raw))).SerializeToString()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status and the log the rest
            end(context, status_for(error, rpc))
        return b""

    return handle


Stream = TypeVar("Stream")


def stream_call(
    rpc: str, method: Callable[[Stream, Context], Awaitable[None]]
) -> Callable[[Stream, Context], Awaitable[None]]:
    """A streaming RPC's handler. `method` gets the encoded request or an iterator of them; it writes to the context."""

    async def handle(requests: Stream, context: Context) -> None:
        try:
            await method(requests, context)
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


async def decoded(kind: type[M], requests: AsyncIterator[bytes]) -> AsyncIterator[M]:
    """The requests of a stream."""
    async for raw in requests:
        yield decode(kind, raw)
