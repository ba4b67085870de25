"""A planned stop loses nothing: health tells it, every stream is told, what is under way is finished."""

import asyncio
import signal
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2 as health
from grpc_health.v1 import health_pb2_grpc
from tests.sdk.servers import running_server
from tests.support.caller import Caller, until, within
from tests.support.link import attach, linked
from tests.support.refusals import refusal_in, refused
from tests.support.site import Site, serving

from pixied.v1 import operations_pb2, pipeline_pb2
from pixied.v1.message_pb2 import ACK_MODE_EXPLICIT, Closing

_LARGE = f'"{"x" * 900_000}"'
_FEW = 5


async def _closing(stream: Any) -> Closing:
    """Read a stream until it says that it closes; gives what it said."""
    async with within():
        while not (frame := await stream.read()).HasField("closing"):
            pass
    closing: Closing = frame.closing
    return closing


async def _drain(site: Site, **fields: Any) -> int:
    streams: int = (await site("Drain", **fields)).streams
    return streams


async def test_every_stream_is_told_when_to_come_back(site: Site) -> None:
    """Drain answers how many streams there were; each gets `closing` with a delay of its own within 2 s."""
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(linked(site)) for _ in range(_FEW)]
        watchers = [site.stream("Watch") for _ in range(_FEW)]
        delivers = [site.stream("Deliver", client_id=await site.client()) for _ in range(_FEW)]
        pipelines = [site.both_ways("Pipeline") for _ in range(_FEW)]
        for stream in (*watchers, *delivers):
            await stream.read()
        for stream in pipelines:
            await _done_in(stream)
        assert await _drain(site) == 4 * _FEW
        told = [await link.next("closing") for link in links]
        told += [await _closing(stream) for stream in (*watchers, *delivers, *pipelines)]
        assert {one.reason for one in told} == {"the server is shutting down"}
        delays = [one.reconnect_after_ms for one in told]
        assert max(delays) <= 2_000
        assert len(set(delays)) > 1
        for stream in (*watchers, *delivers):
            assert not await stream.read()
        for link in links:
            await link.end()
        for stream in pipelines:
            await stream.done_writing()
            assert not await stream.read()
        async with within():
            await asyncio.wait((site.ended,))
    site.ended.result()


async def _done_in(pipeline: Any, **fields: Any) -> pipeline_pb2.OperationResult:
    """Carry out one operation in a pipeline; by default one that does nothing."""
    fields = fields or {"ping_client": operations_pb2.PingClientRequest(client_id="nobody")}
    operation = pipeline_pb2.Operation(**fields)
    await pipeline.write(pipeline_pb2.PipelineRequest(operations=[operation]).SerializeToString())
    while True:
        frame = await pipeline.read()
        if frame.results:
            result: pipeline_pb2.OperationResult = frame.results[0]
            return result


async def test_a_draining_server_takes_on_nothing_new(site: Site) -> None:
    """New sessions, attaches and streams are refused with DRAINING and RetryInfo, and take no client from anyone."""
    alice, bob = await site.client("/a"), await site.client()
    async with linked(site) as link:
        await link.attach(alice, 1)
        await _drain(site)
        await link.next("closing")
        await link.send(attach(bob, 2))
        refusals = [refusal_in((await link.next("attach_failed")).error)]
        for rpc, fields in (("CreateClient", {}), ("DequeueFor", {"client_id": alice})):
            refusals.append(await refused(site(rpc, **fields)))
        assert {(one.code, one.reason) for one in refusals} == {("UNAVAILABLE", "DRAINING")}
        assert all(one.retry_after for one in refusals)
        assert (await site("GetClient", client_id=alice)).client.front_end == "test"


@pytest.mark.parametrize("rpc", ["Deliver", "Watch", "Attach", "Pipeline"])
async def test_a_draining_server_opens_no_stream(site: Site, rpc: str) -> None:
    """Who opens one learns DRAINING instead of a stream that ends at once."""
    alice = await site.client()
    async with linked(site) as link:
        await link.attach(alice, 1)
        await _drain(site)
        if rpc in {"Deliver", "Watch"}:
            opening = site.stream(rpc, client_id=alice).read()
        else:
            opening = site.both_ways(rpc).read()
        async with within():
            refusal = await refused(opening)
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DRAINING")
        assert (await site("GetClient", client_id=alice)).client.front_end == "test"


async def test_a_draining_server_finishes_what_is_under_way(site: Site) -> None:
    """Publishes, acks and subscriptions of links and pipelines that are still open are carried out."""
    alice = await site.client("/a")
    pipeline = site.both_ways("Pipeline")
    await _done_in(pipeline)
    async with linked(site) as link:
        await link.attach(alice, 1)
        await _drain(site)
        await link.next("closing")
        publish = operations_pb2.PublishRequest(messages=[{"channel": "/a", "data": "1"}])
        assert (await _done_in(pipeline, publish=publish)).publish.results[0].matched_subscriptions == 1
        assert await link.messages(1, 1) == ["1"]
        await link.end()
    pipeline.cancel()


async def test_sessions_end_in_time_during_a_stop(site: Site) -> None:
    """However long it takes for streams to end."""
    async with linked(site):
        await site.client(session_timeout=Duration(nanos=200_000_000))
        await _drain(site, grace=Duration(seconds=60))

        async def has_expired() -> bool:
            return bool((await site("GetInfo")).counters.clients_expired == 1)

        await until(has_expired)


