"""A front-end's attached clients, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from tests.sdk.servers import TIMEOUT, Server, running_server

from pixied_client import (
    Attachment,
    Backend,
    Batch,
    ClientUnknown,
    Delivery,
    Detached,
    DetachReason,
    FieldInvalid,
    FrontEnd,
    Gap,
    Message,
)


@pytest.fixture
async def front_end(server: Server) -> AsyncIterator[FrontEnd]:
    """A front-end of the shared server."""
    async with FrontEnd(server.address, "first") as opened:
        yield opened


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nothing announces."""
    async with asyncio.timeout(TIMEOUT):
        while not holds():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def until_polled(backend: Backend, client_id: str) -> None:
    """Wait until a long poll holds a client."""
    async with asyncio.timeout(TIMEOUT):
        while (await backend.get_client(client_id)).front_end != "DequeueFor":  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(0.01)


async def subscriber(front_end: FrontEnd, channel: str) -> Attachment:
    """A new client that subscribes to a channel and is attached."""
    client = await front_end.create_client()
    await front_end.subscribe(client.client_id, channel)
    return await front_end.attach(client.client_id)


async def values(attachment: Attachment, count: int) -> list[object]:
    """The values of so many messages."""
    taken: list[object] = []
    async with asyncio.timeout(TIMEOUT):
        while len(taken) < count:
            item = await anext(attachment)
            assert isinstance(item, Delivery)
            taken += [message.value for message in item.messages]
    return taken


async def test_messages_in_order(front_end: FrontEnd, room: str) -> None:
    """An attached client gets what is pending first, then what comes, in order."""
    client = await front_end.create_client()
    await front_end.subscribe(client.client_id, room)
    await front_end.publish([Message.of(room, n) for n in range(50)])
    attachment = await front_end.attach(client.client_id)
    for n in range(50, 100):
        await front_end.publish_one(Message.of(room, n))
    assert await values(attachment, 100) == list(range(100))
    assert (await front_end.get_client(client.client_id)).front_end == "first"
    await attachment.detach()


async def test_detach_gives_back(front_end: FrontEnd, room: str) -> None:
    """Messages that were taken and not dealt with before a detach come again, marked; the rest do not."""
    attachment = await subscriber(front_end, room)
    await front_end.publish_one(Message.of(room, "done"))
    await values(attachment, 1)
    await front_end.publish_one(Message.of(room, "taken"))
    await values(attachment, 1)
    await attachment.detach()
    assert [item async for item in attachment] == [Detached(DetachReason.REQUESTED, "")]
    again = await front_end.attach(attachment.client_id)
    delivery = await anext(again)
    assert isinstance(delivery, Delivery)
    assert delivery.redelivered
    assert [message.value for message in delivery.messages] == ["taken"]


