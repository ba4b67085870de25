"""A front-end of bare streams: the least work that a load can do, so that what is measured is the server.

It moves bytes. The frames it sends can be made before the clock runs, and what comes is checked by `tally`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from tests.bench.recording import RECORDING

from pixied.v1 import attach_pb2 as attach
from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline

__all__ = ["Streams", "frames_of", "results_of", "streams", "subscribed"]

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_PATH = "/pixied.v1.BackendService/"
WINDOW = 64


class Streams:
    """The two streams of a front-end, in encoded frames.

    Args:
        channel: the connection.
        recording: names what a bare server shall play; pixied looks at no such thing.
    """

    def __init__(self, channel: grpc.aio.Channel, recording: str) -> None:
        metadata = ((RECORDING, recording),)
        self.pipeline: Any = channel.stream_stream(f"{_PATH}Pipeline")(metadata=metadata)
        self.link: Any = channel.stream_stream(f"{_PATH}Attach")(metadata=metadata)
        self._received = 0
        self._news = asyncio.Event()

    async def ask(self, frames: Sequence[bytes], ahead: int = 8) -> list[bytes]:
        """Send Pipeline frames, so many ahead of their answers. Returns the answers, one for each frame."""
        room = asyncio.Semaphore(ahead)

        async def send() -> None:
            for frame in frames:
                await room.acquire()
                await self.pipeline.write(frame)

        sending = asyncio.create_task(send())
        answers = []
        for _ in frames:
            answers.append(await self.pipeline.read())
            room.release()
        await sending
        return answers

    async def hello(self) -> None:
        """Open the link."""
        await self.tell(attach.AttachCommand(hello=attach.Hello(front_end="bench", window=WINDOW)))

    async def tell(self, *commands: attach.AttachCommand) -> None:
        """Send commands on the link."""
        await self.link.write(attach.AttachRequest(commands=commands).SerializeToString())

    async def attach(self, client_ids: Sequence[str]) -> None:
        """Attach clients, with handles from 0 on, and wait until all are."""
        for start in range(0, len(client_ids), 1_000):
            part = enumerate(client_ids[start : start + 1_000], start)
            await self.tell(
                *(
                    attach.AttachCommand(attach=attach.AttachClient(client_id=one, handle=handle))
                    for handle, one in part
                )
            )
        attached = 0
        while attached < len(client_ids):
            frame = attach.AttachResponse.FromString(await self.link.read())
            attached += sum(len(event.attached.handles) for event in frame.events)

    def ack(self, number: int) -> None:
        """Confirm deliveries; what collects while one confirmation is written goes into the next."""
        self._received = number
        self._news.set()

    async def confirm(self) -> None:
        """Write confirmations, until cancelled. gRPC ends a call whose write is cancelled, so that is for its end."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.tell(attach.AttachCommand(ack=attach.Ack(number=self._received)))


@asynccontextmanager
async def streams(address: str, recording: str = "") -> AsyncIterator[Streams]:
    """The streams of a front-end, as long as the context lasts."""
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        made = Streams(channel, recording)
        confirming = asyncio.create_task(made.confirm())
        try:
            yield made
        finally:
            confirming.cancel()
            # A server that was left without a word would complain.
            with suppress(grpc.aio.BaseError, asyncio.InvalidStateError, asyncio.CancelledError):
                await made.pipeline.done_writing()
                await made.link.done_writing()
                await made.link.read()
            made.pipeline.cancel()
            made.link.cancel()


def frames_of(operations: Iterable[pipeline.Operation], size: int) -> list[bytes]:
    """Encoded Pipeline frames of so many operations each."""
    every = list(operations)
    return [
        pipeline.PipelineRequest(operations=every[at : at + size]).SerializeToString()
        for at in range(0, len(every), size)
    ]


def results_of(answers: Iterable[bytes]) -> Iterator[pipeline.OperationResult]:
    """The results in encoded answers."""
    for answer in answers:
        yield from pipeline.PipelineResponse.FromString(answer).results


async def subscribed(front_end: Streams, patterns: Sequence[str], *, timeout: int = 3_600) -> list[str]:
    """Create a client for each pattern and subscribe it. Returns their ids.

    Raises:
        RuntimeError: one was refused.
    """
    create = pipeline.Operation(create_client=ops.CreateClientRequest())
    create.create_client.session_timeout.seconds = timeout
    answers = await front_end.ask(frames_of([create] * len(patterns), 1_000))
    ids = [result.create_client.client.client_id for result in results_of(answers)]
    subscribes = (
        pipeline.Operation(subscribe=ops.SubscribeRequest(client_id=client_id, channels=[pattern]))
        for client_id, pattern in zip(ids, patterns, strict=True)
    )
    results = results_of(await front_end.ask(frames_of(subscribes, 1_000)))
    if not all(list(result.subscribe.added) == [pattern] for result, pattern in zip(results, patterns, strict=True)):
        raise RuntimeError("a client was not subscribed")
    return ids
