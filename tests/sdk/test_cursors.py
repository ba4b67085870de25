"""Cursors: what a client confirms by itself, on whichever link."""

import asyncio
from typing import Any

import pytest
from tests.sdk.servers import TIMEOUT, Server, proxied
from tests.sdk.test_front_end import subscriber, until

from pixied_client import Attachment, Backoff, Batch, ClientUnknown, Delivery, FieldInvalid, FrontEnd, Message

QUICK = Backoff(first=0.02, longest=0.1)


async def next_messages(attachment: Attachment) -> Delivery:
    """Wait for messages."""
    async with asyncio.timeout(TIMEOUT):
        item = await anext(attachment)
    assert isinstance(item, Delivery)
    return item


async def test_a_cursor_confirms_at_another_front_end(server: Server, room: str) -> None:
    """What one front-end delivered is confirmed by the attach at another, exactly, before any message comes."""
    async with FrontEnd(server.address, "one") as one, FrontEnd(server.address, "two") as two:
        client_id = (await one.create_client()).client_id
        attachment = await one.attach(client_id, explicit=True)
        batches = []
        for n in range(3):
            await one.queue_for(client_id, [Message.of(room, n)])
            batches.append(await next_messages(attachment))
        cursors = [batch.cursor for batch in batches]
        assert cursors == sorted(set(cursors))
        assert 0 < cursors[0] < cursors[-1] < 2**53
        again = await two.attach(client_id, explicit=True, ack_cursor=cursors[0])
        received = await next_messages(again)
        assert ([message.value for message in received.messages], received.redelivered) == ([1, 2], True)


async def test_a_cursor_that_nobody_handed_out(server: Server, room: str) -> None:
    """It is refused, and the client's owner keeps it and its messages."""
    async with FrontEnd(server.address, "one") as one, FrontEnd(server.address, "two") as two:
        attachment = await subscriber(one, room)
        with pytest.raises(FieldInvalid, match="cursor"):
            await two.attach(attachment.client_id, ack_cursor=2**50)
        await one.publish_one(Message.of(room, 1))
        assert [message.value for message in (await next_messages(attachment)).messages] == [1]


@pytest.mark.parametrize("cursor", [-1, 2**53, 2**64, 10**400])
async def test_a_cursor_that_no_server_hands_out(server: Server, room: str, cursor: int) -> None:
    """It is refused, and nothing of it is left that could end the others' link when that is renewed."""
    async with proxied(server) as proxy, FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        attachment = await subscriber(front_end, room)
        other = (await front_end.create_client()).client_id
        with pytest.raises(FieldInvalid, match="cursor") as refused:
            await front_end.attach(other, explicit=True, ack_cursor=cursor)
        assert refused.value.field == "ack_cursor"
        with pytest.raises(FieldInvalid, match="cursor"):
            attachment.ack_cursor = cursor
        assert list(front_end.attachments.values()) == [attachment]
        await proxy.cut()
        await front_end.publish_one(Message.of(room, 1))
        assert [message.value for message in (await next_messages(attachment)).messages] == [1]


@pytest.mark.parametrize("cursor", [1.5, "1", None])
async def test_a_cursor_that_is_no_number(server: Server, room: str, cursor: Any) -> None:
    """It is an error of the program's, which ends nobody's link."""
    async with proxied(server) as proxy, FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        attachment = await subscriber(front_end, room)
        with pytest.raises(TypeError):
            await front_end.attach(attachment.client_id, ack_cursor=cursor)
        with pytest.raises(TypeError):
            attachment.ack_cursor = cursor
        with pytest.raises(TypeError):
            attachment.confirm(cursor)
        await proxy.cut()
        await front_end.publish_one(Message.of(room, 1))
        assert [message.value for message in (await next_messages(attachment)).messages] == [1]


async def test_an_id_that_is_no_text(server: Server, room: str) -> None:
    """Half of a surrogate pair can't be sent, so no client has such an id, and nobody else's link ends."""
    async with proxied(server) as proxy, FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        attachment = await subscriber(front_end, room)
        with pytest.raises(ClientUnknown):
            await front_end.attach("\ud800")
        await proxy.cut()
        await front_end.publish_one(Message.of(room, 1))
        assert [message.value for message in (await next_messages(attachment)).messages] == [1]


async def test_a_confirmation_outlives_its_link(server: Server, room: str) -> None:
    """What a client confirms while there is no link does not come again when there is one."""
    async with proxied(server) as proxy, FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        client_id = (await front_end.create_client()).client_id
        attachment = await front_end.attach(client_id, explicit=True)
        batches = []
        for n in range(2):
            await front_end.queue_for(client_id, [Message.of(room, n)])
            batches.append(await next_messages(attachment))
        proxy.refuse(refusing=True)
        await proxy.cut()
        await until(lambda: not front_end.connected)
        attachment.confirm(batches[0].number)
        proxy.refuse(refusing=False)
        assert [message.value for message in (await next_messages(attachment)).messages] == [1]


async def test_a_client_that_is_being_given_up_may_still_confirm(server: Server, room: str) -> None:
    """What it confirms before the server has let go of it does not come again."""
    async with FrontEnd(server.address, "test") as front_end:
        client_id = (await front_end.create_client()).client_id
        attachment = await front_end.attach(client_id, explicit=True)
        await front_end.queue_for(client_id, [Message.of(room, 1)])
        received = await next_messages(attachment)
        leaving = asyncio.create_task(attachment.detach())
        await asyncio.sleep(0)
        attachment.confirm(received.number)
        await leaving
        assert (await front_end.get_client(client_id)).pending == 0


async def test_batches_have_cursors(server: Server, room: str) -> None:
    """A callback gets the cursor too, the same for all who get the batch."""
    batches: list[Batch] = []
    async with FrontEnd(server.address, "batches", on_batch=batches.append) as front_end:
        attachments = [await subscriber(front_end, room) for _ in range(3)]
        await front_end.publish_one(Message.of(room, 1))
        await until(lambda: sum(len(batch.handles) for batch in batches) == len(attachments))
        assert len({batch.cursor for batch in batches}) == 1
        await front_end.attach(attachments[0].client_id, ack_cursor=batches[0].cursor)
