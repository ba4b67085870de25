"""What calls leave behind: nothing that only the garbage collector could find, for it rests."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest
from tests.support.caller import Caller, message, until, within
from tests.support.site import Site

import pixied_server
from pixied.v1 import attach_pb2, operations_pb2, pipeline_pb2

_SERVER = str(Path(pixied_server.__file__).parent)
_LARGE = f'"{"x" * 100_000}"'
_HELLO = attach_pb2.AttachCommand(hello=attach_pb2.Hello(front_end="front"))

Use = Callable[[Caller], Coroutine[Any, Any, None]]


async def _refused(call: Any) -> None:
    async with within():
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def _refused_stream(call: Any) -> None:
    async with within():
        with pytest.raises(grpc.aio.AioRpcError):
            await _read_all(call)


async def _read_all(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def a_bad_channel(caller: Caller) -> None:
    """Refused before anything is done."""
    await _refused(caller("Publish", messages=[message("bad", _LARGE)]))


async def no_message_at_all(caller: Caller) -> None:
    """Not decodable."""
    await _refused(caller.send("Publish", b"\xff" * 100_000))


async def nobody(caller: Caller) -> None:
    """Refused by the engine."""
    await _refused(caller("QueueFor", client_id="nobody", messages=[message("/a", _LARGE)]))


async def subscriptions_of_nobody(caller: Caller) -> None:
    """Refused by the engine when the client is changed."""
    await _refused(caller("Subscribe", client_id="nobody", channels=["/a", "/b/*"]))


async def a_stream_of_nobody(caller: Caller) -> None:
    """Deliver, refused."""
    await _refused_stream(caller.stream("Deliver", client_id="nobody"))


async def a_bad_watch(caller: Caller) -> None:
    """Watch, not decodable."""
    await _refused_stream(caller.stream_raw("Watch", b"\xff"))


async def a_take_over(caller: Caller) -> None:
    """A long poll that another one ends."""
    client_id = await caller.client()
    waiting = asyncio.ensure_future(caller("DequeueFor", client_id=client_id, wait={"seconds": 60}))
    await until(lambda: caller.is_held_by(client_id, "DequeueFor"))
    await caller("DequeueFor", client_id=client_id)
    await _refused(waiting)
    await caller("DestroyClient", client_id=client_id)


async def a_long_poll_that_is_given_up(caller: Caller) -> None:
    """Its caller goes."""
    client_id = await caller.client()
    waiting = asyncio.ensure_future(caller("DequeueFor", client_id=client_id, wait={"seconds": 60}))
    await until(lambda: caller.is_held_by(client_id, "DequeueFor"))
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await until(lambda: caller.is_held_by(client_id, ""))


async def a_link(caller: Caller) -> AsyncIterator[Any]:
    call = caller.both_ways("Attach")
    await call.write(attach_pb2.AttachRequest(commands=[_HELLO]).SerializeToString())
    await call.read()
    yield call


async def a_broken_protocol(caller: Caller) -> None:
    """A link that confirms what was not sent."""
    async for call in a_link(caller):
        ack = attach_pb2.AttachCommand(ack=attach_pb2.Ack(number=99))
        await call.write(attach_pb2.AttachRequest(commands=[ack]).SerializeToString())
        await _refused_stream(call)


async def a_link_that_is_cut(caller: Caller) -> None:
    """With a client, and one that could not be attached."""
    client_id = await caller.client("/a")
    async for call in a_link(caller):
        for handle, name in enumerate((client_id, "nobody"), 1):
            attach = attach_pb2.AttachCommand(attach=attach_pb2.AttachClient(client_id=name, handle=handle))
            await call.write(attach_pb2.AttachRequest(commands=[attach]).SerializeToString())
            async with within():
                await call.read()
        call.cancel()
    await until(lambda: caller.is_held_by(client_id, ""))


async def a_bad_frame(caller: Caller) -> None:
    """A Pipeline that ends by it."""
    call = caller.both_ways("Pipeline")
    await call.write(b"\xff" * 100_000)
    await _refused_stream(call)


async def a_bad_operation(caller: Caller) -> None:
    """A Pipeline that goes on."""
    call = caller.both_ways("Pipeline")
    publish = operations_pb2.PublishRequest(messages=[message("bad", _LARGE)])
    for operation in (
        pipeline_pb2.Operation(publish=publish),
        pipeline_pb2.Operation(subscribed_to=operations_pb2.SubscribedToRequest(client_id="nobody")),
    ):
        await call.write(pipeline_pb2.PipelineRequest(operations=[operation]).SerializeToString())
        async with within():
            assert (await call.read()).results[0].HasField("error")
    await call.done_writing()
    async with within():
        assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize(
    "use",
    [
        a_bad_channel,
        no_message_at_all,
        nobody,
        subscriptions_of_nobody,
        a_stream_of_nobody,
        a_bad_watch,
        a_take_over,
        a_long_poll_that_is_given_up,
        a_broken_protocol,
        a_link_that_is_cut,
        a_bad_frame,
        a_bad_operation,
    ],
)
async def test_calls_leave_nothing_to_the_garbage_collector(site: Site, use: Use) -> None:
    """Neither refused calls nor broken streams: no frame of the server's, with what was worked on there, stays."""
    tasks = len(asyncio.all_tasks())
    await use(site)  # what is made once is not in question
    await _settled(site, tasks)
    gc.collect()
    gc.disable()
    try:
        before = _frames()
        for _ in range(3):
            await use(site)
        await _settled(site, tasks)
        assert _frames() - before == Counter()
    finally:
        gc.enable()


def _frames() -> "Counter[str]":
    """The frames of the server's code that an exception has come through and that are still there."""
    frames = [one.f_code for one in gc.get_objects() if isinstance(one, FrameType)]
    return Counter(f"{code.co_filename}:{code.co_name}" for code in frames if code.co_filename.startswith(_SERVER))


async def _settled(site: Site, tasks: int) -> None:
    """Let the server, which is in this process, end what it has to do for calls that have ended."""
    async with within():
        while len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110 - others' tasks
            await asyncio.sleep(0.005)
    for _ in range(5):
        await site("GetInfo")
