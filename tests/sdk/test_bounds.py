"""Bounds and times of a front-end, each shown by a server that lets them be seen."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from tests.sdk.made_up import (
    Event,
    Frames,
    Handler,
    answer_of,
    attached,
    detached,
    front_end_of,
    link,
    server_of,
    silent,
    welcome,
)
from tests.sdk.servers import TIMEOUT
from tests.sdk.test_errors import status_of
from tests.sdk.test_front_end import until

from pixied.v1 import attach_pb2, message_pb2, pipeline_pb2
from pixied_client import (
    Backoff,
    Batch,
    ClientUnknown,
    DeadlineExceeded,
    Delivery,
    FrontEnd,
    Message,
    Unavailable,
)

AN_HOUR = 3_600.0
SPREAD = 0.5
"""Which part of a pause is taken: the tests' chance."""


class Counter:
    """A Pipeline that answers an operation when the test says so.

    Attributes:
        received: the client ids of the operations, in order.
    """

    def __init__(self) -> None:
        self.received: list[str] = []
        self._unanswered: asyncio.Queue[pipeline_pb2.Operation | None] = asyncio.Queue()
        self._answers = asyncio.Semaphore(0)

    def answer(self, count: int) -> None:
        """Answer further operations."""
        for _ in range(count):
            self._answers.release()

    async def pipeline(self, requests: Frames, _: Any) -> Frames:
        """The stream."""
        reading = asyncio.create_task(self._read(requests))
        while operation := await self._unanswered.get():
            await self._answers.acquire()
            yield pipeline_pb2.PipelineResponse(results=[answer_of(operation)])
        await reading

    async def _read(self, requests: Frames) -> None:
        async for request in requests:
            for operation in request.operations:
                self.received.append(operation.subscribed_to.client_id)
                self._unanswered.put_nowait(operation)
        self._unanswered.put_nowait(None)


async def settled(front_end: FrontEnd) -> None:
    """Go to the server and back on the link: what the pipeline could write by now has been written, and has come."""
    await (await front_end.attach("ann")).detach()


async def test_no_more_operations_than_max_pending_are_on_their_way() -> None:
    """Those beyond it are sent one by one, in their order, as others are answered."""
    counter = Counter()
    async with front_end_of(link(attach=attached), counter.pipeline, max_pending=3) as front_end:
        await settled(front_end)
        names = [str(number) for number in range(9)]
        calls = [asyncio.create_task(front_end.subscribed_to(name)) for name in names]
        for answered in range(7):
            await until(lambda: len(counter.received) >= answered + 3)  # noqa: B023 - it is called here
            await settled(front_end)
            assert counter.received == names[: answered + 3]
            counter.answer(1)
        counter.answer(2)
        assert await asyncio.gather(*calls) == [[]] * 9


