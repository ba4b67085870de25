"""Deliver and Watch, awaited and blocking."""

import asyncio
import threading
from contextlib import suppress

import pytest
from tests.sdk.servers import Server, proxied, running_server

from pixied_client import (
    Admin,
    Backend,
    ChannelInvalid,
    ClientUnknown,
    Draining,
    EventKind,
    Message,
    TakenOver,
    Unavailable,
    sync,
)


async def test_deliver(plain: Backend, room: str) -> None:
    """A stream of messages begins with what is pending and goes on with what comes."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    await plain.publish_one(Message.of(room, "pending"))
    async with plain.deliver(client_id) as stream:
        first = await anext(stream)
        await plain.publish_one(Message.of(room, "live"))
        second = await anext(stream)
    assert [message.value for received in (first, second) for message in received.messages] == ["pending", "live"]


async def test_empty_beginning(plain: Backend) -> None:
    """A stream of messages says that it stands, though there is nothing yet."""
    client_id = (await plain.create_client()).client_id
    async with plain.deliver(client_id) as stream:
        assert (await anext(stream)).messages == ()
        assert (await plain.get_client(client_id)).front_end == "Deliver"


async def test_explicit_deliver(plain: Backend, room: str) -> None:
    """What was delivered explicitly and not confirmed comes again, marked; a cursor confirms it."""
    client_id = (await plain.create_client()).client_id
    await plain.queue_for(client_id, [Message.of(room, 1)])
    async with plain.deliver(client_id, explicit=True) as stream:
        assert (await anext(stream)).redelivered == 0
    async with plain.deliver(client_id, explicit=True) as stream:
        received = await anext(stream)
    assert (received.redelivered, [message.value for message in received.messages]) == (1, [1])
    async with plain.deliver(client_id, ack_cursor=received.cursor) as stream:
        assert (await anext(stream)).messages == ()


async def test_deliver_ends(plain: Backend) -> None:
    """A stream ends with TakenOver when another takes the client, and with ClientUnknown when there is none."""
    client_id = (await plain.create_client()).client_id
    async with plain.deliver(client_id) as loser, plain.deliver(client_id) as winner:
        await loser.ready()
        await winner.ready()
        with pytest.raises(TakenOver):
            [_ async for _ in loser]
    with pytest.raises(ClientUnknown):
        await anext(plain.deliver("nobody"))


async def test_closed_stream(plain: Backend) -> None:
    """A stream that is closed ends, also for who waits for its next item."""
    client_id = (await plain.create_client()).client_id
    stream = plain.deliver(client_id)
    await anext(stream)
    waiting = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    await stream.aclose()
    assert await waiting is None
    assert [_ async for _ in stream] == []


async def test_stream_of_a_closed_backend(plain: Backend, server: Server) -> None:
    """Who waits for its next item learns which connection was closed."""
    client_id = (await plain.create_client()).client_id
    backend = Backend(server.address)
    stream = backend.deliver(client_id)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(Unavailable, match=f"{server.address} was closed here"):
        await waiting


async def test_cancelled_reader(plain: Backend, room: str) -> None:
    """Who waits for an item can be cancelled; the stream goes on, and the item comes to who waits next."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    async with plain.deliver(client_id) as stream:
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await plain.publish_one(Message.of(room, "still here"))
        assert [message.value for message in (await anext(stream)).messages] == ["still here"]


