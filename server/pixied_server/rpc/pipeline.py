"""Pipeline: many unary operations in one frame."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf.message import Message as ProtoMessage

from pixied.v1 import pipeline_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.engine.abc import Engine
from pixied_server.errors import FieldInvalid, PixiedError, StreamProtocol
from pixied_server.rpc.calls import decoded, first_of, status_for
from pixied_server.rpc.frames import FRAME_BYTES, closing_out, field, tag
from pixied_server.rpc.operations import MESSAGES_BYTES, Operations
from pixied_server.rpc.writer import Writer

__all__ = ["PipelineServicer"]

# So many operations are done together at most, and so many with large answers: these are kept until all have answered.
_TOGETHER = 500
_LARGE_TOGETHER = 20
_LARGE = frozenset({"dequeue_for", "subscribed_to"})
# Operations that make something that no operation before them can name.
_NEW = frozenset({"create_client", "generate_namespace"})
_RESULTS = tag(wire.PipelineResponse.RESULTS_FIELD_NUMBER)
_ERROR = tag(wire.OperationResult.ERROR_FIELD_NUMBER)

# An operation's request in a frame: its method, and the tag of its response in a result.
_Way: TypeAlias = tuple[Callable[[Any], Awaitable[ProtoMessage]], bytes]


class PipelineServicer:
    """Carries out operations in order, and answers in order.

    Args:
        operations: the unary operations.
        engine: what they are done with.
        drain: knows of open streams, and when they have to end.
        most: so many operations may be in one frame.
    """

    def __init__(self, operations: Operations, engine: Engine, drain: Drain, most: int) -> None:
        self._engine = engine
        self._drain = drain
        self._most = most
        results = wire.OperationResult.DESCRIPTOR.fields_by_name
        self._ways: Mapping[str | None, _Way] = {
            one.name: (getattr(operations, one.name), tag(results[one.name].number))
            for one in wire.Operation.DESCRIPTOR.fields
        }

    async def pipeline(self, requests: AsyncIterator[bytes], writer: Writer) -> None:
        """Serve one stream to its end."""
        with self._drain.stream():
            await first_of(self._serve(requests, writer), self._announce_stop(writer))

    async def _serve(self, requests: AsyncIterator[bytes], writer: Writer) -> None:
        async for request in decoded(wire.PipelineRequest, requests):
            if not request.operations:
                raise StreamProtocol("a frame without an operation")
            if len(request.operations) > self._most:
                raise StreamProtocol(f"a frame of {len(request.operations):,} operations; {self._most:,} may be")
            async with writer.room(_expected(request), narrow=False):
                async for frame in self._frames(request):
                    await writer.write(frame)

    async def _frames(self, request: wire.PipelineRequest) -> AsyncIterator[bytes]:
        """The encoded responses to one frame: each closed at about 1 MB."""
        parts: list[bytes] = []
        size = 0
        for run in _runs(request.operations):
            for result in await self._engine.together(self._result(operation) for operation in run):
                if isinstance(result, PixiedError):
                    raise result
                parts.append(field(_RESULTS, result))
                size += len(result)
                if size > FRAME_BYTES:
                    yield b"".join(parts)
                    parts, size = [], 0
        if parts:
            yield b"".join(parts)

    async def _result(self, operation: wire.Operation) -> bytes:
        """One encoded OperationResult."""
        name = operation.WhichOneof("operation")
        try:
            way = self._ways.get(name)
            if way is None:
                raise FieldInvalid("operation", "it is not set, or not known to this server")
            method, tagged = way
            return field(tagged, (await method(getattr(operation, name))).SerializeToString())
        except Exception as error:  # noqa: BLE001 - an operation's failure is its result, and ends nothing
            return field(_ERROR, status_for(error, f"Pipeline {name}").SerializeToString())

    async def _announce_stop(self, writer: Writer) -> None:
        await self._drain.wait()
        closing = wire.PipelineResponse(closing=closing_out(self._drain.delay_ms()))
        await writer.write(closing.SerializeToString())
        # From here on it is for the front-end to end the stream; if it does not, the grace period does.
        await asyncio.get_running_loop().create_future()


def _expected(request: wire.PipelineRequest) -> int:
    """About how many bytes of answers are held at a time: those of a run, and a frame that is put together.

    What is not large gives back little for each byte of its request.
    """
    large = sum(operation.WhichOneof("operation") in _LARGE for operation in request.operations)
    return FRAME_BYTES + request.ByteSize() + min(large, _LARGE_TOGETHER) * MESSAGES_BYTES


def _runs(operations: Sequence[wire.Operation]) -> Iterator[list[wire.Operation]]:
    """Operations that can be done together: none can see or change what one before it in its run does.

    Operations of different clients can't, nor can those that make something new. A publish reaches those whom the
    operations before it have subscribed, and a client's operations find what was published before them; publishes
    themselves keep their order.
    """
    run: list[wire.Operation] = []
    clients: set[str] = set()
    large = 0
    publishes = alone = False
    for operation in operations:
        name = operation.WhichOneof("operation")
        client_id = getattr(getattr(operation, name), "client_id", "") if name else ""
        is_publish = name == "publish" and not client_id
        is_alone = not client_id and not is_publish and name not in _NEW
        depends = (publishes or client_id in clients) if client_id else bool(clients) if is_publish else is_alone
        if run and (depends or alone or len(run) == _TOGETHER or large == _LARGE_TOGETHER):
            yield run
            run, clients, large, publishes = [], set(), 0, False
        run.append(operation)
        if client_id:
            clients.add(client_id)
        large += name in _LARGE
        publishes |= is_publish
        alone = is_alone
    if run:
        yield run
