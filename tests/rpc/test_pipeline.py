"""Pipeline: many operations in a frame, answered in order, none of which can end the stream."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.rpc.bad_requests import BAD_REQUESTS, BadRequest
from tests.rpc.steady import nothing_changes
from tests.support.caller import message, within
from tests.support.contract import input_of
from tests.support.refusals import refusal_in, refused
from tests.support.site import Site

from pixied.v1 import pipeline_pb2 as wire
from pixied.v1.message_pb2 import ACK_MODE_EXPLICIT

_OPERATIONS = {one.message_type.name.removesuffix("Request"): one.name for one in wire.Operation.DESCRIPTOR.fields}


class RawPipeline:
    """One Pipeline stream."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def send(self, *operations: wire.Operation) -> None:
        """Send operations in one frame."""
        await self.call.write(wire.PipelineRequest(operations=operations).SerializeToString())

    async def results(self, count: int) -> list[wire.OperationResult]:
        """The next so many results."""
        return [result for frame in await self.frames(count) for result in frame.results]

    async def frames(self, count: int) -> list[wire.PipelineResponse]:
        """The next frames, with so many results in all."""
        frames: list[wire.PipelineResponse] = []
        while sum(len(frame.results) for frame in frames) < count:
            async with within():
                frames.append(await self.call.read())
        return frames


@pytest.fixture
async def pipeline(site: Site) -> AsyncIterator[RawPipeline]:
    call = site.both_ways("Pipeline")
    yield RawPipeline(call)
    call.cancel()


def operation(rpc: str, **fields: Any) -> wire.Operation:
    """An operation by the name of its unary RPC."""
    return wire.Operation(**{_OPERATIONS[rpc]: input_of(rpc)(**fields)})


def published(*messages: Any) -> wire.Operation:
    return operation("Publish", messages=messages)


def _kinds(results: Sequence[wire.OperationResult]) -> list[str | None]:
    return [result.WhichOneof("result") for result in results]


async def test_a_clients_whole_life_fits_into_one_pipeline(pipeline: RawPipeline) -> None:
    """Every unary operation has a place in the frame and its result in the answer, in order."""
    await pipeline.send(operation("CreateClient"), operation("GenerateNamespace"))
    created, drawn = await pipeline.results(2)
    alice = created.create_client.client.client_id
    steps = [
        operation("Subscribe", client_id=alice, channels=["/a"]),
        operation("ClientSubscribed", client_id=alice, channel="/a"),
        operation("SubscribedTo", client_id=alice),
        operation("SubscribersOf", channel_pattern="/a"),
        published(message("/a", "1")),
        operation("QueueFor", client_id=alice, messages=[message("/b", "2")]),
        operation("GetClient", client_id=alice),
        operation("DequeueFor", client_id=alice),
        operation("PingClient", client_ids=[alice, "nobody"]),
        operation("Unsubscribe", client_id=alice, channels=["/a"]),
        operation("DestroyClient", client_id=alice),
        operation("ReleaseNamespace", namespace=drawn.generate_namespace.namespace),
    ]
    await pipeline.send(*steps)
    results = await pipeline.results(len(steps))
    assert _kinds(results) == [step.WhichOneof("operation") for step in steps]
    assert [one.data for one in results[7].dequeue_for.messages] == ["1", "2"]
    assert [one.known for one in results[8].ping_client.results] == [True, False]


async def test_a_clients_operations_find_what_was_published_before_them(pipeline: RawPipeline) -> None:
    """In the same frame too: messages queued for it are behind it, and who subscribes after it does not get it."""
    for number in range(6):
        channel = f"/a/{number}"
        await pipeline.send(operation("CreateClient"), operation("CreateClient"))
        alice, bob = [one.create_client.client.client_id for one in await pipeline.results(2)]
        await pipeline.send(operation("Subscribe", client_id=alice, channels=[channel]))
        await pipeline.results(1)
        await pipeline.send(
            # More than go to a store in one call, so that what is begun too early is done in between.
            published(*[message(channel, str(one)) for one in range(450)]),
            operation("Subscribe", client_id=bob, channels=[channel]),
            operation("QueueFor", client_id=alice, messages=[message("/b", "450")]),
            operation("DequeueFor", client_id=alice, max_messages=1_000),
            operation("DequeueFor", client_id=bob, max_messages=1_000),
        )
        *_, of_alice, of_bob = await pipeline.results(5)
        assert [one.data for one in of_alice.dequeue_for.messages] == [str(one) for one in range(451)]
        assert not of_bob.dequeue_for.messages


async def test_what_is_about_many_clients_comes_before_what_is_behind_it(pipeline: RawPipeline) -> None:
    """In the same frame too: clients that are pinged are alive, though the next operation ends one of them."""
    await pipeline.send(*[operation("CreateClient") for _ in range(20)])
    clients = [one.create_client.client.client_id for one in await pipeline.results(20)]
    await pipeline.send(
        operation("PingClient", client_ids=clients),
        operation("DestroyClient", client_id=clients[-1]),
        operation("PingClient", client_ids=clients),
    )
    before, _, after = await pipeline.results(3)
    assert [one.known for one in before.ping_client.results] == [True] * 20
    assert [one.known for one in after.ping_client.results] == [True] * 19 + [False]