async def test_who_is_cancelled_while_it_waits_for_room_is_cancelled() -> None:
    """It is no error of the server's, and those behind it are served."""
    counter = Counter()
    async with front_end_of(link(attach=attached), counter.pipeline, max_pending=1) as front_end:
        calls = [asyncio.create_task(front_end.subscribed_to(name)) for name in "abc"]
        await until(lambda: counter.received == ["a"])
        calls[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        counter.answer(2)
        async with asyncio.timeout(TIMEOUT):
            assert await asyncio.gather(calls[0], calls[2]) == [[], []]
        assert counter.received == ["a", "c"]


async def test_who_is_cancelled_when_it_has_just_got_room_leaves_it_to_the_next() -> None:
    """Though nothing is under way then that would be answered."""
    async with front_end_of(link(), max_pending=1) as front_end:

        async def ask_and_cancel() -> None:
            await front_end.subscribed_to("a")
            cancelled.cancel()

        asking = asyncio.create_task(ask_and_cancel())
        await asyncio.sleep(0)
        cancelled = asyncio.create_task(front_end.subscribed_to("b"))
        following = asyncio.create_task(front_end.subscribed_to("c"))
        async with asyncio.timeout(TIMEOUT / 3):
            await asking
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert await following == []


async def test_operations_that_wait_for_room_fail_in_time() -> None:
    """Though those before them, which take the room, are never answered."""
    async with front_end_of(link(), silent, max_pending=2, timeout=0.3) as front_end:
        await until(lambda: front_end.connected)
        async with asyncio.timeout(TIMEOUT):
            outcomes = await asyncio.gather(*(front_end.subscribed_to("a") for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 5


async def test_nobody_slips_in_before_who_waits_for_room() -> None:
    """An operation that is asked for when room is given to an earlier one is carried out after that."""
    order: list[str] = []

    async def pipeline(requests: Frames, _: Any) -> Frames:
        async for request in requests:
            order.extend(operation.subscribed_to.client_id for operation in request.operations)
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async def first_and_third(front_end: FrontEnd) -> None:
        await front_end.subscribed_to("first")
        await front_end.subscribed_to("third")

    async with front_end_of(link(), pipeline, max_pending=1) as front_end:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(first_and_third(front_end), front_end.subscribed_to("second"))
    assert order == ["first", "second", "third"]


async def test_who_waits_for_room_gets_that_of_what_a_break_has_failed() -> None:
    """An operation that can't be sent again leaves its room to the next one, which goes out on the next stream."""
    streams = 0

    async def pipeline(requests: Frames, _: Any) -> Frames:
        nonlocal streams
        streams += 1
        async for request in requests:
            if streams == 1:
                return
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async with front_end_of(link(), pipeline, max_pending=1) as front_end:
        calls = front_end.destroy_client("ann"), front_end.subscribed_to("bob")
        async with asyncio.timeout(TIMEOUT / 2):
            broken, answered = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(broken, Unavailable)
    assert answered == []


async def test_each_operation_fails_with_an_error_of_its_own() -> None:
    """What several callers raise is not one object, which would collect the traces of all."""
    async with front_end_of(link(), silent) as front_end:
        calls = [asyncio.create_task(front_end.subscribed_to("ann")) for _ in range(3)]
        await until(lambda: front_end.connected)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert len({id(outcome) for outcome in outcomes}) == 3


async def test_each_operation_fails_in_its_own_time() -> None:
    """A later one too, when an earlier one has failed."""
    async with front_end_of(link(), silent, timeout=0.3) as front_end:
        await until(lambda: front_end.connected)
        first = asyncio.create_task(front_end.subscribed_to("ann"))
        await asyncio.sleep(0.1)  # so that their times are not the same
        second = asyncio.create_task(front_end.subscribed_to("bob"))
        for call in (first, second):
            with pytest.raises(DeadlineExceeded):
                await asyncio.wait_for(call, TIMEOUT)


async def test_frames_of_the_pipeline_have_about_a_megabyte() -> None:
    """Large operations that wait together are spread over several; one that is larger goes alone."""
    sizes: list[int] = []

    async def pipeline(requests: Frames, _: Any) -> Frames:
        async for request in requests:
            sizes.append(request.ByteSize())
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async with front_end_of(link(), pipeline) as front_end:
        parts = [300_000] * 7 + [2_000_000] + [300_000]
        calls = [front_end.subscribed_to("x" * part) for part in parts]
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*calls)
    assert [round(size, -5) for size in sizes] == [900_000, 900_000, 300_000, 2_000_000, 300_000]


@pytest.mark.parametrize(("allowed", "largest"), [(10, 10), (1_000_000, 4_000)])
async def test_frames_have_as_many_commands_as_the_server_takes(allowed: int, largest: int) -> None:
    """Attaches and operations alike; of commands never more than 4,000, which is about a megabyte of ids."""
    commands: list[int] = []
    operations: list[int] = []

    async def attach(requests: Frames, _: Any) -> Frames:
        yield attach_pb2.AttachResponse(events=[welcome(allowed)])
        async for request in requests:
            commands.append(len(request.commands))
            handles = [command.attach.handle for command in request.commands if command.HasField("attach")]
            yield attach_pb2.AttachResponse(events=[Event(attached=attach_pb2.Attached(handles=handles))])

    async def pipeline(requests: Frames, _: Any) -> Frames:
        async for request in requests:
            operations.append(len(request.operations))
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    count = largest + largest // 2
    async with front_end_of(attach, pipeline) as front_end:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(front_end.attach(f"client {number}") for number in range(count)))
            await asyncio.gather(*(front_end.subscribed_to("ann") for _ in range(count)))
    assert max(commands) == largest
    assert max(operations) == min(allowed, count)


async def test_the_window_and_the_name_are_those_that_were_given() -> None:
    """The link's first command says them."""
    hellos: list[attach_pb2.Hello] = []

    async def attach(requests: Frames, context: Any) -> Frames:
        (command,) = (await anext(aiter(requests))).commands
        hellos.append(command.hello)
        async for frame in link()(requests, context):
            yield frame

    async with front_end_of(attach, window=7):
        await until(lambda: hellos != [])
    assert (hellos[0].front_end, hellos[0].window) == ("test", 7)


async def test_what_a_front_end_is_by_default() -> None:
    """Its name, its window, its timeout and its room."""
    hellos: list[attach_pb2.Hello] = []

    async def attach(requests: Frames, context: Any) -> Frames:
        (command,) = (await anext(aiter(requests))).commands
        hellos.append(command.hello)
        async for frame in link()(requests, context):
            yield frame

    async with server_of(attach) as address, FrontEnd(address):
        await until(lambda: hellos != [])
    assert (hellos[0].front_end, hellos[0].window) == ("python", 64)
    defaults = {name: one.default for name, one in inspect.signature(FrontEnd).parameters.items()}
    assert (defaults["timeout"], defaults["max_pending"], defaults["backoff"]) == (10.0, 10_000, Backoff())


async def test_ids_that_can_not_exist_do_not_reach_the_server() -> None:
    """They have more than 255 bytes; those of 255 are for the server to know."""
    asked: list[str] = []

    async def attach(requests: Frames, _: Any) -> Frames:
        yield attach_pb2.AttachResponse(events=[welcome()])
        async for request in requests:
            for command in request.commands:
                if command.HasField("attach"):
                    asked.append(command.attach.client_id)
                    yield attach_pb2.AttachResponse(events=[attached(command.attach.handle)])

    async with front_end_of(attach) as front_end:
        await front_end.attach("x" * 255)
        for too_long in ("x" * 256, "é" * 128):
            with pytest.raises(ClientUnknown, match="255 bytes") as refused:
                await front_end.attach(too_long)
            assert refused.value.code is grpc.StatusCode.NOT_FOUND
        assert asked == ["x" * 255]


async def test_operations_wait_for_the_limits_of_a_new_server() -> None:
    """A pipeline that is back before its link sends nothing: this server may take less than the one before."""
    frames: list[int] = []
    limits = iter([1_000, 2])
    link_ends, pipeline_ends, link_may_return = asyncio.Event(), asyncio.Event(), asyncio.Event()
    pauses = 0

    async def attach(_: Frames, __: Any) -> Frames:
        yield attach_pb2.AttachResponse(events=[welcome(next(limits))])
        await link_ends.wait()
        link_ends.clear()

    async def pipeline(requests: Frames, _: Any) -> Frames:
        if not pipeline_ends.is_set():
            await pipeline_ends.wait()
            return
        async for request in requests:
            frames.append(len(request.operations))
            yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async def sleep(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 1:  # the link's
            await link_may_return.wait()

    async with front_end_of(attach, pipeline, sleep=sleep) as front_end:
        await until(lambda: front_end.connected)
        link_ends.set()
        await until(lambda: pauses == 1)
        pipeline_ends.set()
        await until(lambda: pauses == 2)
        calls = [asyncio.create_task(front_end.subscribed_to("ann")) for _ in range(5)]
        await asyncio.sleep(0.1)  # for what must not happen: the pipeline would be back long before this is over
        assert frames == []
        link_may_return.set()
        assert await asyncio.gather(*calls) == [[]] * 5
    assert frames == [2, 2, 1]


# Pauses between streams


class Pauses:
    """Takes the place of sleeping: notes each pause, and ends it at once until there were enough.

    Attributes:
        noted: the pauses, in seconds.
        enough: set when there were as many as the test wants.
    """

    def __init__(self, wanted: int) -> None:
        self.noted: list[float] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    async def sleep(self, seconds: float) -> None:
        """Note a pause."""
        self.noted.append(seconds)
        if len(self.noted) >= self._wanted:
            self.enough.set()
            await asyncio.Event().wait()

    async def first(self, attach: Handler, pipeline: Handler, **options: Any) -> list[float]:
        """The first pauses of a front-end of these streams."""
        async with front_end_of(attach, pipeline, sleep=self.sleep, chance=lambda: SPREAD, **options):
            async with asyncio.timeout(TIMEOUT):
                await self.enough.wait()
        return self.noted


def refusal(reason: str = "ENGINE_UNAVAILABLE", *, seconds: int | None = None) -> Any:
    """A refusal for a while, with the time that the server wants to be left alone."""
    details = [] if seconds is None else [error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds))]
    return status_of(reason, *details, code=code_pb2.UNAVAILABLE)


