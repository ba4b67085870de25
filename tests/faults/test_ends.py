"""What the end of channels, inboxes and sessions takes of Redis: no call may do more than some hundred messages' worth.

Counted, for a machine that does other things makes any time longer: what Redis itself measured is looked at roughly.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.faults.stage import Pixied, receive, running
from tests.faults.work import Work, watched
from tests.support.caller import until
from tests.support.link import RawLink, ack, attach, linked
from tests.support.redis_servers import Server, single

MESSAGES = 100_000
QUEUED = 80_000
CLIENTS = 500
# Commands, and stored messages that they may look at; the limit for messages alone is 500.
MOST_WORK = 2_000
# Seconds: `redis_timeout`. It takes some milliseconds where nothing else runs.
LONGEST = 2.0


@pytest.fixture
def store() -> Iterator[Server]:
    """A Redis."""
    with single() as server:
        yield server


@pytest.fixture
async def pair(store: Server) -> AsyncIterator[list[Pixied]]:
    """Two pixieds over it."""
    async with running(store.url, number=2) as sites:
        yield sites


async def _queue_many(pixied: Pixied, client: str) -> None:
    texts = [str(number) for number in range(QUEUED)]
    for begin in range(0, QUEUED, 1_000):
        await pixied.queue(client, "/own", *texts[begin : begin + 1_000])


@asynccontextmanager
async def _others_are_answered(pixied: Pixied) -> AsyncIterator[None]:
    """Another client goes on meanwhile, and is answered each time."""
    client = await pixied.client()
    refused: list[grpc.StatusCode] = []

    async def go_on() -> None:
        while True:
            try:
                await pixied("PingClient", client_id=client)
            except grpc.aio.AioRpcError as error:
                refused.append(error.code())
            await asyncio.sleep(0.005)

    going_on = asyncio.create_task(go_on())
    try:
        yield
        assert not refused
    finally:
        going_on.cancel()


async def _holds(pixied: Pixied, **expected: int) -> bool:
    """Whether the engine holds so much."""
    held = (await pixied("GetInfo")).holdings
    return all(getattr(held, name) == number for name, number in expected.items())


def _judge(work: Work) -> None:
    assert work.heaviest <= MOST_WORK
    assert work.longest <= LONGEST


async def test_the_last_subscriber_of_a_large_channel(store: Server, pair: list[Pixied]) -> None:
    """A channel of 100,000 messages loses its last subscriber: no call is heavy, and others are answered."""
    pixied, other = pair
    client = await pixied.client("/a")
    await pixied.publish_many("/a", [str(number) for number in range(MESSAGES)])
    async with watched(store) as work, _others_are_answered(other):
        await pixied("Unsubscribe", client_id=client, channels=["/a"])
        await until(lambda: _holds(other, messages=0, bytes=0))
    _judge(work)


async def test_a_large_inbox_that_is_confirmed(store: Server, pair: list[Pixied]) -> None:
    """An inbox of 80,000 messages is confirmed but for the last ones, and then wholly."""
    pixied, other = pair
    async with linked(pixied, window=QUEUED // 2) as link:
        client = await pixied.client()
        await _queue_many(pixied, client)
        await link.attach(client, 1)
        got = await receive(link, str(QUEUED - 1), confirm=False)
        assert len(got.texts) == QUEUED
        async with watched(store) as work, _others_are_answered(other):
            await link.send(ack(got.number - 1))
            await until(lambda: _is_smaller(other))
            await link.send(ack(got.number))
            await until(lambda: _holds(other, messages=0, bytes=0))
        _judge(work)


async def _is_smaller(pixied: Pixied) -> bool:
    messages: int = (await pixied("GetInfo")).holdings.messages
    return 0 < messages < QUEUED // 2


async def test_a_large_inbox_that_is_destroyed(store: Server, pair: list[Pixied]) -> None:
    """A client with 80,000 messages of its own is destroyed."""
    pixied, other = pair
    client = await pixied.client()
    await _queue_many(pixied, client)
    async with watched(store) as work, _others_are_answered(other):
        await pixied("DestroyClient", client_id=client)
        await until(lambda: _holds(other, messages=0, bytes=0))
    _judge(work)


async def test_many_clients_that_expire_together(store: Server, pair: list[Pixied]) -> None:
    """A front-end is gone, and with it 500 clients, each with 20 channels and messages of its own."""
    pixied, other = pair
    async with AsyncExitStack() as front_end:
        link = await front_end.enter_async_context(linked(pixied))
        for begin in range(0, CLIENTS, 25):
            await _fill(pixied, await _attached(pixied, link, range(begin, begin + 25)))
        assert await _holds(pixied, clients=CLIENTS, channels=20 * CLIENTS)
        async with watched(store) as work, _others_are_answered(other):
            await front_end.aclose()
            await until(lambda: _holds(other, clients=1, messages=0, channels=0, bytes=0))
    _judge(work)


async def _attached(pixied: Pixied, link: RawLink, numbers: Sequence[int]) -> dict[int, str]:
    """Clients of a link, by their numbers."""
    timeout = Duration(seconds=4)
    ids = await asyncio.gather(*[pixied.client(session_timeout=timeout) for _ in numbers])
    clients = dict(zip(numbers, ids, strict=True))
    await link.send(*[attach(client, number) for number, client in clients.items()])
    left = set(numbers)
    while left:
        event = await link.event()
        left -= set(event.attached.handles)
    return clients


async def _fill(pixied: Pixied, clients: dict[int, str]) -> None:
    texts = [str(number) for number in range(20)]

    async def fill(number: int, client: str) -> None:
        patterns = [f"/{number}/{one}" for one in range(20)]
        await pixied("Subscribe", client_id=client, channels=patterns)
        await pixied.publish(patterns[0], *texts)
        await pixied.queue(client, "/own", *texts)

    await asyncio.gather(*[fill(number, client) for number, client in clients.items()])
