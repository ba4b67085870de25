"""Lost messages, as they are announced to a front-end's clients, whatever the link does meanwhile."""

import asyncio
from typing import Any

from tests.sdk.made_up import Event, Frames, attached, detached, front_end_of, welcome
from tests.sdk.servers import TIMEOUT
from tests.sdk.test_front_end import until

from pixied.v1 import attach_pb2, message_pb2
from pixied_client import Attachment, Batch, Delivery, Gap

LOST = message_pb2.Gap(channel="/a", lost=3)


def gap(*handles: int) -> Event:
    """Says that clients lost messages."""
    return Event(gap=attach_pb2.ClientGap(handles=handles, gap=LOST))


def delivery(number: int, *handles: int) -> Event:
    """Brings a message, if there are clients to get it."""
    batch = attach_pb2.Batch(messages=[message_pb2.Message(channel="/a", data="1")], handles=handles)
    return Event(delivery=attach_pb2.Delivery(number=number, batches=[batch] if handles else []))


class Teller:
    """A link that announces a loss to its first client and brings messages to others only.

    Attributes:
        received: the kinds of the commands that came after the attaches, in order.
        links: how many there were.
    """

    def __init__(self) -> None:
        self.received: asyncio.Queue[str | None] = asyncio.Queue()
        self.links = 0
        self._to_say: asyncio.Queue[Event | None] = asyncio.Queue()

    async def next_command(self) -> str | None:
        """The kind of the next command."""
        async with asyncio.timeout(TIMEOUT):
            return await self.received.get()

    def beat(self) -> None:
        """Send a heartbeat. What is to be confirmed goes before its answer, or instead of it."""
        self._to_say.put_nowait(Event(heartbeat=attach_pb2.Heartbeat()))

    def stop(self) -> None:
        """Break the link."""
        self._to_say.put_nowait(None)

    async def attach(self, requests: Frames, _: Any) -> Frames:
        """The stream."""
        self.links += 1
        frames = aiter(requests)
        yield attach_pb2.AttachResponse(events=[welcome()])
        await anext(frames)  # the hello
        handles = [command.attach.handle for command in (await anext(frames)).commands]
        said = [*map(attached, handles), gap(handles[0]), delivery(1, *handles[1:])]
        yield attach_pb2.AttachResponse(events=said)
        listening = asyncio.create_task(self._listen(frames))
        while event := await self._to_say.get():
            yield attach_pb2.AttachResponse(events=[event])
        listening.cancel()

    async def _listen(self, frames: Frames) -> None:
        async for frame in frames:
            for command in frame.commands:
                self.received.put_nowait(command.WhichOneof("command"))


async def next_delivery(attachment: Attachment) -> Delivery:
    """The next item, which has messages."""
    async with asyncio.timeout(TIMEOUT):
        item = await anext(attachment)
    assert isinstance(item, Delivery)
    return item


async def test_loss_without_messages() -> None:
    """A loss is shown though no messages follow, and confirmed only when who lost it has dealt with it."""
    teller = Teller()
    async with front_end_of(teller.attach) as front_end:
        loser = await front_end.attach("ann")
        shown = await next_delivery(loser)
        assert (shown.messages, shown.number, shown.gaps) == ((), 1, (Gap("/a", 3),))
        teller.beat()
        assert await teller.next_command() == "heartbeat"
        loser.done()
        assert await teller.next_command() == "ack"
        teller.stop()


async def test_loss_beside_the_messages_of_others() -> None:
    """Messages of others do not confirm a loss before it was shown."""
    teller = Teller()
    async with front_end_of(teller.attach) as front_end:
        loser, other = await asyncio.gather(front_end.attach("ann"), front_end.attach("bob"))
        assert (await next_delivery(other)).gaps == ()
        other.done()
        assert (await next_delivery(loser)).gaps == (Gap("/a", 3),)
        teller.beat()
        assert await teller.next_command() == "heartbeat"
        loser.done()
        assert await teller.next_command() == "ack"
        teller.stop()


async def test_loss_that_is_announced_again() -> None:
    """A loss that was not shown before its link broke is announced again on the next, and not counted twice."""
    teller = Teller()
    async with front_end_of(teller.attach) as front_end:
        loser = await front_end.attach("ann")
        teller.stop()
        await until(lambda: teller.links == 2 and loser.standing.name == "HELD")
        shown = await next_delivery(loser)
        assert (shown.number, shown.gaps) == (2, (Gap("/a", 3),))
        teller.stop()


async def test_loss_with_messages() -> None:
    """A client that gets messages with it gets one item for both, and the next messages next."""

    async def attach(requests: Frames, _: Any) -> Frames:
        frames = aiter(requests)
        yield attach_pb2.AttachResponse(events=[welcome()])
        await anext(frames)
        await anext(frames)
        yield attach_pb2.AttachResponse(events=[attached(0), gap(0), delivery(1, 0), delivery(2, 0)])
        async for _frame in frames:
            pass

    async with front_end_of(attach) as front_end:
        loser = await front_end.attach("ann")
        items = [await next_delivery(loser) for _ in range(2)]
    assert [(one.number, len(one.messages), one.gaps) for one in items] == [(1, 1, (Gap("/a", 3),)), (2, 1, ())]


async def test_loss_of_a_link_that_broke() -> None:
    """A loss that the next link does not announce again is none: its clients get their messages alone."""
    links = 0

    async def attach(requests: Frames, _: Any) -> Frames:
        nonlocal links
        links += 1
        frames = aiter(requests)
        yield attach_pb2.AttachResponse(events=[welcome()])
        handles: list[int] = []
        while len(handles) < 2:
            commands = (await anext(frames)).commands
            handles += [command.attach.handle for command in commands if command.HasField("attach")]
        then = [gap(0)] if links == 1 else [delivery(1, 1), delivery(2, 0)]
        yield attach_pb2.AttachResponse(events=[*map(attached, handles), *then])
        if links > 1:
            async for _frame in frames:
                pass

    async with front_end_of(attach) as front_end:
        loser, _other = await asyncio.gather(front_end.attach("ann"), front_end.attach("bob"))
        shown = await next_delivery(loser)
        assert (len(shown.messages), shown.number, shown.gaps) == (1, 2, ())


async def test_loss_for_a_callback() -> None:
    """With a callback for batches, a loss without messages is announced to `on_gap`, and its delivery is confirmed."""
    teller = Teller()
    lost: list[Gap] = []
    batches: list[Batch] = []
    options: dict[str, Any] = {"on_batch": batches.append, "on_gap": lambda _, gap: lost.append(gap)}
    async with front_end_of(teller.attach, **options) as front_end:
        await front_end.attach("ann")
        assert await teller.next_command() == "ack"
        teller.stop()
    assert lost == [Gap("/a", 3)]
    assert batches == []


async def test_gone_with_its_loss() -> None:
    """A client that goes before it was shown its loss does not hold the others' confirmations back."""

    async def attach(requests: Frames, _: Any) -> Frames:
        frames = aiter(requests)
        yield attach_pb2.AttachResponse(events=[welcome()])
        await anext(frames)
        await anext(frames)
        yield attach_pb2.AttachResponse(events=[attached(0), gap(0), detached(0), delivery(1)])
        async for request in frames:
            for command in request.commands:
                acks.put_nowait(command.ack.number)

    acks: asyncio.Queue[int] = asyncio.Queue()
    async with front_end_of(attach) as front_end:
        await front_end.attach("ann")
        async with asyncio.timeout(TIMEOUT):
            assert await acks.get() == 1