async def test_the_servers_own_pause_is_the_least() -> None:
    """A stream that is refused with a RetryInfo is tried after that pause, and the jitter comes on top."""

    async def refused(_: Frames, context: Any) -> Frames:
        status = refusal(seconds=20)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(grpc.StatusCode.UNAVAILABLE, status.message)
        yield

    backoff = Backoff(first=1.0, longest=8.0)
    assert await Pauses(3).first(refused, silent, backoff=backoff) == [21.0, 22.0, 24.0]


async def closing_link(requests: Frames, _: Any) -> Frames:
    """A link that wants to be left alone for 20 seconds."""
    closing = message_pb2.Closing(reason="as planned", reconnect_after_ms=20_000)
    yield attach_pb2.AttachResponse(events=[welcome(), Event(closing=closing)])
    async for _ in requests:
        pass


async def closing_pipeline(requests: Frames, _: Any) -> Frames:
    """A pipeline that wants to be left alone for 20 seconds."""
    yield pipeline_pb2.PipelineResponse(closing=message_pb2.Closing(reason="as planned", reconnect_after_ms=20_000))
    async for _ in requests:
        pass


@pytest.mark.parametrize(
    ("attach", "pipeline"), [(closing_link, silent), (link(), closing_pipeline)], ids=["link", "pipeline"]
)
async def test_a_planned_stop_is_left_alone_as_long_as_it_asks(attach: Handler, pipeline: Handler) -> None:
    """Both streams end at once from this side, and come back after the time that the server named, without jitter."""
    (pause,) = await Pauses(1).first(attach, pipeline, backoff=Backoff(first=1.0, longest=8.0))
    assert 20.0 - TIMEOUT / 3 < pause <= 20.0


