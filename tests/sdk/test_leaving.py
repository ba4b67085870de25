"""The end of things: front-ends, calls and streams that are closed while something goes on."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import grpc
import pytest
from tests.sdk.made_up import Event, Frames, attached, front_end_of, link, server_of, silent, sound_pipeline, welcome
from tests.sdk.servers import TIMEOUT, Server
from tests.sdk.test_front_end import until, until_polled

from pixied.v1 import attach_pb2, message_pb2
from pixied_client import Backend, FrontEnd, Message, PixiedError, Unavailable, kept_stream, sync


async def unanswering(requests: Frames, context: Any) -> Frames:
    """A link that stands, answers nothing and never ends."""
    async for frame in link()(requests, context):
        yield frame
    await asyncio.Event().wait()


async def test_no_task_is_left() -> None:
    """A front-end that leaves a server which does not let it go leaves nothing running behind."""
    async with server_of(unanswering, silent) as address:
        before = asyncio.all_tasks()
        async with FrontEnd(address, "test") as front_end:
            await until(lambda: front_end.connected)
        left = [repr(task) for task in asyncio.all_tasks() - before]
    assert [task for task in left if "pixied_client" in task or "asyncio/locks" in task] == []


async def test_nothing_of_a_front_end_that_was_left_is_kept() -> None:
    """What was given to it can go at once, however long its operations might have taken."""

    class Chance:
        def __call__(self) -> float:
            return 0.5

    async with server_of(link()) as address:
        chance = Chance()
        async with FrontEnd(address, "test", timeout=3_600.0, chance=chance) as front_end:
            await front_end.subscribed_to("ann")
        kept = weakref.ref(chance)
        del chance, front_end
        gc.collect()
        assert kept() is None


async def test_leaving_takes_no_longer_than_the_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front-end is left as soon as its streams have ended, and not after the time that they are given for it."""
    monkeypatch.setattr(kept_stream, "_FAREWELL", 10 * TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        async with front_end_of(link()) as front_end:
            await until(lambda: front_end.connected)


async def test_attach_while_closing() -> None:
    """An attach that has no answer when its front-end is closed fails at once, and so does a later one."""
    async with front_end_of(unanswering, sound_pipeline) as front_end:
        await until(lambda: front_end.connected)
        attaching = asyncio.create_task(front_end.attach("ann"))
        await asyncio.sleep(0)
    for late in (attaching, front_end.attach("bob")):
        with pytest.raises(Unavailable, match="closed"):
            async with asyncio.timeout(TIMEOUT / 3):
                await late


async def test_a_stopping_server_is_left_when_what_came_is_confirmed() -> None:
    """What a consumer has in hand when the server announces its stop is confirmed before this side ends the link."""
    received: list[str | None] = []
    ended = asyncio.Event()

    async def attach(requests: Frames, _: Any) -> Frames:
        frames = aiter(requests)
        yield attach_pb2.AttachResponse(events=[welcome()])
        await anext(frames)
        await anext(frames)
        closing = Event(closing=message_pb2.Closing(reconnect_after_ms=60_000))
        batch = attach_pb2.Batch(messages=[message_pb2.Message(channel="/a", data="1")], handles=[0])
        brought = attach_pb2.Delivery(number=1, batches=[batch])
        beat = Event(heartbeat=attach_pb2.Heartbeat())
        yield attach_pb2.AttachResponse(events=[attached(0), Event(delivery=brought), closing, beat])
        async for frame in frames:
            received.extend(command.WhichOneof("command") for command in frame.commands)
        ended.set()

    async with front_end_of(attach) as front_end:
        attachment = await front_end.attach("ann")
        async with asyncio.timeout(TIMEOUT):
            await anext(attachment)
            await until(lambda: "heartbeat" in received)
            attachment.done()
            await ended.wait()
    assert received == ["heartbeat", "ack"]


async def test_operations_without_room_while_closing() -> None:
    """All operations that wait for room in the pipeline when their front-end is closed fail at once."""
    async with front_end_of(link(), silent, max_pending=2) as front_end:
        calls = [asyncio.create_task(front_end.subscribed_to("ann")) for _ in range(9)]
        await until(lambda: front_end.connected)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {(type(outcome), str(outcome)) for outcome in outcomes} == {(Unavailable, "this front-end is closed")}


class DefectiveStream:
    """A stream on which nothing can be written, for a reason that is no stream's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def write(self, _: bytes) -> None:
        """Fail."""
        raise ZeroDivisionError


class DefectiveChannel:
    """A channel whose Pipeline is defective."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def stream_stream(self, path: str, **options: Any) -> Any:
        """Open a stream."""
        opened: Any = self._channel.stream_stream(path, **options)
        return (lambda: DefectiveStream(opened())) if path.endswith("/Pipeline") else opened


async def test_defect_is_seen(server: Server) -> None:
    """A defect while writing ends the front-end and is shown, though its reading side is well."""

    async def run(channel: Any) -> None:
        async with FrontEnd(server.address, "test", channel=channel) as front_end:
            await until(lambda: front_end.connected)
            await front_end.generate_namespace()

    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(TIMEOUT) as limit:
                await run(DefectiveChannel(channel))
    assert not limit.expired()
    assert caught.group_contains(ZeroDivisionError)


async def test_awaited_call_of_a_closed_backend(plain: Backend, server: Server) -> None:
    """A call under way when its Backend is closed fails as unavailable, and is not taken for a cancelled task."""
    client_id = (await plain.create_client()).client_id
    backend = Backend(server.address)
    waiting = asyncio.create_task(backend.dequeue_for(client_id, wait=60))
    await until_polled(plain, client_id)
    await backend.close()
    with pytest.raises(Unavailable, match=f"{server.address} was closed here"):
        await waiting
    with pytest.raises(Unavailable, match=f"{server.address} was closed here"):
        await backend.get_client(client_id)


async def test_cancelled_call(plain: Backend) -> None:
    """A cancelled call is a cancelled task, and the Backend goes on."""
    client_id = (await plain.create_client()).client_id
    waiting = asyncio.create_task(plain.dequeue_for(client_id, wait=60))
    await until_polled(plain, client_id)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await plain.subscribed_to(client_id) == []


def test_blocking_call_of_a_closed_backend(server: Server) -> None:
    """A call under way when another thread closes its Backend fails, and so do later ones."""
    backend = sync.Backend(server.address)
    client_id = backend.create_client().client_id
    failures: list[PixiedError] = []

    def poll() -> None:
        try:
            backend.dequeue_for(client_id, wait=60)
        except PixiedError as error:
            failures.append(error)

    poller = threading.Thread(target=poll)
    poller.start()
    with sync.Backend(server.address) as other:
        deadline = time.monotonic() + TIMEOUT
        while other.get_client(client_id).front_end != "DequeueFor":
            assert time.monotonic() < deadline, "the long poll did not begin in time"
            time.sleep(0.01)
    backend.close()
    poller.join(TIMEOUT)
    assert len(failures) == 1
    with pytest.raises(Unavailable, match=f"{server.address} was closed here"):
        backend.get_client(client_id)


PROGRAMS = {
    "a Backend that nobody closes": """
import asyncio
from pixied_client import Backend

async def main():
    backend = Backend(ADDRESS)
    await backend.create_client()

asyncio.run(main())
print("done")
""",
    "a blocking Backend that nobody closes": """
from pixied_client.sync import Backend

backend = Backend(ADDRESS)
stream = backend.watch()
stream.ready()
print("done")
""",
    "a front-end whose body returns early": """
import asyncio
from pixied_client import FrontEnd

async def main():
    async with FrontEnd(ADDRESS, "test") as front_end:
        client = await front_end.create_client()
        await front_end.attach(client.client_id)
        asking = asyncio.create_task(front_end.subscribed_to(client.client_id))
        # On a busy machine it may not be answered in time, which is nobody's business but ours.
        asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return

asyncio.run(main())
print("done")
""",
    "streams that are left as they are": """
import asyncio
from pixied_client import Backend

async def main():
    backend = Backend(ADDRESS)
    client = await backend.create_client()
    async for received in backend.deliver(client.client_id):
        break
    try:
        async with asyncio.timeout(0.05):
            await anext(backend.watch([]))
            await asyncio.Event().wait()
    except TimeoutError:
        pass

asyncio.run(main())
print("done")
""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_quiet_exit(server: Server, program: str) -> None:
    """A program ends in silence, without a word of closed loops or destroyed tasks."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program.replace("ADDRESS", repr(server.address))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    # What asyncio says of a busy machine in this mode: "Executing <Task ...> took 0.123 seconds".
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, done.stdout, errors) == (0, "done\n", [])


def test_interrupt(server: Server) -> None:
    """Ctrl-C ends a program in the middle of a front-end with nothing but Python's own KeyboardInterrupt."""
    program = f"""
import asyncio
from pixied_client import FrontEnd

async def main():
    async with FrontEnd({server.address!r}, "test") as front_end:
        client = await front_end.create_client()
        async with await front_end.attach(client.client_id) as attachment:
            print("attached", flush=True)
            async for item in attachment:
                pass

asyncio.run(main())
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "attached\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") <= 2
    assert errors.rstrip().endswith("KeyboardInterrupt")


_IN_THE_CHILD = {
    "a call": "backend.create_client()",
    "a Watch": "backend.watch().ready()",
    "a Deliver": "next(backend.deliver(client_id))",
    "an item of a stream": "next(stream)",
    "an item that has come": "next(full)",
    "a stream that stands": "stream.ready()",
}


@pytest.mark.parametrize("use", _IN_THE_CHILD.values(), ids=_IN_THE_CHILD)
def test_fork(server: Server, use: str) -> None:
    """A Backend that was made before a fork says so in the child, instead of hanging there; the parent's works on.

    So do its streams. All can be left there: a `with` around the fork ends in both.
    """
    program = f"""
import os
from pixied_client import Message
from pixied_client.sync import Backend

with Backend({server.address!r}) as backend:
    client_id = backend.create_client().client_id
    backend.queue_for(client_id, [Message.of("/service/a", 1)])
    with backend.deliver(client_id) as full, backend.watch() as stream:
        full.ready()
        stream.ready()
        child = os.fork()
        if not child:
            try:
                {use}
            except RuntimeError as error:
                print(error, flush=True)
        else:
            os.waitpid(child, 0)
            backend.create_client()
            assert next(full).messages[0].value == 1
            assert next(stream).client_id
    if not child:
        print("left", flush=True)
if not child:
    os._exit(0)
print("the parent works on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0
    refusal, left, last = done.stdout.splitlines()
    assert "does not survive a fork" in refusal
    assert (left, last) == ("left", "the parent works on")


def test_shared_by_threads(server: Server, room: str) -> None:
    """One blocking Backend serves many threads at once, each with its own answers."""
    answers: dict[int, list[object]] = {}

    def work(backend: sync.Backend, number: int) -> None:
        client_id = backend.create_client().client_id
        backend.subscribe(client_id, f"{room}/{number}")
        for n in range(20):
            backend.publish_one(Message.of(f"{room}/{number}", [number, n]))
        answers[number] = [message.value for message in backend.dequeue_for(client_id).messages]

    with sync.Backend(server.address) as backend:
        threads = [threading.Thread(target=work, args=(backend, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
    assert answers == {number: [[number, n] for n in range(20)] for number in range(8)}
