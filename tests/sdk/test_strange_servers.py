"""A front-end in front of servers that no real pixied is: faulty, newer, or unwell at the wrong moment."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from tests.sdk.made_up import (
    Event,
    Frames,
    Handler,
    answer_of,
    attached,
    front_end_of,
    link,
    silent,
    sound_pipeline,
    welcome,
)
from tests.sdk.servers import TIMEOUT
from tests.sdk.test_errors import status_of
from tests.sdk.test_front_end import until

from pixied.v1 import attach_pb2, operations_pb2, pipeline_pb2
from pixied_client import Backoff, Detached, DetachReason, Draining, Message, PixiedError, StreamProtocol, Unavailable


async def test_wrong_answer() -> None:
    """An answer of another operation is a StreamProtocol error, and the next stream is sound."""
    turns = iter([operations_pb2.GetClientResponse()])

    async def pipeline(requests: Frames, context: Any) -> Frames:
        wrong = next(turns, None)
        if wrong is None:
            async for response in sound_pipeline(requests, context):
                yield response
        else:
            await anext(aiter(requests))
            yield pipeline_pb2.PipelineResponse(results=[pipeline_pb2.OperationResult(get_client=wrong)])

    async with front_end_of(link(), pipeline) as front_end:
        with pytest.raises(StreamProtocol, match="answered generate_namespace with get_client"):
            await front_end.generate_namespace()
        assert await front_end.generate_namespace() == ""


async def test_answer_to_nothing() -> None:
    """A result for no operation ends that stream; what is asked for then is answered on the next."""
    turns = iter([True])

    async def pipeline(requests: Frames, context: Any) -> Frames:
        if next(turns, False):
            request = await anext(aiter(requests))
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, [*request.operations] * 2))
            await asyncio.Event().wait()
        async for response in sound_pipeline(requests, context):
            yield response

    async with front_end_of(link(), pipeline) as front_end:
        assert await front_end.subscribed_to("ann") == []
        assert await front_end.subscribed_to("bob") == []


async def test_refused_stream() -> None:
    """Operations on a stream that the server ends with blame fail with its error, and are not sent again."""
    asked = 0

    async def pipeline(requests: Frames, context: Any) -> Frames:
        nonlocal asked
        await anext(aiter(requests))
        asked += 1
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        yield

    async with front_end_of(link(), pipeline) as front_end:
        with pytest.raises(PixiedError, match="too much"):
            await front_end.subscribed_to("ann")
    assert asked == 1


async def test_ended_stream() -> None:
    """A stream that the server ends without a word is opened again, and what can be repeated is sent again."""
    turns = iter([True])

    async def pipeline(requests: Frames, context: Any) -> Frames:
        if next(turns, False):
            await anext(aiter(requests))
            return
        async for response in sound_pipeline(requests, context):
            yield response

    async with front_end_of(link(), pipeline) as front_end:
        assert await front_end.subscribed_to("ann") == []


async def test_poison() -> None:
    """An operation that breaks one stream after the other is given up, and those after it are served."""
    streams = 0

    async def pipeline(requests: Frames, _: Any) -> Frames:
        nonlocal streams
        streams += 1
        async for request in requests:
            if any(operation.subscribed_to.client_id == "poison" for operation in request.operations):
                return
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async with front_end_of(link(), pipeline) as front_end:
        with pytest.raises(Unavailable, match="the outcome of subscribed_to is unknown"):
            await front_end.subscribed_to("poison")
        assert await front_end.subscribed_to("ann") == []
    assert streams == 6


async def test_unanswered_operations_at_the_end() -> None:
    """Leaving a front-end does not wait for ever for a server that does not answer; what waits fails."""

    async def pipeline(requests: Frames, _: Any) -> Frames:
        async for _ in requests:
            pass
        await asyncio.Event().wait()
        yield

    async with front_end_of(link(), pipeline) as front_end:
        waiting = asyncio.create_task(front_end.subscribed_to("ann"))
        await until(lambda: front_end.connected)
    with pytest.raises(Unavailable, match="closed"):
        await waiting
    with pytest.raises(Unavailable, match="closed"):
        await front_end.subscribed_to("ann")


async def test_given_up_operation() -> None:
    """An operation whose caller has gone before it was sent is not sent."""
    seen: list[str] = []
    go_on = asyncio.Event()

    async def slow_link(requests: Frames, context: Any) -> Frames:
        await go_on.wait()
        async for frame in link()(requests, context):
            yield frame

    async def pipeline(requests: Frames, _: Any) -> Frames:
        async for request in requests:
            seen.extend(operation.subscribed_to.client_id for operation in request.operations)
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async with front_end_of(slow_link, pipeline) as front_end:
        calls = [asyncio.create_task(front_end.subscribed_to(name)) for name in ("ann", "bob")]
        await asyncio.sleep(0)
        calls[0].cancel()
        go_on.set()
        assert await calls[1] == []
    assert seen == ["bob"]


async def test_room_of_the_overdue() -> None:
    """Operations that were not sent in time leave their room to those that come after."""
    go_on = asyncio.Event()

    async def slow_link(requests: Frames, context: Any) -> Frames:
        await go_on.wait()
        async for frame in link()(requests, context):
            yield frame

    async with front_end_of(slow_link, timeout=2.0, max_pending=2) as front_end:
        overdue = [asyncio.create_task(front_end.subscribed_to("ann")) for _ in range(2)]
        outcomes = await asyncio.gather(*overdue, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
        in_time = asyncio.create_task(front_end.subscribed_to("bob"))
        await asyncio.sleep(0)
        go_on.set()
        assert await in_time == []


async def test_room_of_the_overdue_is_given_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever came later and waits for room gets it when those before it are overdue, though nothing was sent."""
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()
    clock, passed = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + passed)

    async def slow_link(requests: Frames, context: Any) -> Frames:
        await go_on.wait()
        async for frame in link()(requests, context):
            yield frame

    async with front_end_of(slow_link, timeout=TIMEOUT, max_pending=2) as front_end:
        overdue = [asyncio.create_task(front_end.subscribed_to("ann")) for _ in range(2)]
        await asyncio.sleep(0)
        passed += TIMEOUT / 2
        waiting = asyncio.create_task(front_end.subscribed_to("bob"))
        await asyncio.sleep(0)
        passed += TIMEOUT / 2
        outcomes = await asyncio.gather(*overdue, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 2
        go_on.set()
        assert await waiting == []


async def test_events_of_a_newer_server() -> None:
    """An event that this SDK does not know is passed over."""
    async with front_end_of(link(Event(), attach=attached)) as front_end:
        assert (await front_end.attach("ann")).handle == 0


async def test_heartbeats_keep_a_link() -> None:
    """A front-end that has nothing to say answers each heartbeat, by which it keeps its link."""
    received: list[str | None] = []

    async def attach(requests: Frames, _: Any) -> Frames:
        frames = aiter(requests)
        await anext(frames)  # the hello
        yield attach_pb2.AttachResponse(events=[welcome()])
        for _ in range(3):
            yield attach_pb2.AttachResponse(events=[Event(heartbeat=attach_pb2.Heartbeat())])
            received.extend(command.WhichOneof("command") for command in (await anext(frames)).commands)
        async for _ in frames:
            pass

    async with front_end_of(attach):
        await until(lambda: received == ["heartbeat"] * 3)


async def test_unknown_handle() -> None:
    """A link that names a client that was never attached is given up, and the next one is used."""
    turns = iter([link(attached(7))])
    sound = link(attach=attached)

    async def attach(requests: Frames, context: Any) -> Frames:
        async for frame in next(turns, sound)(requests, context):
            yield frame

    async with front_end_of(attach) as front_end:
        assert (await front_end.attach("ann")).handle == 0


async def test_given_up_stream_is_ended() -> None:
    """A link that is given up for what it brought ends at the server too, while its successor stands."""
    ended = asyncio.Event()
    turns = iter([True])

    async def attach(requests: Frames, context: Any) -> Frames:
        first = next(turns, False)
        try:
            async for frame in link(*[attached(7)] * first, attach=attached)(requests, context):
                yield frame
        finally:
            if first:
                ended.set()

    async with front_end_of(attach) as front_end:
        attachment = await front_end.attach("ann")
        await asyncio.wait_for(ended.wait(), TIMEOUT)
        assert attachment.standing.name == "HELD"


def refusal(reason: str, code: int) -> Callable[[int], Event]:
    """Says that a client could not be attached."""
    return lambda handle: Event(
        attach_failed=attach_pb2.AttachFailed(handle=handle, error=status_of(reason, code=code))
    )


async def test_first_attach_while_draining() -> None:
    """An attach that is refused for a while is the caller's to repeat."""
    async with front_end_of(link(attach=refusal("DRAINING", code_pb2.UNAVAILABLE))) as front_end:
        with pytest.raises(Draining):
            await front_end.attach("ann")
        assert front_end.attachments == {}


def unwell_after_break() -> tuple[Handler, asyncio.Event, asyncio.Event, asyncio.Event]:
    """A link that breaks on demand, and whose successor refuses to attach until it shall be well.

    Gives the link, what breaks it, what is set at the first refusal, and what makes it well.
    """
    broken, refused, well = (asyncio.Event() for _ in range(3))
    unwell = refusal("ENGINE_UNAVAILABLE", code_pb2.UNAVAILABLE)

    async def attach(requests: Frames, context: Any) -> Frames:
        if not broken.is_set():
            frames = link(attach=attached)(requests, context)
            yield await anext(frames)
            yield await anext(frames)
            await broken.wait()
            return

        def answer(handle: int) -> Event:
            if well.is_set():
                return attached(handle)
            refused.set()
            return unwell(handle)

        async for frame in link(attach=answer)(requests, context):
            yield frame

    return attach, broken, refused, well


async def test_unwell_when_attached_again() -> None:
    """A client that can't be attached again for a while is asked for until it can."""
    attach, broken, refused, well = unwell_after_break()
    async with front_end_of(attach) as front_end:
        attachment = await front_end.attach("ann")
        broken.set()
        await asyncio.wait_for(refused.wait(), TIMEOUT)
        assert attachment.standing.name == "ASKED"
        well.set()
        await until(lambda: attachment.standing.name == "HELD")
        assert attachment.detached is None


async def test_given_up_while_unwell() -> None:
    """A client that is given up while it can't be attached again is asked for no more."""
    attach, broken, refused, _ = unwell_after_break()
    async with front_end_of(attach) as front_end:
        attachment = await front_end.attach("ann")
        broken.set()
        await asyncio.wait_for(refused.wait(), TIMEOUT)
        assert attachment.standing.name == "ASKED"
        await asyncio.wait_for(attachment.detach(), TIMEOUT)
        assert attachment.detached == Detached(DetachReason.REQUESTED, "")
        assert front_end.attachments == {}


async def test_refused_before_another_break() -> None:
    """A client that was refused on a link which then broke is asked for once on the next one."""
    pause = 0.2
    asked: list[list[str]] = []

    async def sleep(seconds: float) -> None:
        del seconds
        await asyncio.sleep(0)

    async def attach(requests: Frames, _: Any) -> Frames:
        number = len(asked)
        asked.append([])
        yield attach_pb2.AttachResponse(events=[welcome()])
        async for request in requests:
            for command in request.commands:
                if not command.HasField("attach"):
                    continue
                asked[number].append(command.attach.client_id)
                handle = command.attach.handle
                if number == 1:
                    unwell = refusal("ENGINE_UNAVAILABLE", code_pb2.UNAVAILABLE)
                    yield attach_pb2.AttachResponse(events=[unwell(handle)])
                    return
                if number == 0 or command.attach.client_id == "bob":
                    yield attach_pb2.AttachResponse(events=[attached(handle)])
            if number == 0 and asked[0]:
                return

    backoff = Backoff(first=pause, longest=pause)
    async with front_end_of(attach, backoff=backoff, sleep=sleep, chance=lambda: 1.0) as front_end:
        await front_end.attach("ann")
        await until(lambda: asked[2:] == [["ann"]])
        # The front-end's own pause began before this one, and so ends before it.
        await asyncio.sleep(pause)
        await front_end.attach("bob")
    assert asked == [["ann"], ["ann"], ["ann", "bob"]]


async def test_attach_without_answer() -> None:
    """An attach that is not answered in time fails; if it is answered later, the client is given up."""
    asked: list[int] = []
    go_on = asyncio.Event()

    async def attach(requests: Frames, context: Any) -> Frames:
        frames = link(attach=attached)(requests, context)
        yield await anext(frames)
        answer = await anext(frames)
        asked.append(1)
        await go_on.wait()
        yield answer
        async for frame in frames:
            yield frame

    async with front_end_of(attach, timeout=0.2) as front_end:
        await until(lambda: front_end.connected)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(front_end.attach("ann"), TIMEOUT)
        assert asked == [1]
        assert len(front_end.attachments) == 1
        go_on.set()
        await until(lambda: not front_end.attachments)


async def test_senseless_answer() -> None:
    """An answer that can't be read fails its caller, and nobody else's operations."""
    async with front_end_of(link()) as front_end:
        publishing = asyncio.create_task(front_end.publish_one(Message.of("/a", 1)))  # answered without its result
        reading = asyncio.create_task(front_end.subscribed_to("ann"))
        with pytest.raises(StreamProtocol, match="answer to publish makes no sense") as caught:
            await publishing
        assert isinstance(caught.value.__cause__, IndexError)
        assert await reading == []
        assert front_end.connected


async def test_own_errors() -> None:
    """Callers whose operations fail together each get an error of their own: raised, it holds its caller's frames."""

    async def pipeline(requests: Frames, context: Any) -> Frames:
        await anext(aiter(requests))
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        yield

    async with front_end_of(link(), pipeline) as front_end:
        calls = [asyncio.create_task(front_end.subscribed_to("ann")) for _ in range(2)]
        one, two = await asyncio.gather(*calls, return_exceptions=True)
    assert str(one) == str(two)
    assert one is not two


async def test_delivery_out_of_turn() -> None:
    """A link that skips a delivery is given up: nothing could be confirmed on it any more."""
    skipping = link(Event(delivery=attach_pb2.Delivery(number=2)))
    turns = iter([skipping])
    sound = link(attach=attached)

    async def attach(requests: Frames, context: Any) -> Frames:
        async for frame in next(turns, sound)(requests, context):
            yield frame

    async with front_end_of(attach) as front_end:
        assert (await front_end.attach("ann")).handle == 0
    assert next(turns, None) is None


async def test_hopeless_link() -> None:
    """A link that the server will never take ends the front-end with the reason, though its body waits for it."""

    async def refused(_: Frames, context: Any) -> Frames:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")
        yield

    async def run() -> None:
        async with front_end_of(refused) as front_end:
            await front_end.attach("ann")

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert "not for you" in str(caught.value.exceptions[0])


async def test_no_storm() -> None:
    """A server that takes every stream and drops it at once is asked again after pauses that grow."""
    pauses: list[float] = []
    enough = asyncio.Event()

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) >= 5:
            enough.set()
            await asyncio.Event().wait()

    async def dropped(_: Frames, __: Any) -> Frames:
        yield attach_pb2.AttachResponse(events=[welcome()])

    backoff = Backoff(first=1.0, longest=8.0)
    async with front_end_of(dropped, silent, backoff=backoff, sleep=note, chance=lambda: 0.5):
        async with asyncio.timeout(TIMEOUT):
            await enough.wait()
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