async def test_two_readers(plain: Backend, room: str) -> None:
    """Two tasks that wait for items of one stream get one each."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    async with plain.deliver(client_id) as stream:
        await anext(stream)
        waiting = [asyncio.ensure_future(anext(stream)) for _ in range(2)]
        for n in range(2):
            await plain.publish_one(Message.of(room, n))
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED if n == 0 else asyncio.ALL_COMPLETED)
    assert sorted(message.value for received in waiting for message in received.result().messages) == [0, 1]


async def test_gap(room: str) -> None:
    """A reply says what was lost, by subscription."""
    with running_server("--max-log-messages=2") as server:
        async with Backend(server.address) as backend:
            client_id = (await backend.create_client()).client_id
            await backend.subscribe(client_id, room)
            await backend.publish([Message.of(room, n) for n in range(5)])
            received = await backend.dequeue_for(client_id)
    assert [message.value for message in received.messages] == [3, 4]
    assert received.lost == 3
    assert [(gap.channel, gap.lost) for gap in received.gaps] == [(room, 3)]


async def test_watch(plain: Backend, room: str) -> None:
    """A watcher sees what happens on its channels, in order, by kind."""
    async with plain.watch(channel_pattern=room) as events:
        await events.ready()
        client_id = (await plain.create_client()).client_id
        await plain.subscribe(client_id, room)
        await plain.publish_one(Message.of(room, 1, id="7"))
        await plain.unsubscribe(client_id, room)
        seen = [await anext(events) for _ in range(5)]
    kinds = [EventKind.CHANNEL_CREATED, EventKind.SUBSCRIBED, EventKind.PUBLISHED]
    kinds += [EventKind.UNSUBSCRIBED, EventKind.CHANNEL_DESTROYED]
    assert sorted(event.kind for event in seen) == sorted(kinds)
    published = next(event for event in seen if event.kind is EventKind.PUBLISHED)
    assert (published.channel, published.message_id, published.recipients, published.missed) == (room, "7", 1, 0)


async def test_watch_one_client(plain: Backend) -> None:
    """A watcher of one client and one kind sees that alone, with the reason."""
    client_id = (await plain.create_client()).client_id
    async with plain.watch([EventKind.CLIENT_DESTROYED], client_id=client_id) as events:
        await events.ready()
        await plain.destroy_client((await plain.create_client()).client_id)
        await plain.destroy_client(client_id, "enough")
        event = await anext(events)
    assert (event.kind, event.client_id, event.reason) == (EventKind.CLIENT_DESTROYED, client_id, "enough")


async def test_watch_refused(plain: Backend) -> None:
    """A watch for no channel is refused."""
    with pytest.raises(ChannelInvalid):
        await plain.watch(channel_pattern="no channel").ready()


def test_blocking_streams(blocking: sync.Backend, room: str) -> None:
    """The blocking streams carry the same messages and events, and end as the awaited ones do."""
    client_id = blocking.create_client().client_id
    blocking.subscribe(client_id, room)
    with blocking.deliver(client_id) as received, blocking.watch(channel_pattern=room) as events:
        received.ready()
        events.ready()
        blocking.publish_one(Message.of(room, "live"))
        assert next(events).kind is EventKind.PUBLISHED
        values = [message.value for portion in (next(received), next(received)) for message in portion.messages]
        assert values == ["live"]
        blocking.destroy_client(client_id)
        with pytest.raises(ClientUnknown):
            list(received)
    assert list(events) == []


def test_blocking_close_from_a_thread(blocking: sync.Backend) -> None:
    """A blocked reader comes back when another thread closes its stream."""
    client_id = blocking.create_client().client_id
    stream = blocking.deliver(client_id)
    next(stream)
    left: list[object] = []
    reader = threading.Thread(target=lambda: left.extend(stream))
    reader.start()
    stream.close()
    reader.join(30)
    assert not reader.is_alive()
    assert left == []


def test_closed_with_items(blocking: sync.Backend, room: str) -> None:
    """A closed stream gives nothing more, whatever has come."""
    with blocking.watch(channel_pattern=room) as events:
        events.ready()
        blocking.subscribe(blocking.create_client().client_id, room)  # two events in one frame
        assert next(events)
    assert list(events) == []


async def test_drained_streams() -> None:
    """A server that stops notifies each stream when to come back, and ends it; then it is gone."""
    with running_server() as server:
        async with Backend(server.address) as backend, Admin(server.address) as admin:
            client_id = (await backend.create_client()).client_id
            with sync.Backend(server.address) as blocking:
                awaited, blocked = backend.watch(), blocking.deliver(client_id)
                await awaited.ready()
                await asyncio.to_thread(blocked.ready)
                assert await admin.drain(5) == 2
                with pytest.raises(Draining) as first:
                    [_ async for _ in awaited]
                with pytest.raises(Draining) as second:
                    await asyncio.to_thread(list, blocked)
            assert first.value.retry_after is not None
            assert second.value.retry_after is not None
            assert await asyncio.to_thread(server.exit_code) == 0
            with pytest.raises(Unavailable) as gone:
                await backend.generate_namespace()
            assert server.address in str(gone.value)


async def test_broken_stream(server: Server) -> None:
    """A stream whose connection breaks ends with Unavailable."""
    async with proxied(server) as proxy, Backend(proxy.address) as backend:
        stream = backend.watch()
        await stream.ready()
        await proxy.cut()
        with pytest.raises(Unavailable):
            await anext(stream)
        with suppress(Unavailable):
            await stream.aclose()