async def test_a_planned_stop_is_obeyed_though_it_comes_while_a_frame_is_written() -> None:
    """What is being written is written, nothing after it, and then this side ends the stream."""
    said, read_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    frames = 0

    async def pipeline(requests: Frames, context: Any) -> Frames:
        async for frame in closing_pipeline(read_nothing(requests, read_on), context):
            yield frame
            said.set()
        ended.set()

    async def read_nothing(requests: Frames, until_then: asyncio.Event) -> Frames:
        nonlocal frames
        await until_then.wait()
        async for request in requests:
            frames += 1
            yield request

    async with front_end_of(link(attach=attached), pipeline, sleep=Pauses(1).sleep) as front_end:
        # Each is a frame, and all are more than the transport takes for a server that does not read.
        calls = [asyncio.create_task(front_end.subscribed_to("x" * 1_000_000)) for _ in range(12)]
        async with asyncio.timeout(TIMEOUT):
            await said.wait()
            await settled(front_end)
            read_on.set()
            await ended.wait()
    assert frames < 12
    await asyncio.gather(*calls, return_exceptions=True)


async def test_pauses_begin_anew_after_a_stream_that_stood() -> None:
    """Not after one that stood for less than the longest pause: see `test_no_storm`."""
    streams = 0

    async def attach(_: Frames, __: Any) -> Frames:
        nonlocal streams
        streams += 1
        yield attach_pb2.AttachResponse(events=[welcome()])
        if streams == 4:
            await asyncio.sleep(1.2)  # it has to stand for longer than the longest pause

    backoff = Backoff(first=0.02, longest=1.0)
    pauses = await Pauses(5).first(attach, silent, backoff=backoff)
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.01, 0.02])