def test_every_unary_operation_of_the_backend_has_a_place() -> None:
    """Operation and OperationResult name the same operations, and those are all unary RPCs of BackendService."""
    service = input_of("Publish").DESCRIPTOR.file.pool.FindServiceByName("pixied.v1.BackendService")
    unary = {method.name for method in service.methods if not method.server_streaming}
    assert set(_OPERATIONS) == unary
    results = {one.name for one in wire.OperationResult.DESCRIPTOR.fields} - {"error"}
    assert results == set(_OPERATIONS.values())


@pytest.mark.parametrize("bad", [one for one in BAD_REQUESTS if one.rpc in _OPERATIONS], ids=str)
async def test_a_bad_operation_fails_alone(site: Site, pipeline: RawPipeline, bad: BadRequest) -> None:
    """Its error is the unary RPC's, stands in its place, and the operations around it are done."""
    async with nothing_changes(site) as alice:
        around = operation("SubscribedTo", client_id=alice)
        await pipeline.send(around, wire.Operation(**{_OPERATIONS[bad.rpc]: bad.request(alice)}), around)
        results = await pipeline.results(3)
    assert _kinds(results) == ["subscribed_to", "error", "subscribed_to"]
    bad.check(refusal_in(results[1].error), alice)


async def test_an_operation_that_is_not_set_is_answered(pipeline: RawPipeline) -> None:
    """FIELD_INVALID in its place: a newer client learns what this server can't do, and its stream lives."""
    await pipeline.send(wire.Operation(), published(message("/a")))
    error, done = await pipeline.results(2)
    assert refusal_in(error.error).reason == "FIELD_INVALID"
    assert refusal_in(error.error).fields == ("operation",)
    assert done.HasField("publish")


async def test_dequeue_must_not_wait_in_a_pipeline(site: Site, pipeline: RawPipeline) -> None:
    """A wait would hold up all answers behind it: FIELD_INVALID that names the way out. A wait of 0 is none."""
    alice = await site.client()
    waits = [Duration(seconds=1), Duration()]
    await pipeline.send(*[operation("DequeueFor", client_id=alice, wait=wait) for wait in waits])
    refused_one, done = await pipeline.results(2)
    assert (refusal_in(refused_one.error).fields, done.WhichOneof("result")) == (("wait",), "dequeue_for")
    assert "unary call" in refusal_in(refused_one.error).text


async def test_results_come_in_the_order_of_many_frames(pipeline: RawPipeline) -> None:
    """However many frames are sent before the first answer is read, results are in order."""
    keys = [f"key {number}" for number in range(3_000)]
    operations = [published(message("/a", idempotency_key=key)) for key in (*keys, *keys)]
    for start in range(0, len(operations), 500):
        await pipeline.send(*operations[start : start + 500])
    results = await pipeline.results(len(operations))
    assert [one.publish.results[0].duplicate for one in results] == [False] * 3_000 + [True] * 3_000


async def test_large_results_are_split_into_frames(site: Site, pipeline: RawPipeline) -> None:
    """A frame of answers is closed at about 1 MB: a client's limit of 4 MB is never met, however much it asks for."""
    alice = await site.client("/a")
    await site.publish("/a", *[f'"{"x" * 100_000}"'] * 9)
    take = operation("DequeueFor", client_id=alice, ack_mode=ACK_MODE_EXPLICIT)
    await pipeline.send(*[take] * 10)
    frames = await pipeline.frames(10)
    assert [len(result.dequeue_for.messages) for frame in frames for result in frame.results] == [9] * 10
    assert max(frame.ByteSize() for frame in frames) < 2_100_000
    assert len(frames) >= 5


async def test_half_closing_ends_the_pipeline_after_all_answers(pipeline: RawPipeline) -> None:
    """What was sent before the client closed its side is answered, then the stream ends well."""
    await pipeline.send(*[published(message("/a"))] * 1_000)
    await pipeline.call.done_writing()
    assert len(await pipeline.results(1_000)) == 1_000
    assert not await pipeline.call.read()
    assert (await pipeline.call.code()).name == "OK"


async def test_a_broken_operation_does_not_hide_behind_its_stream(site: Site, pipeline: RawPipeline) -> None:
    """A violation ends its own pipeline only: another one on the same connection goes on."""
    other = RawPipeline(site.both_ways("Pipeline"))
    await other.send()
    assert (await refused(other.frames(1))).reason == "STREAM_PROTOCOL"
    await pipeline.send(published(message("/a")))
    assert _kinds(await pipeline.results(1)) == ["publish"]
