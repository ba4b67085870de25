"""Callbacks that are slow or fail, and what becomes of handles meanwhile."""

import asyncio
from typing import Any

import pytest
from tests.sdk.made_up import QUICK, Event, Frames, attached, front_end_of, link, welcome
from tests.sdk.servers import TIMEOUT, Server, proxied
from tests.sdk.test_front_end import subscriber, until

from pixied.v1 import attach_pb2, message_pb2
from pixied_client import Attachment, Batch, Detached, FrontEnd, Message


async def test_handles_wait_for_their_messages(server: Server, room: str) -> None:
    """A handle gets no new meaning while messages for its old client wait for the callback."""
    begun = asyncio.Event()
    go_on = asyncio.Event()
    taken: list[tuple[object, list[int]]] = []

    async def take(batch: Batch) -> None:
        begun.set()
        await go_on.wait()
        taken.extend((message.value, list(batch.handles)) for message in batch.messages)

    async with FrontEnd(server.address, "slow", on_batch=take) as front_end:
        old = await subscriber(front_end, room)
        await front_end.publish_one(Message.of(room, "for the old"))
        await begun.wait()
        await old.detach()
        new = await subscriber(front_end, room)
        assert new.handle != old.handle
        go_on.set()
        await until(lambda: taken == [("for the old", [old.handle])])
        await new.detach()
        # A handle that is free is taken before further ones are.
        again = set[int]()
        while not {old.handle, new.handle} <= again and len(again) < 100:
            again.add((await subscriber(front_end, room)).handle)
        assert {old.handle, new.handle} <= again


async def test_handles_are_free_again_after_a_break(server: Server, room: str) -> None:
    """Also one whose client was given up while the callback was busy and before the link broke."""
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def take(batch: Batch) -> None:
        del batch
        begun.set()
        await go_on.wait()

    async with proxied(server) as proxy, FrontEnd(proxy.address, "slow", backoff=QUICK, on_batch=take) as front_end:
        old = await subscriber(front_end, room)
        await front_end.publish_one(Message.of(room, 1))
        await begun.wait()
        await old.detach()
        proxy.refuse(refusing=True)  # or the break could be over before it is seen
        await proxy.cut()
        await until(lambda: not front_end.connected)
        proxy.refuse(refusing=False)
        await until(lambda: front_end.connected)
        go_on.set()
        handles = set[int]()
        while old.handle not in handles and len(handles) < 100:
            handles.add((await subscriber(front_end, room)).handle)
        assert old.handle in handles


def _delivery(number: int, *, redelivered: bool) -> Event:
    """A delivery of one message, which is its number, to the first client."""
    message = message_pb2.Message(channel="/a", data=str(number))
    batch = attach_pb2.Batch(messages=[message], handles=[0], redelivered=redelivered)
    return Event(delivery=attach_pb2.Delivery(number=number, batches=[batch]))


async def test_batches_that_wait_at_a_break() -> None:
    """Batches that wait for the callback when the link breaks are not handed out: they come again."""
    streams = 0
    go_on = asyncio.Event()
    taken: list[tuple[object, bool]] = []

    async def take(batch: Batch) -> None:
        taken.extend((message.value, batch.redelivered) for message in batch.messages)
        await go_on.wait()

    async def attach(requests: Frames, _: Any) -> Frames:
        nonlocal streams
        streams += 1
        again = streams > 1
        frames = aiter(requests)
        await anext(frames)  # the hello
        yield attach_pb2.AttachResponse(events=[welcome()])
        await anext(frames)  # the attach
        if again:
            go_on.set()
        deliveries = [_delivery(number, redelivered=again) for number in (1, 2)]
        yield attach_pb2.AttachResponse(events=[attached(0), *deliveries])
        if again:
            async for _ in frames:
                pass

    async with front_end_of(attach, on_batch=take) as front_end:
        await front_end.attach("ann")
        await until(lambda: len(taken) >= 3)
    assert taken == [(1, False), (1, True), (2, True)]


async def test_live_view(server: Server) -> None:
    """The attached clients can be looked up by handle at any rate: the view is no copy."""
    async with FrontEnd(server.address, "test") as front_end:
        view = front_end.attachments
        attachment = await front_end.attach((await front_end.create_client()).client_id)
        assert view[attachment.handle] is attachment
        with pytest.raises(TypeError):
            view[7] = attachment  # type: ignore[index]


async def test_failing_callback_while_detaching(server: Server, room: str) -> None:
    """A front-end that a callback has ended does not keep its body waiting for a detach that no one will answer."""
    held: list[Attachment] = []

    def fail(_: Batch) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with FrontEnd(server.address, "failing", on_batch=fail) as front_end:
            attachment = await subscriber(front_end, room)
            held.append(attachment)
            async with attachment:
                await front_end.publish_one(Message.of(room, 1))
                await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(TIMEOUT) as limit:
            await run()
    assert not limit.expired()
    assert caught.group_contains(ZeroDivisionError)
    assert held[0].detached


async def test_an_attachment_is_over_when_its_end_is_announced() -> None:
    """Whoever is told that a client is no longer attached finds the same reason at the attachment."""
    announced: list[tuple[Detached | None, Detached]] = []

    def note(attachment: Attachment, detached: Detached) -> None:
        announced.append((attachment.detached, detached))

    async with front_end_of(link(attach=attached), on_detached=note) as front_end:
        async with await front_end.attach("ann"):
            pass
        ((found, told),) = announced
        assert found == told


async def test_all_are_called_at_the_end(server: Server) -> None:
    """A callback that fails at the end keeps no other from being called, and nothing open; its error is seen."""
    called: list[str] = []

    def fail(attachment: Attachment, detached: Detached) -> None:
        called.append(detached.detail)
        raise ZeroDivisionError(attachment.handle)

    async def run() -> None:
        async with FrontEnd(server.address, "failing", on_detached=fail) as front_end:
            for _ in range(3):
                await front_end.attach((await front_end.create_client()).client_id)

    before = asyncio.all_tasks()
    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(ZeroDivisionError)
    assert called == ["the front-end was closed"] * 3
    await until(lambda: asyncio.all_tasks() == before)