async def test_a_client_is_attached_again_no_sooner_than_the_server_asks() -> None:
    """Its refusal says for how long; until then nothing is asked for it."""
    asked: list[float] = []
    loop = asyncio.get_running_loop()
    broken = asyncio.Event()
    failed = attach_pb2.AttachFailed(handle=0, error=refusal(seconds=1))

    def answer(handle: int) -> Event:
        if not broken.is_set():
            return attached(handle)
        asked.append(loop.time())
        return Event(attach_failed=failed) if len(asked) == 1 else attached(handle)

    async def attach(requests: Frames, context: Any) -> Frames:
        frames = link(attach=answer)(requests, context)
        yield await anext(frames)
        yield await anext(frames)
        if not broken.is_set():
            broken.set()
            return
        async for frame in frames:
            yield frame

    async with front_end_of(attach) as front_end:
        attachment = await front_end.attach("ann")
        await until(lambda: len(asked) == 2 and attachment.standing.name == "HELD")
    assert asked[1] - asked[0] >= 1.0  # a second really passes here


# Silence


def quiet_after(limit: float, streams: list[float]) -> Handler:
    """A link that names a limit of silence in its Welcome, and says nothing more."""

    async def attach(requests: Frames, _: Any) -> Frames:
        streams.append(limit)
        said = attach_pb2.Welcome(max_commands=10)
        said.silence_limit.FromMilliseconds(round(1_000 * limit))
        yield attach_pb2.AttachResponse(events=[Event(welcome=said)])
        async for _ in requests:
            pass

    return attach


async def test_the_server_says_how_long_a_link_may_be_silent() -> None:
    """After that time a link is given up, whatever this side's own timeout is."""
    streams: list[float] = []
    async with front_end_of(quiet_after(0.1, streams), timeout=AN_HOUR):
        await until(lambda: len(streams) >= 3)


async def test_a_link_without_a_welcome_is_given_up() -> None:
    """After the front-end's timeout."""
    streams = 0

    async def attach(requests: Frames, _: Any) -> Frames:
        nonlocal streams
        streams += 1
        async for _ in requests:
            pass
        yield

    async with front_end_of(attach, timeout=0.1):
        await until(lambda: streams >= 3)


async def test_a_new_link_does_not_have_the_old_ones_limit() -> None:
    """Its Welcome may take longer than the old server's limit of silence: that was another server."""
    streams = 0

    async def attach(requests: Frames, context: Any) -> Frames:
        nonlocal streams
        streams += 1
        if streams == 1:
            async for frame in quiet_after(0.05, [])(requests, context):
                yield frame
            return
        await asyncio.sleep(0.3)  # longer than the old limit
        async for frame in link(attach=attached)(requests, context):
            yield frame

    async with front_end_of(attach) as front_end:
        await until(lambda: streams >= 2)
        await front_end.attach("ann")
    assert streams == 2


# Leaving


