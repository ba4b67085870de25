"""Servers that no real pixied is: streams as a test makes them up, behind a real gRPC server."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
from tests.sdk.servers import TIMEOUT

from pixied.v1 import attach_pb2, pipeline_pb2
from pixied_client import Backoff, FrontEnd

Frames: TypeAlias = AsyncIterator[Any]
Handler: TypeAlias = Callable[[Frames, Any], Frames]
Event = attach_pb2.AttachEvent

QUICK = Backoff(first=0.01, longest=0.02)
SERVICE = "pixied.v1.BackendService"


def answer_of(operation: pipeline_pb2.Operation) -> pipeline_pb2.OperationResult:
    """The empty answer of an operation, as it has to be."""
    result = pipeline_pb2.OperationResult()
    getattr(result, operation.WhichOneof("operation")).SetInParent()
    return result


async def sound_pipeline(requests: Frames, _: Any) -> Frames:
    """Answers everything with nothing."""
    async for request in requests:
        yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))


async def silent(requests: Frames, _: Any) -> Frames:
    """Reads all, and answers nothing, not even the end."""
    async for _ in requests:
        pass
    await asyncio.Event().wait()
    yield


def link(*answer: Event, attach: Callable[[int], Event] | None = None) -> Handler:
    """A link that says so after its Welcome, and then answers attaches."""

    async def handler(requests: Frames, _: Any) -> Frames:
        yield attach_pb2.AttachResponse(events=[welcome(), *answer])
        async for request in requests:
            for command in request.commands:
                if attach and command.HasField("attach"):
                    yield attach_pb2.AttachResponse(events=[attach(command.attach.handle)])
                if command.HasField("detach"):
                    yield attach_pb2.AttachResponse(events=[detached(command.detach.handle)])

    return handler


def welcome(max_commands: int = 1_000) -> Event:
    """Says that the link stands."""
    said = attach_pb2.Welcome(max_commands=max_commands)
    said.silence_limit.FromSeconds(30)
    return Event(welcome=said)


def detached(handle: int) -> Event:
    """Says that a client was given up."""
    return Event(detached=attach_pb2.Detached(handle=handle, reason=attach_pb2.DETACH_REASON_REQUESTED))


def attached(handle: int) -> Event:
    """Says that a client was attached."""
    return Event(attached=attach_pb2.Attached(handles=[handle]))


@asynccontextmanager
async def server_of(attach: Handler, pipeline: Handler = sound_pipeline) -> AsyncIterator[str]:
    """A server with these streams; gives its address."""
    handlers: dict[str, Any] = {
        "Attach": grpc.stream_stream_rpc_method_handler(
            attach, attach_pb2.AttachRequest.FromString, attach_pb2.AttachResponse.SerializeToString
        ),
        "Pipeline": grpc.stream_stream_rpc_method_handler(
            pipeline, pipeline_pb2.PipelineRequest.FromString, pipeline_pb2.PipelineResponse.SerializeToString
        ),
    }
    server = grpc.aio.server()
    server.add_registered_method_handlers(SERVICE, handlers)
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        address = f"unix://{folder}/socket"
        server.add_insecure_port(address)
        await server.start()
        try:
            yield address
        finally:
            await server.stop(0)


@asynccontextmanager
async def front_end_of(attach: Handler, pipeline: Handler = sound_pipeline, **options: Any) -> AsyncIterator[FrontEnd]:
    """A front-end of a server with these streams."""
    options = {"backoff": QUICK, "timeout": TIMEOUT, **options}
    async with server_of(attach, pipeline) as address, FrontEnd(address, "test", **options) as front_end:
        yield front_end