async def test_draining_twice_is_draining_once(site: Site) -> None:
    """Streams are told once; the second call can only change the grace."""
    async with linked(site) as link:
        await _drain(site)
        await _drain(site)
        await link.next("closing")
        await link.call.done_writing()
        with pytest.raises(EOFError):
            await link.event()
    async with within():
        await asyncio.wait((site.ended,))


async def test_a_later_drain_may_shorten_the_grace() -> None:
    """Who has named too long a grace, or none, need not wait for it to be over."""
    async with serving(grace=3_600) as site, linked(site) as link:
        await _drain(site)
        await link.next("closing")
        await _drain(site, grace=Duration(nanos=1_000_000))
        async with within():
            await asyncio.wait((site.ended,))


async def test_streams_that_do_not_end_are_cut_when_the_grace_is_over() -> None:
    """The grace that Drain names is the whole of it: half of it more is too much."""
    grace = 1.0
    async with serving(grace=60) as site, linked(site) as link:
        began = monotonic()
        await _drain(site, grace=Duration(seconds=int(grace)))
        await link.next("closing")
        async with within():
            await asyncio.wait((site.ended,))
        took = monotonic() - began
        assert grace <= took < 2 * grace


async def test_a_waiting_dequeue_is_answered_when_the_stop_begins(site: Site) -> None:
    """Nothing will come any more: its answer is empty and OK, instead of an error at the end of the grace."""
    alice = await site.client("/a")
    polling = asyncio.create_task(site.taken(alice, wait=Duration(seconds=60)))
    await until(lambda: site.is_held_by(alice, "DequeueFor"))
    await site("Drain")
    async with within():
        assert await polling == []


# A stream whose client has stopped reading has a write that is under way when the stop begins.


async def test_a_stop_reaches_a_deliver_whose_reader_was_slow(site: Site) -> None:
    """All that it had been sent arrives, then `closing`."""
    alice = await site.client("/a")
    stream = site.stream("Deliver", client_id=alice, ack_mode=ACK_MODE_EXPLICIT)
    await stream.read()
    await _publish_until_stuck(site, alice)
    await _drain(site)
    assert (await _closing(stream)).reason


async def test_a_stop_reaches_a_pipeline_whose_reader_was_slow(site: Site) -> None:
    """All results arrive, and `closing` among them."""
    alice = await site.client("/a")
    await site.publish("/a", _LARGE)
    stream = site.both_ways("Pipeline")
    take = {"dequeue_for": {"client_id": alice, "ack_mode": ACK_MODE_EXPLICIT}}
    await stream.write(pipeline_pb2.PipelineRequest(operations=[take] * 20).SerializeToString())
    await _settled(site)
    await _drain(site)
    results, closings = 0, 0
    async with within():
        while results < 20 or not closings:
            frame = await stream.read()
            results, closings = results + len(frame.results), closings + frame.HasField("closing")
    assert (results, closings) == (20, 1)
    stream.cancel()


async def test_a_stop_reaches_a_watcher_that_was_slow(site: Site) -> None:
    """Its last answer is `closing`."""
    stream = site.stream("Watch")
    await stream.read()
    # More than the connection and the watcher's buffer take.
    for _ in range(40):
        await site.publish("/a" * 30, *["1"] * 1_000, id="x" * 200)
    await _settled(site)
    await _drain(site)
    assert (await _closing(stream)).reason


async def _publish_until_stuck(site: Site, client_id: str) -> None:
    """Publish more than a connection takes in whose reader does not read."""
    for _ in range(20):
        await site.publish("/a", _LARGE)
    assert (await site("GetClient", client_id=client_id)).client.pending == 20
    await _settled(site)


async def _settled(site: Site) -> None:
    """Wait until the server hands out nothing more."""
    before = -1
    while before != (before := (await site("GetInfo")).counters.delivered):  # noqa: ASYNC110 - no one tells
        await asyncio.sleep(0.1)  # a time in which something would be handed out if anything could be


async def test_sigterm_stops_a_process_as_drain_does() -> None:
    """Health NOT_SERVING, `closing` on every stream, a waiting DequeueFor answered, exit code 0."""
    with running_server() as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            caller = Caller(channel)
            watching = health_pb2_grpc.HealthStub(channel).Watch(health.HealthCheckRequest())  # type: ignore[no-untyped-call]
            alice, bob = await caller.client("/a"), await caller.client("/a")
            stream = caller.stream("Deliver", client_id=alice)
            await stream.read()
            async with linked(caller) as link:
                await link.attach(bob, 1)
                assert (await watching.read()).status == health.HealthCheckResponse.SERVING
                exiting = asyncio.create_task(asyncio.to_thread(server.stop))
                assert await link.next("closing")
                assert (await _closing(stream)).reconnect_after_ms <= 2_000
                assert (await watching.read()).status == health.HealthCheckResponse.NOT_SERVING
                watching.cancel()
                await link.end()
            async with within():
                assert await exiting == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_both_signals_begin_the_stop(site: Site, number: signal.Signals) -> None:
    """Ctrl-C in a terminal is as gentle as an operator's SIGTERM."""
    signal.raise_signal(number)
    async with within():
        await asyncio.wait((site.ended,))
    site.ended.result()
