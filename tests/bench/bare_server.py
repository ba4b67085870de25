"""The limit of the stack: grpc.aio handlers that do nothing but move frames. What no server on it can beat.

It has pixied's transport settings, and like pixied's its streams take and give bytes. A stream's metadata names a
recording of pixied's own traffic (see `recording`): for each frame that comes, the ones that pixied answered with go
out, ready-made.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
from tests.bench.recording import RECORDING, Recording

from pixied.v1 import operations_pb2 as ops
from pixied_server.rpc.server import Transport

SERVICE = "pixied.v1.BackendService"
Context = grpc.aio.ServicerContext


class Replay:
    """Streams that play recordings; the Attach stream sends what follows from what the Pipeline stream has taken."""

    def __init__(self) -> None:
        self._recordings: dict[str, Recording] = {}
        self._taken = 0
        self._news = asyncio.Event()

    def _recording(self, context: Context) -> Recording:
        name = dict(context.invocation_metadata())[RECORDING]
        if name not in self._recordings:
            self._recordings[name] = Recording.load(Path(name))
        return self._recordings[name]

    async def pipeline(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answer each frame."""
        answers = self._recording(context).answers
        self._taken = 0
        async for _ in requests:
            self._taken += 1
            self._news.set()
            await context.write(answers[self._taken - 1])

    async def attach(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Send all deliveries, each as soon as the Pipeline frames before it have come; confirmations are only read."""
        deliveries = self._recording(context).deliveries
        if await anext(requests, None) is None:
            return
        acks = asyncio.create_task(_drain(requests))
        for after, frame in deliveries:
            while self._taken < after:
                self._news.clear()
                await self._news.wait()
            await context.write(frame)
        await acks


async def _drain(requests: AsyncIterator[bytes]) -> None:
    async for _ in requests:
        pass


def get_client(
    answer: ops.GetClientResponse,
) -> Callable[[ops.GetClientRequest, Context], Awaitable[ops.GetClientResponse]]:
    """An empty handler with GetClient's messages."""

    async def handle(request: ops.GetClientRequest, context: Context) -> ops.GetClientResponse:
        del request, context
        return answer

    return handle


async def serve(address: str, answer: ops.GetClientResponse) -> None:
    """Serve for ever."""
    server = grpc.aio.server(options=Transport([address], 16 << 20, 1_000).options)
    replay = Replay()
    handlers = {
        "Pipeline": grpc.stream_stream_rpc_method_handler(replay.pipeline),
        "Attach": grpc.stream_stream_rpc_method_handler(replay.attach),
        "GetClient": grpc.unary_unary_rpc_method_handler(
            get_client(answer), ops.GetClientRequest.FromString, ops.GetClientResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(address)
    await server.start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(
        serve(sys.argv[1], ops.GetClientResponse.FromString(bytes.fromhex(sys.argv[2]) if len(sys.argv) > 2 else b""))
    )
