"""CPU time of a message with the Redis engine, by process: the costs that docs/scaling.md reckons with.

`python -m tests.bench.costs` prints them. CPU time and not wall time, so the machine need not be quiet, but it helps.
"""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from redis import Redis
from tests.bench.messages import texts
from tests.bench.processes import PATIENT, pixied, redis
from tests.bench.raw_front_end import Streams, frames_of, results_of, streams, subscribed
from tests.bench.tally import CheckFailed

from pixied.v1 import attach_pb2 as attach
from pixied.v1 import message_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline

__all__ = ["Cost", "cost_of_a_message"]

SUBSCRIBERS = 10
AHEAD = 16
MESSAGES = 20_000
# Rooms, messages in a frame, pixied with members of all rooms.
CASES = ((1, 1, 1), (1, 10, 1), (1, 100, 1), (100, 10, 1), (100, 10, 4), (100, 100, 1))
# What a frame costs that is read or written, by docs/scaling.md. Front-ends of another size have other frames.
FRAME = 51e-6


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU time for a message, without the frames.

    Attributes:
        publish: of the pixied that takes it in.
        hear: of each pixied that has it in a delivery.
        redis: of the Redis.
        calls: of the Redis, for a message.
    """

    publish: float
    hear: float
    redis: float
    calls: float


async def cost_of_a_message(messages: int, *, rooms: int, gathered: int, hearers: int) -> Cost:
    """Publish through one pixied what is delivered through others.

    Args:
        messages: so many, each with an idempotency key as the SDKs send it.
        rooms: the channels that they go to, in turns.
        gathered: so many are in a frame.
        hearers: so many pixied have subscribers.
    """
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(redis())
        store = stack.enter_context(Redis(unix_socket_path=path))
        flags = (*PATIENT, "--engine", f"unix://{path}?db=0")
        opening = (stack.enter_async_context(pixied(*flags)) for _ in range(1 + hearers))
        taking, *hearing = await asyncio.gather(*opening)
        front_end = await stack.enter_async_context(streams(taking.address))
        links = [await stack.enter_async_context(streams(server.address)) for server in hearing]
        for link in links:
            await link.hello()
            await link.attach(await _members(link, rooms))
        # What is made once has been made.
        await _deliver(front_end, links, _messages(messages // 10, rooms), gathered)
        pids = [store.info("server")["process_id"], *(_pid(server.process) for server in (taking, *hearing))]
        store.config_resetstat()
        before = [_cpu(pid) for pid in pids]
        frames = await _deliver(front_end, links, _messages(messages, rooms), gathered)
        spent = [_cpu(pid) - was for pid, was in zip(pids, before, strict=True)]
        calls = store.info("commandstats")["cmdstat_evalsha"]["calls"]
    in_store, in_taking, *in_hearing = spent
    publish = in_taking - 2 * messages / gathered * FRAME
    hear = sum(in_hearing) - sum(frames) * FRAME
    return Cost(publish / messages, hear / messages / hearers, in_store / messages, calls / messages)


async def _members(front_end: Streams, rooms: int) -> list[str]:
    ids = await subscribed(front_end, [_room(0)] * SUBSCRIBERS)
    channels = [_room(number) for number in range(rooms)]
    subscribes = [pipeline.Operation(subscribe=ops.SubscribeRequest(client_id=one, channels=channels)) for one in ids]
    for result in results_of(await front_end.ask(frames_of(subscribes, 1))):
        if len(result.subscribe.added) != rooms - 1:
            raise CheckFailed("a client was not subscribed")
    return ids


def _room(number: int) -> str:
    return f"/cost/of/room{number}"


def _messages(count: int, rooms: int) -> list[wire.Message]:
    return [
        wire.Message(channel=_room(number % rooms), data=text, idempotency_key=uuid4().hex)
        for number, text in enumerate(texts(count))
    ]


async def _deliver(
    front_end: Streams, links: Sequence[Streams], messages: Sequence[wire.Message], gathered: int
) -> list[int]:
    """Returns how many frames came and went on each link."""
    receiving = [asyncio.create_task(_receive(link, messages)) for link in links]
    publishes = (pipeline.Operation(publish=ops.PublishRequest(messages=[message])) for message in messages)
    await front_end.ask(frames_of(publishes, gathered), AHEAD)
    return await asyncio.gather(*receiving)


async def _receive(link: Streams, messages: Sequence[wire.Message]) -> int:
    """Each room's messages have to come to all its members, in order."""
    due: defaultdict[str, deque[str]] = defaultdict(deque)
    for message in messages:
        due[message.channel].append(message.data)
    left, frames = len(messages), 0
    while left:
        frame = attach.AttachResponse.FromString(await link.link.read())
        frames += 2  # it is confirmed by another
        for event in frame.events:
            for batch in event.delivery.batches:
                left -= len(batch.messages)
                if len(batch.handles) != SUBSCRIBERS or any(
                    message.data != due[message.channel].popleft() for message in batch.messages
                ):
                    raise CheckFailed("a delivery was not its room's next message")
            if event.HasField("delivery"):
                link.ack(event.delivery.number)
    return frames


def _pid(process: Process) -> int:
    return process.pid


def _cpu(pid: int) -> float:
    """Seconds that a process has had of a core, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _main() -> None:
    for rooms, gathered, hearers in CASES:
        cost = await cost_of_a_message(MESSAGES, rooms=rooms, gathered=gathered, hearers=hearers)
        sys.stdout.write(
            f"{rooms:3} rooms, {gathered:3} to a frame, {hearers} hear: {1e6 * cost.publish:5.1f} us taken in, "
            f"{1e6 * cost.hear:5.1f} us heard by each, {1e6 * cost.redis:5.1f} us of Redis in {cost.calls:.2f} calls\n"
        )


if __name__ == "__main__":
    asyncio.run(_main())