async def test_failing_consumer(front_end: FrontEnd, room: str) -> None:
    """A consumer that fails in its `async with` gives its client up, and what it had not dealt with comes again."""
    attachment = await subscriber(front_end, room)
    await front_end.publish([Message.of(room, 1), Message.of(room, 2)])

    async def consume() -> None:
        async with attachment:
            await values(attachment, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await consume()
    again = await front_end.attach(attachment.client_id)
    assert await values(again, 2) == [1, 2]


async def test_handles_are_used_again(front_end: FrontEnd, room: str) -> None:
    """A handle is used again once it is free, so that handles stay small; each is one client's at a time."""
    client_ids = [(await front_end.create_client()).client_id for _ in range(20)]
    for client_id in client_ids:
        await front_end.subscribe(client_id, room)
    for _ in range(20):
        held = await asyncio.gather(*map(front_end.attach, client_ids))
        assert {attachment.handle for attachment in held} == set(range(20))
        await asyncio.gather(*(attachment.detach() for attachment in held))
    last = await asyncio.gather(*map(front_end.attach, client_ids))
    await front_end.publish_one(Message.of(room, "all of you"))
    for attachment in last:
        assert await values(attachment, 1) == ["all of you"]


async def test_done_confirms(front_end: FrontEnd, room: str) -> None:
    """Messages that were said to be done do not come again."""
    attachment = await subscriber(front_end, room)
    await front_end.publish_one(Message.of(room, 1))
    async with attachment:
        await values(attachment, 1)
        attachment.done()
    assert (await front_end.dequeue_for(attachment.client_id)).messages == ()


async def test_done_beside_a_slow_one(front_end: FrontEnd, room: str) -> None:
    """What a client was done with does not come again after its detach, though others hold the link up."""
    slow, quick = await subscriber(front_end, room), await subscriber(front_end, room)
    for n in range(3):
        await front_end.publish_one(Message.of(room, n))
    await values(slow, 1)
    await values(quick, 3)  # the third is taken, and not dealt with
    await quick.detach()
    received = await front_end.dequeue_for(quick.client_id)
    assert [message.value for message in received.messages][-1] == 2
    assert len(received.messages) < 3


async def test_explicit_confirmation(front_end: FrontEnd, room: str) -> None:
    """A client that confirms by itself gets again what it has not confirmed, and only that."""
    client = await front_end.create_client()
    attachment = await front_end.attach(client.client_id, explicit=True)
    numbers = []
    for n in range(3):
        await front_end.queue_for(client.client_id, [Message.of(room, n)])
        item = await anext(attachment)
        assert isinstance(item, Delivery)
        numbers.append(item.number)
    attachment.confirm(numbers[0])
    attachment.done()
    await attachment.detach()
    received = await front_end.dequeue_for(client.client_id)
    assert [message.value for message in received.messages] == [1, 2]
    assert received.redelivered == 2


async def test_confirming_the_future(front_end: FrontEnd) -> None:
    """A number that no delivery had is refused here, before it ends the link for all."""
    attachment = await front_end.attach((await front_end.create_client()).client_id)
    with pytest.raises(ValueError, match="no delivery had the number"):
        attachment.confirm(10_000)


async def test_takeover_is_shown(front_end: FrontEnd, server: Server, room: str) -> None:
    """A front-end that loses a client to another is notified, and the other gets its messages."""
    notified: list[tuple[str, Detached]] = []
    loser_options = {"on_detached": lambda attachment, detached: notified.append((attachment.client_id, detached))}
    async with FrontEnd(server.address, "loser", **loser_options) as other:  # type: ignore[arg-type]
        lost = await subscriber(other, room)
        await other.publish_one(Message.of(room, 1))
        async with await front_end.attach(lost.client_id) as won:
            items = [item async for item in lost]
            assert items[-1] == Detached(DetachReason.TAKEN_OVER, items[-1].detail)  # type: ignore[union-attr]
            assert await values(won, 1) == [1]
        assert lost.detached == notified[0][1]
        assert notified[0][0] == lost.client_id


async def test_takeover_within_a_front_end(front_end: FrontEnd) -> None:
    """Attaching a client a second time takes it over from the first attachment."""
    client_id = (await front_end.create_client()).client_id
    first = await front_end.attach(client_id)
    second = await front_end.attach(client_id)
    assert (await anext(first)).reason is DetachReason.TAKEN_OVER  # type: ignore[union-attr]
    assert second.detached is None
    assert front_end.attachments[second.handle] is second


async def test_destroyed_is_shown(front_end: FrontEnd) -> None:
    """An attachment ends with the reason when its session is destroyed."""
    attachment = await front_end.attach((await front_end.create_client()).client_id)
    await front_end.destroy_client(attachment.client_id, "logged out")
    assert [item async for item in attachment] == [Detached(DetachReason.DESTROYED, "logged out")]


async def test_expiry(front_end: FrontEnd) -> None:
    """An attached client lives as long as its link, unless it was attached as one that expires."""
    lasting = await front_end.attach((await front_end.create_client(1.0)).client_id)
    expiring = await front_end.attach((await front_end.create_client(1.0)).client_id, expires=True)
    async with asyncio.timeout(TIMEOUT):
        assert (await anext(expiring)).reason is DetachReason.EXPIRED  # type: ignore[union-attr]
    assert (await front_end.get_client(lasting.client_id)).expires_at is None


async def test_attach_refused(front_end: FrontEnd) -> None:
    """An unknown client can't be attached; one with an impossible id is not even asked for."""
    for unknown in ("nobody", "x" * 100_000):
        with pytest.raises(ClientUnknown):
            await front_end.attach(unknown)
    assert front_end.attachments == {}
    with pytest.raises(FieldInvalid):
        await front_end.get_client("")


async def test_gap_is_shown(room: str) -> None:
    """Lost messages are announced with the next ones, and to the callback, as what was lost and where."""
    gaps: list[Gap] = []
    with running_server("--max-log-messages=2") as server:
        async with FrontEnd(server.address, "test", on_gap=lambda _, gap: gaps.append(gap)) as front_end:
            client = await front_end.create_client()
            await front_end.subscribe(client.client_id, room)
            await front_end.publish([Message.of(room, n) for n in range(5)])
            attachment = await front_end.attach(client.client_id)
            item = await anext(attachment)
            assert isinstance(item, Delivery)
            if not item.messages:  # the gap may be announced before the messages have come
                assert item.number == 0
                assert await values(attachment, 2) == [3, 4]
    assert item.gaps == (Gap(room, 3),)
    assert gaps == [Gap(room, 3)]


async def test_slow_consumer(server: Server, room: str) -> None:
    """A consumer that stops keeps the link from getting more than its window; it and the others lose nothing."""
    async with FrontEnd(server.address, "narrow", window=2) as front_end:
        slow = await subscriber(front_end, room)
        quick = await subscriber(front_end, f"{room}/quick")
        await front_end.publish_one(Message.of(room, "held"))
        await values(slow, 1)
        for n in range(10):
            await front_end.publish_one(Message.of(f"{room}/quick", n))
        assert await values(quick, 1) == [0]
        await subscriber(front_end, f"{room}/other")  # to the server and back: what could come has come
        assert quick.at_hand() == []
        slow.done()
        assert await values(quick, 9) == list(range(1, 10))


async def test_batches(server: Server, room: str) -> None:
    """A callback gets each message once with the handles of all who get it, and what it took does not come again."""
    batches: list[Batch] = []
    async with FrontEnd(server.address, "batches", on_batch=batches.append) as front_end:
        attachments = [await subscriber(front_end, room) for _ in range(20)]
        for n in range(5):
            await front_end.publish_one(Message.of(room, n))
        got: dict[int, list[object]] = {}

        def all_came() -> bool:
            got.clear()
            for batch in batches:
                for handle in batch.handles:
                    got.setdefault(handle, []).extend(message.value for message in batch.messages)
            return all(len(got.get(attachment.handle, [])) >= 5 for attachment in attachments)

        await until(all_came)
        assert got == {attachment.handle: [0, 1, 2, 3, 4] for attachment in attachments}
        await until(lambda: not batches[-1].redelivered)
        await attachments[0].detach()
        assert (await front_end.dequeue_for(attachments[0].client_id)).messages == ()


async def test_awaited_callback(server: Server, room: str) -> None:
    """A callback may be a coroutine function; the next delivery waits for it."""
    begun: list[object] = []
    finished: list[object] = []
    go_on = asyncio.Event()

    async def take(batch: Batch) -> None:
        begun.extend(message.value for message in batch.messages)
        await go_on.wait()
        finished.extend(message.value for message in batch.messages)

    async with FrontEnd(server.address, "awaited", on_batch=take) as front_end:
        await subscriber(front_end, room)
        await front_end.publish_one(Message.of(room, 1))
        await until(lambda: begun == [1])
        await front_end.publish_one(Message.of(room, 2))
        assert finished == []
        go_on.set()
        await until(lambda: finished == [1, 2])


async def test_failing_callback(server: Server, room: str) -> None:
    """What a callback raises ends the front-end, and is seen."""

    def fail(_: Batch) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        async with FrontEnd(server.address, "failing", on_batch=fail) as front_end:
            await subscriber(front_end, room)
            await front_end.publish_one(Message.of(room, 1))
            await asyncio.sleep(TIMEOUT)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(ZeroDivisionError)


async def test_error_of_the_body(server: Server) -> None:
    """What the body of a front-end's `async with` raises comes out as it is, not in a group."""

    async def run() -> None:
        async with FrontEnd(server.address, "test") as front_end:
            await front_end.get_client("nobody")

    with pytest.raises(ClientUnknown):
        await run()


async def test_closed_front_end(server: Server, plain: Backend, room: str) -> None:
    """Leaving a front-end ends its attachments, confirms what was done, and leaves the rest to the server."""
    async with FrontEnd(server.address, "leaving") as front_end:
        attachment = await subscriber(front_end, room)
        await front_end.publish_one(Message.of(room, "done"))
        await values(attachment, 1)
        attachment.done()
    assert attachment.detached == Detached(DetachReason.REQUESTED, "the front-end was closed")
    await plain.publish_one(Message.of(room, "later"))
    received = await plain.dequeue_for(attachment.client_id)
    assert [message.value for message in received.messages] == ["later"]


@pytest.mark.parametrize("name", ["", "n" * 256])
def test_wrong_name(name: str) -> None:
    """A front-end's name has 1 to 255 bytes."""
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        FrontEnd("unix:///nowhere", name)


@pytest.mark.parametrize("name", ["a", "x" * 255, "é" * 127 + "x"])
@pytest.mark.parametrize("window", [1, 65_536])
async def test_names_and_windows_at_their_bounds(name: str, window: int) -> None:
    """They are taken."""
    FrontEnd("unix:///nowhere", name, window=window)


@pytest.mark.parametrize("window", [0, -1, 65_537])
async def test_wrong_window(window: int) -> None:
    """A front-end's window is 1 to 65,536 deliveries: what no server takes is refused here."""
    with pytest.raises(ValueError, match=r"1 to 65,536"):
        FrontEnd("unix:///nowhere", window=window)


async def test_cancelled_attach(front_end: FrontEnd) -> None:
    """A client whose attach was cancelled is not held."""
    client_id = (await front_end.create_client()).client_id
    attaching = asyncio.create_task(front_end.attach(client_id))
    await asyncio.sleep(0)
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    await until(lambda: not front_end.attachments)
    assert (await front_end.get_client(client_id)).front_end == ""
