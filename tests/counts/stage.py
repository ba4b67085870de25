"""All of a server but gRPC: frames come in as bytes and go out as bytes."""

from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

from tests.engine.benches import Limits
from tests.support.turns import endless
from tests.support.writing import Written, writer_to

from pixied.v1 import message_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline
from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import AttachTerms, Link, LinkLimits
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.memory import MemoryEngine
from pixied_server.rpc.checks import RequestLimits, Validator
from pixied_server.rpc.frames import attach_frames
from pixied_server.rpc.operations import Operations
from pixied_server.rpc.pipeline import PipelineServicer

__all__ = ["CHANNEL", "Stage"]

CHANNEL = "/a/b"
_PLENTY = Limits(clients=100_000, log_messages=100_000, log_bytes=1 << 26, total_bytes=1 << 29).of_engine
_REQUESTS = RequestLimits(60.0, 0.1, 3_600.0, 1 << 20, 1_000, 300.0)


class _Answers(Written):
    """Stands for the call: keeps what is written."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    async def write(self, frame: bytes) -> None:
        """Keep a frame."""
        self.frames.append(frame)


class Stage:
    """A server whose time stands still."""

    def __init__(self) -> None:
        self.engine = MemoryEngine(_PLENTY, lambda: 1_000.0, turns=endless())
        self.hub = Hub(self.engine, Watchers(10), lambda: 1_000.0, endless())
        drain = Drain(1.0, lambda: None, Random(1))
        operations = Operations(self.hub, Validator(Grammar(), _REQUESTS), drain, may_wait=False)
        self._pipeline = PipelineServicer(operations, self.engine, drain, 1_000)

    async def subscribed(self, count: int, pattern: str = CHANNEL) -> list[str]:
        """So many clients, each with one subscription; `{}` in it is a number of its own."""
        ids = [(await self.engine.create_client(60.0, {})).client_id for _ in range(count)]
        for number, client_id in enumerate(ids):
            await self.engine.subscribe(client_id, [pattern.format(number)])
        return ids

    async def link(self, client_ids: Sequence[str]) -> Link:
        """A link with these clients, all live."""
        link = Link(self.hub, "front", 65_536, LinkLimits())
        for handle, client_id in enumerate(client_ids):
            await link.attach(client_id, handle, AttachTerms(explicit=False, expires=False, cursor=0))
        while link.ready:
            await link.take()
        return link

    async def publish(self, count: int, *, at_once: int = 1) -> list[bytes]:
        """Publish messages through a Pipeline, so many in a frame. Returns the frames of answers."""
        operation = pipeline.Operation(
            publish=ops.PublishRequest(messages=[wire.Message(channel=CHANNEL, data='"hi"')])
        )
        frame = pipeline.PipelineRequest(operations=[operation] * at_once).SerializeToString()
        answers: Any = _Answers()
        await self._pipeline.pipeline(_given([frame] * (count // at_once)), writer_to(answers))
        return list(answers.frames)

    async def sent(self, link: Link) -> list[bytes]:
        """What a link sends now, in encoded frames; confirmed at once."""
        frames: list[bytes] = []
        while link.ready:
            frames += attach_frames(await link.take())
            await link.ack(link.ledger.number)
        return frames


async def _given(frames: Sequence[bytes]) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame
