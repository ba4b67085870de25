"""Callers that stop reading: what they hold is bounded, their streams end, and nobody else notices."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2 as health
from tests.faults.stage import Pixied, running
from tests.support.caller import Caller, until, within
from tests.support.contract import path_of
from tests.support.link import RawLink, attach, linked
from tests.support.redis_servers import Server, single

from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2

# Nearly a megabyte, which no window of the slow caller's takes.
_LARGE = "x" * 900_000
_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.lookahead_bytes", 65_535),
    ("grpc.http2.bdp_probe", 0),
]
_NEVER = ("--write-timeout", "1h")
_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def engine(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """An engine, and its flags."""
    if request.param == "memory":
        return ("memory",)
    return (request.getfixturevalue("store").url, "--redis-prefix", f"unread{next(_names)}")


@asynccontextmanager
async def _one(engine: tuple[str, ...], *flags: str) -> AsyncIterator[tuple[Pixied, Caller]]:
    """A pixied, and a caller with a connection of its own that reads nothing unless a test does."""
    more = ("--listen", "127.0.0.1:0", "--log-format", "json", *flags)
    async with running(*engine, *more) as [pixied]:
        # It takes connections before it says where.
        await until(partial(_said, pixied, "listening"))
        [said] = [one for one in _log(pixied) if one["event"] == "listening"]
        [address] = [one for one in said["addresses"] if not one.startswith("unix:")]
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            yield pixied, Caller(channel)


def _log(pixied: Pixied) -> list[dict[str, Any]]:
    whole, _, _ = pixied.server.log.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


async def _said(pixied: Pixied, what: str) -> bool:
    return any(one["event"].startswith(what) for one in _log(pixied))


async def _with_message(pixied: Pixied, number: int = 1) -> list[str]:
    """So many clients, each with a large message pending."""
    clients = [await pixied.client("/a") for _ in range(number)]
    await pixied.publish("/a", _LARGE)
    return clients


def _unread(caller: Caller, rpc: str, request: Any) -> Any:
    """Begin a call whose answer stays with the server; gRPC's clients read unary answers by themselves."""
    return caller.channel.unary_stream(path_of(rpc))(request.SerializeToString())


def _no_errors(pixied: Pixied) -> None:
    assert [one for one in _log(pixied) if one["level"] in {"error", "critical"}] == []


async def _holds(pixied: Pixied, **expected: int) -> bool:
    held = (await pixied("GetInfo")).holdings
    return all(getattr(held, name) == number for name, number in expected.items())


async def test_a_deliver_that_is_not_received_ends_and_its_messages_are_kept(engine: tuple[str, ...]) -> None:
    """Its client is free for others, who get the message again, marked; and it is told why when it reads again."""
    async with _one(engine, "--write-timeout", "200ms") as (pixied, slow):
        [alice] = await _with_message(pixied)
        stream = slow.stream("Deliver", client_id=alice)
        await until(lambda: pixied.is_held_by(alice, "Deliver"))
        await until(lambda: pixied.is_held_by(alice, ""))
        answer = await pixied("DequeueFor", client_id=alice)
        assert ([json.loads(one.data) for one in answer.messages], answer.redelivered) == ([_LARGE], 1)
        async with within():
            assert len((await stream.read()).messages) == 1
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "were not received within 0.2 s" in str(caught.value.details())
        _no_errors(pixied)


async def test_a_link_that_is_not_received_ends_and_its_clients_are_free(engine: tuple[str, ...]) -> None:
    """Though its front-end sends, and answers pings."""
    async with _one(engine, "--write-timeout", "200ms") as (pixied, slow):
        [alice] = await _with_message(pixied)
        async with linked(slow) as link:
            await link.send(attach(alice, 1))
            await until(lambda: _holds(pixied, links=1, attached_clients=1))
            await until(lambda: _holds(pixied, links=0, attached_clients=0))
            assert await pixied.taken(alice) == [_LARGE]
            with pytest.raises(grpc.aio.AioRpcError, match="were not received"):
                await _read_to_the_end(link)
        _no_errors(pixied)


async def _read_to_the_end(link: RawLink) -> None:
    while True:
        await link.event()


