"""Callbacks that are slow or fail, and what becomes of handles meanwhile."""

import asyncio

import pytest
from tests.sdk.servers import TIMEOUT, Server
from tests.sdk.test_front_end import subscriber, until

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