async def test_leaving_waits_for_what_is_under_way() -> None:
    """A server that answers when nothing more comes is waited for."""

    async def pipeline(requests: Frames, _: Any) -> Frames:
        operations: list[pipeline_pb2.Operation] = []
        async for request in requests:
            operations += request.operations
            under_way.set()
        yield pipeline_pb2.PipelineResponse(results=map(answer_of, operations))

    under_way = asyncio.Event()
    async with front_end_of(link(), pipeline) as front_end:
        call = asyncio.create_task(front_end.subscribed_to("ann"))
        async with asyncio.timeout(TIMEOUT):
            await under_way.wait()
    assert await call == []


async def test_leaving_takes_a_second_at_most() -> None:
    """However long the server keeps the streams open."""

    async def endless(requests: Frames, context: Any) -> Frames:
        async for frame in link()(requests, context):
            yield frame
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with front_end_of(endless, silent) as front_end:
        await until(lambda: front_end.connected)
        began = loop.time()
    assert loop.time() - began < TIMEOUT / 3


# Confirmation


def delivery(number: int, *handles: int) -> Event:
    """Brings a message."""
    batch = attach_pb2.Batch(messages=[message_pb2.Message(channel="/a", data=str(number))], handles=handles)
    return Event(delivery=attach_pb2.Delivery(number=number, batches=[batch]))


class Courier:
    """A link that delivers when the test says so, and notes what is confirmed."""

    def __init__(self) -> None:
        self.commands: asyncio.Queue[str] = asyncio.Queue()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def say(self, *events: Event) -> None:
        """Send events."""
        for event in events:
            self._events.put_nowait(event)

    async def next_command(self) -> str:
        """The next command that is no attach, with its number."""
        async with asyncio.timeout(TIMEOUT):
            return await self.commands.get()

    async def attach(self, requests: Frames, _: Any) -> Frames:
        """The stream."""
        yield attach_pb2.AttachResponse(events=[welcome()])
        reading = asyncio.create_task(self._read(requests))
        while event := await self._events.get():
            yield attach_pb2.AttachResponse(events=[event])
        await reading

    async def _read(self, requests: Frames) -> None:
        async for request in requests:
            for command in request.commands:
                match command.WhichOneof("command"):
                    case "attach":
                        self.say(attached(command.attach.handle))
                    case "detach":
                        self.say(detached(command.detach.handle))
                    case "ack":
                        self.commands.put_nowait(f"ack {command.ack.number}")
                    case kind:
                        self.commands.put_nowait(str(kind))
        self._events.put_nowait(None)


BEAT = Event(heartbeat=attach_pb2.Heartbeat())


async def confirmed_only_when(courier: Courier, go_on: Callable[[], None]) -> None:
    """See that nothing is confirmed before this, and delivery 1 after it."""
    courier.say(BEAT)
    # What could be confirmed would go before the heartbeat's answer, or instead of it.
    assert await courier.next_command() == "hello"
    assert await courier.next_command() == "heartbeat"
    go_on()
    assert await courier.next_command() == "ack 1"


async def test_a_callback_confirms_when_it_has_returned() -> None:
    """Not when the messages come, nor when the callback is called: what it was dealing with comes again otherwise."""
    courier = Courier()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def take(_: Batch) -> None:
        begun.set()
        await go_on.wait()

    async with front_end_of(courier.attach, on_batch=take) as front_end:
        handle = (await front_end.attach("ann")).handle
        courier.say(delivery(1, handle))
        async with asyncio.timeout(TIMEOUT):
            await begun.wait()
        await confirmed_only_when(courier, go_on.set)


async def test_an_iterator_confirms_when_the_next_item_is_asked_for() -> None:
    """Taking an item says nothing about it yet."""
    courier = Courier()
    async with front_end_of(courier.attach) as front_end:
        attachment = await front_end.attach("ann")
        courier.say(delivery(1, attachment.handle))
        async with asyncio.timeout(TIMEOUT):
            await anext(attachment)
        await confirmed_only_when(courier, attachment.done)


