"""Lost mail, as a front-end's clients are told of it, whatever the link does meanwhile."""

import asyncio
from typing import Any

from tests.sdk.made_up import Event, Frames, Handler, attached, detached, front_end_of, welcome
from tests.sdk.servers import PATIENCE
from tests.sdk.test_front_end import until

from pixied.v1 import attach_pb2, message_pb2
from pixied_client import Attachment, Batch, Delivery, Gap

LOST = message_pb2.Gap(channel="/a", lost=3)


def gap(*handles: int) -> Event:
    """Says that clients lost mail."""
    return Event(gap=attach_pb2.ClientGap(handles=handles, gap=LOST))


def delivery(number: int, *handles: int) -> Event:
    """Brings a message, if there are clients to get it."""
    batch = attach_pb2.Batch(messages=[message_pb2.Message(channel="/a", data="1")], handles=handles)
    return Event(delivery=attach_pb2.Delivery(number=number, batches=[batch] if handles else []))


class Teller:
    """A link that tells its first client of a loss and then brings mail to others only; it breaks when told."""

    def __init__(self) -> None:
        self.acks: asyncio.Queue[int] = asyncio.Queue()
        self.breaking = asyncio.Event()
        self.links = 0

    @property
    def handler(self) -> Handler:
        """The stream."""
        return self._attach

    async def _attach(self, requests: Frames, _: Any) -> Frames:
        self.breaking.clear()
        self.links += 1
        yield attach_pb2.AttachResponse(events=[welcome()])
        asked = await anext(aiter(requests))
        while not (asked.commands and asked.commands[-1].HasField("attach")):
            asked = await anext(aiter(requests))
        handles = [command.attach.handle for command in asked.commands]
        events = [attached(handle) for handle in handles]
        yield attach_pb2.AttachResponse(events=[*events, gap(handles[0]), delivery(1, *handles[1:])])
        reading = asyncio.create_task(self._note(requests))
        await self.breaking.wait()
        reading.cancel()

    async def _note(self, requests: Frames) -> None:
        async for request in requests:
            for command in request.commands:
                if command.HasField("ack"):
                    self.acks.put_nowait(command.ack.number)


async def next_delivery(attachment: Attachment) -> Delivery:
    """The next item, which is mail."""
    async with asyncio.timeout(PATIENCE):
        item = await anext(attachment)
    assert isinstance(item, Delivery)
    return item


async def test_loss_without_mail() -> None:
    """A loss is shown though no mail follows, and confirmed only when who lost it has dealt with it."""
    teller = Teller()
    async with front_end_of(teller.handler) as front_end:
        loser = await front_end.attach("ann")
        shown = await next_delivery(loser)
        assert (shown.messages, shown.number, shown.gaps) == ((), 1, (Gap("/a", 3),))
        assert teller.acks.empty()
        loser.done()
        async with asyncio.timeout(PATIENCE):
            assert await teller.acks.get() == 1
        teller.breaking.set()


async def test_loss_beside_the_mail_of_others() -> None:
    """Mail of others does not confirm a loss before it was shown."""
    teller = Teller()
    async with front_end_of(teller.handler) as front_end:
        loser, other = await asyncio.gather(front_end.attach("ann"), front_end.attach("bob"))
        assert (await next_delivery(other)).gaps == ()
        other.done()
        assert (await next_delivery(loser)).gaps == (Gap("/a", 3),)
        assert teller.acks.empty()
        loser.done()
        async with asyncio.timeout(PATIENCE):
            assert await teller.acks.get() == 1
        teller.breaking.set()


async def test_loss_that_is_told_again() -> None:
    """A loss that was not shown before its link broke is told again on the next, and not counted twice."""
    teller = Teller()
    async with front_end_of(teller.handler) as front_end:
        loser = await front_end.attach("ann")
        teller.breaking.set()
        await until(lambda: teller.links == 2 and loser.standing.name == "HELD")
        shown = await next_delivery(loser)
        assert (shown.number, shown.gaps) == (2, (Gap("/a", 3),))
        teller.breaking.set()


async def test_loss_for_a_callback() -> None:
    """With a callback for batches, a loss without mail is told to `on_gap`, and its delivery is confirmed."""
    teller = Teller()
    lost: list[Gap] = []
    batches: list[Batch] = []
    options: dict[str, Any] = {"on_delivery": batches.append, "on_gap": lambda _, gap: lost.append(gap)}
    async with front_end_of(teller.handler, **options) as front_end:
        await front_end.attach("ann")
        async with asyncio.timeout(PATIENCE):
            assert await teller.acks.get() == 1
        teller.breaking.set()
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
        async with asyncio.timeout(PATIENCE):
            assert await acks.get() == 1