async def test_streams_that_are_not_received_do_not_hold_up_a_stop(engine: tuple[str, ...]) -> None:
    """Deliver, Attach, Pipeline, Watch, health checks: none is waited for until the grace is over."""
    async with _one(engine, "--write-timeout", "200ms", "--grace", "1h") as (pixied, slow):
        alice, bob, carol = await _with_message(pixied, 3)
        watch = slow.stream("Watch")
        assert await watch.read()
        stub = slow.channel.unary_stream("/grpc.health.v1.Health/Watch")
        healths = [stub(health.HealthCheckRequest().SerializeToString()) for _ in range(10)]
        deliver = slow.stream("Deliver", client_id=alice)
        pipeline = slow.both_ways("Pipeline")
        operation = pipeline_pb2.Operation(dequeue_for=ops.DequeueForRequest(client_id=bob))
        await pipeline.write(pipeline_pb2.PipelineRequest(operations=[operation]).SerializeToString())
        async with linked(slow) as link:
            await link.send(attach(carol, 1))
            channels = [f"/{number}/{'x' * 200}" for number in range(900)]
            await pixied("Subscribe", client_id=alice, channels=channels)
            assert await asyncio.to_thread(pixied.server.stop) == 0
        for call in (watch, deliver, pipeline, *healths):
            call.cancel()
        _no_errors(pixied)


async def test_a_connection_has_so_much_unread_and_others_have_their_room(engine: tuple[str, ...]) -> None:
    """Of 30 answers it leaves unread a few are built; the messages of the others stay where they are."""
    limits = ("--max-write-bytes-per-connection", "4MiB", *_NEVER)
    async with _one(engine, *limits) as (pixied, slow):
        clients = await _with_message(pixied, 30)
        calls = [_unread(slow, "DequeueFor", ops.DequeueForRequest(client_id=one)) for one in clients]
        built = 0
        while built < 2:
            built = sum([await _pending(pixied, one) == 0 for one in clients])
        got = [await pixied.taken(one) for one in clients]
        assert 2 <= got.count([]) <= 3
        assert got.count([_LARGE]) == 30 - got.count([])
        # What was built is there as soon as it is read.
        async with within():
            read = await asyncio.gather(*[call.read() for call in calls], return_exceptions=True)
        received = [ops.DequeueForResponse.FromString(one) for one in read if isinstance(one, bytes) and one]
        assert len(received) == got.count([])


async def _pending(pixied: Pixied, client: str) -> int:
    pending: int = (await pixied("GetClient", client_id=client)).client.pending
    return pending


async def test_with_no_room_at_all_who_has_most_is_cut(engine: tuple[str, ...]) -> None:
    """Who reads gets its answer; the connection that reads nothing is gone, and what it held."""
    limits = ("--max-write-bytes", "4MiB", "--max-write-bytes-per-connection", "4MiB", "--write-timeout", "6s")
    async with _one(engine, *limits) as (pixied, slow):
        *clients, last = await _with_message(pixied, 5)
        calls = [_unread(slow, "DequeueFor", ops.DequeueForRequest(client_id=one)) for one in clients]
        while sum([await _pending(pixied, one) == 0 for one in clients]) < 2:  # it is asked each time
            pass
        assert await pixied.taken(last) == [_LARGE]
        async with within():
            codes = await asyncio.gather(*[call.code() for call in calls])
        assert grpc.StatusCode.UNAVAILABLE in codes
        await until(partial(_said, pixied, "connection cut"))
        _no_errors(pixied)


async def test_who_reads_again_in_time_gets_everything(engine: tuple[str, ...]) -> None:
    """However slow: a stream goes on where it was."""
    async with _one(engine, *_NEVER) as (pixied, slow):
        [alice] = await _with_message(pixied)
        stream = slow.stream("Deliver", client_id=alice)
        await until(lambda: pixied.is_held_by(alice, "Deliver"))
        for number in range(5):
            await pixied.publish("/a", f"{number}{_LARGE}")
        received: list[str] = []
        async with within():
            while len(received) < 6:
                received += [json.loads(one.data) for one in (await stream.read()).messages]
        assert received == [_LARGE, *(f"{number}{_LARGE}" for number in range(5))]
        stream.cancel()


@pytest.mark.parametrize("rpc", ["DequeueFor", "Deliver"])
async def test_who_goes_while_it_is_written_to_is_no_error(engine: tuple[str, ...], rpc: str) -> None:
    """Nothing in the log, and no traceback: 20 times."""
    async with _one(engine, *_NEVER) as (pixied, slow):
        for _ in range(20):
            [alice] = await _with_message(pixied)
            delivered = await _delivered(pixied)
            call = _unread(slow, rpc, ops.DequeueForRequest(client_id=alice))
            await until(partial(_delivers, pixied, delivered))
            call.cancel()
            await pixied("DestroyClient", client_id=alice)
        assert await asyncio.to_thread(pixied.server.stop) == 0
        _no_errors(pixied)


async def _delivered(pixied: Pixied) -> int:
    """How many messages were handed out so far."""
    counters = (await pixied("GetInfo")).counters
    return int(counters.delivered + counters.redelivered)


async def _delivers(pixied: Pixied, before: int) -> bool:
    return await _delivered(pixied) > before