async def test_a_delivery_to_several_is_confirmed_when_all_have_dealt_with_it() -> None:
    """The last of them counts."""
    courier = Courier()
    async with front_end_of(courier.attach) as front_end:
        quick, slow = await front_end.attach("ann"), await front_end.attach("bob")
        courier.say(delivery(1, quick.handle, slow.handle))
        async with asyncio.timeout(TIMEOUT):
            await anext(quick)
            await anext(slow)
        quick.done()
        await confirmed_only_when(courier, slow.done)


async def test_what_a_delivery_says() -> None:
    """All that the server said of it, to an iterator and to a callback alike."""
    said = attach_pb2.Batch(
        messages=[message_pb2.Message(channel="/a", data="1", id="7")], handles=[0], redelivered=True, cursor=9
    )
    messages = (Message("/a", "1", "7"),)
    taken: list[Batch] = []
    for on_batch in (None, taken.append):
        courier = Courier()
        async with front_end_of(courier.attach, on_batch=on_batch) as front_end:
            attachment = await front_end.attach("ann")
            assert attachment.handle == 0
            courier.say(Event(delivery=attach_pb2.Delivery(number=1, batches=[said])))
            if on_batch is None:
                async with asyncio.timeout(TIMEOUT):
                    assert await anext(attachment) == Delivery(messages, redelivered=True, number=1, cursor=9)
            else:
                await until(lambda: taken != [])
    (batch,) = taken
    assert list(batch.handles) == [0]
    assert (batch.messages, batch.redelivered, batch.number, batch.cursor) == (messages, True, 1, 9)


async def test_nothing_is_confirmed_that_is_nothing() -> None:
    """A client that has got nothing yet has nothing to confirm."""
    courier = Courier()
    async with front_end_of(courier.attach) as front_end:
        attachment = await front_end.attach("ann", explicit=True)
        attachment.confirm(0)
        courier.say(BEAT)
        assert [await courier.next_command() for _ in range(2)] == ["hello", "heartbeat"]


async def test_nothing_is_confirmed_twice() -> None:
    """Whoever leaves confirms ahead of the others only what the link has not confirmed."""
    courier = Courier()
    async with front_end_of(courier.attach) as front_end:
        attachment = await front_end.attach("ann")
        courier.say(delivery(1, attachment.handle))
        async with asyncio.timeout(TIMEOUT):
            await anext(attachment)
        attachment.done()
        await attachment.detach()
        courier.say(BEAT)
        assert [await courier.next_command() for _ in range(3)] == ["hello", "ack 1", "heartbeat"]


async def test_a_delivery_wakes_all_who_get_it() -> None:
    """However many there are: some are woken at once, the others in their turn."""
    courier = Courier()
    async with front_end_of(courier.attach) as front_end:
        attachments = await asyncio.gather(*(front_end.attach(f"client {number}") for number in range(200)))
        waiting = [asyncio.ensure_future(anext(attachment)) for attachment in attachments]
        await asyncio.sleep(0)
        courier.say(delivery(1, *(attachment.handle for attachment in attachments)))
        async with asyncio.timeout(TIMEOUT):
            deliveries = await asyncio.gather(*waiting)
    assert {one.number for one in deliveries if isinstance(one, Delivery)} == {1}


# Keys


async def test_what_is_sent_again_has_the_key_that_it_had() -> None:
    """So the server can tell that it is the same: a message gets its key once, and another one another."""
    keys: list[list[str]] = []

    async def pipeline(requests: Frames, context: Any) -> Frames:
        (operation,) = (await anext(aiter(requests))).operations
        keys.append([message.idempotency_key for message in operation.publish.messages])
        if len(keys) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        result = pipeline_pb2.OperationResult()
        result.publish.results.add(matched_subscriptions=1)
        yield pipeline_pb2.PipelineResponse(results=[result])

    async with front_end_of(link(), pipeline) as front_end:
        await front_end.publish([Message.of("/a", 1), Message.of("/a", 1)])
    assert keys == [keys[0]] * 3
    one, other = keys[0]
    assert one
    assert other
    assert one != other
