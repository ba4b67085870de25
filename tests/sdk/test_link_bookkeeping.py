"""What a link may confirm, and in which order it sends it."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, cast

import grpc
from hypothesis import given
from hypothesis import strategies as st
from tests.sdk.made_up import Event, Frames, attached, detached, front_end_of, welcome
from tests.sdk.servers import TIMEOUT
from tests.sdk.test_front_end import until

from pixied.v1 import attach_pb2, message_pb2
from pixied_client import Attachment, FrontEnd, Gap
from pixied_client.frame_writer import FrameWriter
from pixied_client.receipts import Receipts


def test_confirms_up_to_the_first_that_waits() -> None:
    """A delivery that someone still holds keeps all later ones from being confirmed."""
    receipts = Receipts()
    numbers = [receipts.came(n, consumers=1) for n in (1, 2, 3)]
    receipts.released(numbers[1])
    receipts.released(numbers[2])
    assert receipts.confirmable == 0
    receipts.released(numbers[0])
    assert receipts.confirmable == 3


def test_all_consumers() -> None:
    """A delivery for several clients waits for all of them, and one for nobody for no one."""
    receipts = Receipts()
    receipts.came(1, consumers=2)
    receipts.released(1)
    assert receipts.confirmable == 0
    receipts.released(1)
    assert receipts.confirmable == 1
    receipts.came(2, consumers=0)
    assert receipts.confirmable == 2


def test_numbers_go_on_over_links() -> None:
    """Numbers ascend over all links, and what is released of an old link confirms nothing on the new one."""
    receipts = Receipts()
    receipts.came(1, consumers=1)
    old = receipts.came(2, consumers=1)
    receipts.begin()
    new = receipts.came(1, consumers=1)
    assert (old, new, receipts.last) == (2, 3, 3)
    receipts.released(1)
    receipts.released(old)
    assert receipts.confirmable == 0
    assert receipts.on_link(old) <= 0
    assert not receipts.settled
    receipts.released(new)
    assert receipts.confirmable == receipts.on_link(new) == 1
    assert receipts.settled


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_any_order(consumers: list[int], random: Random) -> None:
    """In whatever order deliveries are released, confirmed is the longest run that nobody holds."""
    receipts = Receipts()
    left = {receipts.came(n, count): count for n, count in enumerate(consumers, 1)}
    releases = [number for number, count in left.items() for _ in range(count)]
    random.shuffle(releases)
    for number in releases:
        receipts.released(number)
        left[number] -= 1
        waiting = [n for n, count in left.items() if count]
        assert receipts.confirmable == (min(waiting) - 1 if waiting else len(consumers))


def commands(writer: FrameWriter, room: int = 100) -> list[str | None]:
    """The kinds of the commands in the next frame."""
    return [command.WhichOneof("command") for command in writer.next_frame(room)]


def test_confirmations_first() -> None:
    """Confirmations go before attaches and detaches, which keep their order."""
    writer = FrameWriter()
    writer.detach(1)
    writer.attach("id", 2, message_pb2.ACK_MODE_AUTO, expires=False, ack_cursor=0)
    writer.client_ack(1, 5)
    writer.ack(7)
    writer.heartbeat()
    assert commands(writer) == ["ack", "client_ack", "detach", "attach"]
    assert commands(writer) == []


def test_heartbeat_alone() -> None:
    """A heartbeat is answered by a frame of its own only if there is nothing else to say."""
    writer = FrameWriter()
    writer.heartbeat()
    assert commands(writer) == ["heartbeat"]
    assert commands(writer) == []


def test_merged_confirmations() -> None:
    """Of many confirmations the newest is sent, once."""
    writer = FrameWriter()
    for number in (3, 9, 4):
        writer.client_ack(1, number)
    writer.ack(1)
    writer.ack(2)
    frame = writer.next_frame(100)
    assert frame[0] == attach_pb2.AttachCommand(ack=attach_pb2.Ack(number=2))
    assert frame[1] == attach_pb2.AttachCommand(client_ack=attach_pb2.ClientAck(handle=1, number=9))
    writer.ack(2)
    assert commands(writer) == []


def test_forgotten_confirmations() -> None:
    """What a client that is gone confirmed is not sent for the next client with its handle."""
    writer = FrameWriter()
    writer.client_ack(1, 3)
    writer.forget(1)
    assert commands(writer) == []


async def test_a_confirmation_that_waits_when_its_client_goes() -> None:
    """What a client confirmed is not sent any more once the server has detached the client."""
    sent: list[str | None] = []

    async def attach(requests: Frames, _: Any) -> Frames:
        frames = aiter(requests)
        await anext(frames)  # the hello
        yield attach_pb2.AttachResponse(events=[welcome()])
        await anext(frames)  # the attach
        delivery = attach_pb2.Delivery(number=1, batches=[attach_pb2.Batch(handles=[0])])
        gap = attach_pb2.ClientGap(handles=[0], gap=message_pb2.Gap(channel="/a", lost=1))
        # In one frame: no command can be sent between two of its events.
        events = [attached(0), Event(delivery=delivery), Event(gap=gap), detached(0)]
        yield attach_pb2.AttachResponse(events=events)
        async for frame in frames:
            for command in frame.commands:
                sent.append(command.WhichOneof("command"))
                if command.HasField("attach"):
                    yield attach_pb2.AttachResponse(events=[attached(command.attach.handle)])
                if command.HasField("detach"):
                    yield attach_pb2.AttachResponse(events=[detached(command.detach.handle)])

    def confirm(attachment: Attachment, _: Gap) -> None:
        attachment.confirm(1)
        confirmed.append(attachment)

    confirmed: list[Attachment] = []
    async with front_end_of(attach, on_gap=confirm) as front_end:
        gone = await front_end.attach("ann", explicit=True)
        assert confirmed == [gone]
        assert gone.detached
        async with await front_end.attach("bob") as next_one:
            assert next_one.handle == gone.handle
    assert [kind for kind in sent if kind != "ack"] == ["attach", "detach"]


async def test_a_client_that_confirms_by_itself_is_given_up_without_a_confirmation() -> None:
    """What it took and did not confirm is not confirmed for it, though the link as a whole is held up by others."""
    sent: list[str | None] = []

    async def attach(requests: Frames, _: Any) -> Frames:
        frames = aiter(requests)
        await anext(frames)  # the hello
        yield attach_pb2.AttachResponse(events=[welcome()])
        handles: list[int] = []
        while len(handles) < 2:
            handles += [command.attach.handle for command in (await anext(frames)).commands]
        batch = attach_pb2.Batch(messages=[message_pb2.Message(channel="/a", data="1")], handles=handles)
        brought = Event(delivery=attach_pb2.Delivery(number=1, batches=[batch]))
        yield attach_pb2.AttachResponse(events=[*map(attached, handles), brought])
        async for frame in frames:
            for command in frame.commands:
                sent.append(command.WhichOneof("command"))
                if command.HasField("detach"):
                    yield attach_pb2.AttachResponse(events=[detached(command.detach.handle)])

    async with front_end_of(attach) as front_end:
        explicit, _slow = await asyncio.gather(front_end.attach("ann", explicit=True), front_end.attach("bob"))
        async with asyncio.timeout(TIMEOUT):
            await anext(explicit)
            explicit.done()
            await explicit.detach()
        assert sent == ["detach"]


def test_frames_have_room() -> None:
    """No frame has more commands than the server takes."""
    writer = FrameWriter()
    writer.ack(1)
    for handle in range(4):
        writer.client_ack(handle, 1)
        writer.detach(handle)
    sizes = []
    while frame := writer.next_frame(2):
        sizes.append(len(frame))
    assert sizes == [2, 2, 2, 2, 1]


class EagerStream:
    """A stream to a server whose welcome has been read before the hello has left: so it looks on a busy machine."""

    def __init__(self, connected: Callable[[], bool]) -> None:
        self._connected = connected
        self._come: asyncio.Queue[Any] = asyncio.Queue()
        self.written: asyncio.Queue[list[str | None]] = asyncio.Queue()

    async def write(self, frame: attach_pb2.AttachRequest) -> None:
        """Take a frame."""
        kinds = [command.WhichOneof("command") for command in frame.commands]
        if kinds == ["hello"]:
            self._come.put_nowait(attach_pb2.AttachResponse(events=[welcome()]))
            await until(self._connected)
        self.written.put_nowait(kinds)

    async def read(self) -> Any:
        """Give the next frame."""
        return await self._come.get()

    async def done_writing(self) -> None:
        """End the stream."""
        self._come.put_nowait(grpc.aio.EOF)

    async def wait_for_connection(self) -> None:
        """It is there."""

    def cancel(self) -> None:
        """End the stream."""


class EagerChannel:
    """A channel whose streams are eager."""

    def __init__(self) -> None:
        self.attach = EagerStream(lambda: self.front_end.connected)
        self.pipeline = EagerStream(lambda: True)
        self.front_end = FrontEnd("nowhere", timeout=TIMEOUT, channel=cast("grpc.aio.Channel", self))

    def stream_stream(self, path: str, **_: Any) -> Callable[[], EagerStream]:
        """Open a stream."""
        return lambda: self.attach if path.endswith("/Attach") else self.pipeline


async def test_a_welcome_before_the_hello_is_written() -> None:
    """What waits by then is sent at once, not when something else comes up."""
    channel = EagerChannel()
    async with channel.front_end as front_end:
        attaching = asyncio.create_task(front_end.attach("ann"))
        async with asyncio.timeout(TIMEOUT / 3):
            assert await channel.attach.written.get() == ["hello"]
            assert await channel.attach.written.get() == ["attach"]
        attaching.cancel()
        await asyncio.wait([attaching])
