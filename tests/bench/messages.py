"""Messages through a front-end of bare streams: published on the one, taken, checked and confirmed on the other."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from tests.bench.raw_front_end import Streams, frames_of
from tests.bench.recording import Recording
from tests.bench.tally import Tally

from pixied.v1 import attach_pb2 as attach
from pixied.v1 import message_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline

__all__ = ["deliver", "texts"]

BYTES = 200
# Publishes that a busy front-end's SDK gathers into one frame, and frames that are under way at once.
GATHERED = 10
AHEAD = 16


def texts(count: int) -> list[str]:
    """So many different messages, each 200 bytes of JSON."""
    return [f'"{number:010}{"x" * (BYTES - 12)}"' for number in range(count)]


async def deliver(
    front_end: Streams, channel: str, data: Sequence[str], subscribers: int, recording: Recording | None = None
) -> float:
    """Publish messages to the attached subscribers, and take and confirm all deliveries, each checked.

    Args:
        front_end: has so many subscribers of the channel attached, with handles from 0 on.
        channel: where to publish.
        data: the messages.
        subscribers: how many.
        recording: is filled with what came.

    Returns:
        Seconds from the first publish to the last delivery.

    Raises:
        CheckFailed: a delivery was not its subscriber's next message.
    """
    frames = frames_of((_published(channel, text) for text in data), GATHERED)
    tally = Tally(data, subscribers)
    recording = recording or Recording()
    begun = perf_counter()
    receiving = asyncio.create_task(_receive(front_end, tally, recording))
    recording.answers = await front_end.ask(frames, AHEAD)
    await receiving
    return perf_counter() - begun


async def _receive(front_end: Streams, tally: Tally, recording: Recording) -> None:
    while not tally.complete:
        frame = await front_end.link.read()
        for event in attach.AttachResponse.FromString(frame).events:
            if event.HasField("delivery"):
                for batch in event.delivery.batches:
                    tally.take(batch)
                front_end.ack(event.delivery.number)
        recording.deliveries.append((-(-tally.count // GATHERED), frame))


def _published(channel: str, text: str) -> pipeline.Operation:
    return pipeline.Operation(publish=ops.PublishRequest(messages=[wire.Message(channel=channel, data=text)]))
