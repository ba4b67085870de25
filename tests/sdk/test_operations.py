"""Every operation, through each face of the SDK: awaited, blocking, and in a front-end's pipeline."""

import inspect
import re
from datetime import UTC, datetime, timedelta

import pytest
from tests.sdk.conftest import Operations

from pixied_client import Backend, ClientUnknown, FrontEnd, Message, NamespaceUnknown, PublishResult, operations, sync
from pixied_client.faces import AwaitedAdmin, AwaitedOperations, BlockingAdmin, BlockingOperations
from pixied_client.rpcs import ADMIN, BACKEND


@pytest.mark.parametrize("face", [AwaitedOperations, BlockingOperations])
def test_every_operation_is_a_method(face: type) -> None:
    """Each unary RPC of the contract is a method of every face, and so is whatever is described."""
    streams = {"deliver", "attach", "pipeline", "watch"}
    admin = AwaitedAdmin if face is AwaitedOperations else BlockingAdmin
    assert {rpc.field for rpc in BACKEND.values()} - streams <= set(dir(face))
    assert {rpc.field for rpc in ADMIN.values()} <= set(dir(admin))
    assert set(operations.__all__) - {"Call"} <= {*dir(face), *dir(admin)}


@pytest.mark.parametrize("backend", [Backend, FrontEnd, sync.Backend])
def test_methods_explain_themselves(backend: type) -> None:
    """`help()` shows a method's own arguments and what it does."""
    subscribe = backend.subscribe  # type: ignore[attr-defined]
    assert list(inspect.signature(subscribe).parameters) == ["self", "client_id", "channels"]
    assert "Raises" in inspect.getdoc(subscribe)  # type: ignore[operator]


async def test_namespaces(backend: Operations) -> None:
    """A namespace is of the length asked for, and can be given back once."""
    assert re.fullmatch("[a-z0-9]{32}", await backend.generate_namespace())
    namespace = await backend.generate_namespace(7)
    assert re.fullmatch("[a-z0-9]{7}", namespace)
    assert await backend.release_namespace(namespace) is None
    with pytest.raises(NamespaceUnknown):
        await backend.release_namespace(namespace)


async def test_clients(backend: Operations) -> None:
    """A client is created as asked, known while it lives, and unknown when it is destroyed."""
    client = await backend.create_client(timedelta(minutes=2), {"user": "ann"})
    assert client.session_timeout == timedelta(seconds=120)
    assert client.attributes == {"user": "ann"}
    assert client.expires_at == client.created_at + client.session_timeout
    assert abs(client.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await backend.get_client(client.client_id) == client
    assert await backend.destroy_client(client.client_id, "test") is None
    with pytest.raises(ClientUnknown) as caught:
        await backend.get_client(client.client_id)
    assert client.client_id not in str(caught.value)


async def test_pings(backend: Operations) -> None:
    """A ping returns the new expiry; of many clients each, and which of them are unknown."""
    client = await backend.create_client(60)
    expiry = await backend.ping_client(client.client_id)
    assert expiry >= client.expires_at
    known, unknown = await backend.ping_clients([client.client_id, "nobody"])
    assert known.known
    assert known.expires_at >= expiry
    assert (unknown.known, unknown.expires_at) == (False, None)


async def test_subscriptions(backend: Operations, room: str) -> None:
    """Subscribing answers what is new, unsubscribing what there was; one name is as good as a list."""
    client_id = (await backend.create_client()).client_id
    assert await backend.subscribe(client_id, room) == [room]
    assert await backend.subscribe(client_id, [room, f"{room}/**"]) == [f"{room}/**"]
    assert await backend.subscribed_to(client_id) == [room, f"{room}/**"]
    assert await backend.client_subscribed(client_id, room)
    assert not await backend.client_subscribed(client_id, "/other")
    assert await backend.unsubscribe(client_id, [room, "/other"]) == [room]


async def test_subscribers(backend: Operations, room: str) -> None:
    """Subscribers are listed by pages, and all of them by iteration."""
    subscribers = sorted([(await backend.create_client()).client_id for _ in range(5)])
    for client_id in subscribers:
        await backend.subscribe(client_id, room)
    first = await backend.subscribers_of(room, page_size=3)
    second = await backend.subscribers_of(room, 3, first.next_page_token)
    assert [*first.items, *second.items] == subscribers
    assert second.next_page_token == ""


async def test_publish_and_dequeue(backend: Operations, room: str) -> None:
    """What is published arrives as it was written, in order, and the publisher's id does not."""
    client_id = (await backend.create_client()).client_id
    await backend.subscribe(client_id, room)
    first = Message(room, '{"big": 9007199254740993}', id="1", ext='{"a":1}', extra='{"blank":null}', client_id="me")
    assert await backend.publish([first, Message.of(room, "two")]) == [PublishResult(1, duplicate=False)] * 2
    assert await backend.publish_one(Message.of(room, 3)) == PublishResult(1, duplicate=False)
    received = await backend.dequeue_for(client_id)
    assert received.messages == (
        Message(room, '{"big": 9007199254740993}', id="1", ext='{"a":1}', extra='{"blank":null}'),
        Message.of(room, "two"),
        Message.of(room, 3),
    )
    assert (received.redelivered, received.lost, received.gaps) == (0, 0, ())
    assert (await backend.dequeue_for(client_id)).messages == ()


async def test_explicit_dequeue(backend: Operations) -> None:
    """Messages dequeued explicitly come again, marked, until their cursor is named."""
    client_id = (await backend.create_client()).client_id
    assert await backend.queue_for(client_id, [Message.of("/a", 1), Message.of("/service/b", 2)]) == 2
    received = await backend.dequeue_for(client_id, 1, explicit=True)
    again = await backend.dequeue_for(client_id, explicit=True)
    assert [message.value for message in received.messages] == [1]
    assert [message.value for message in again.messages] == [1, 2]
    assert again.redelivered == 1
    assert (await backend.dequeue_for(client_id, ack_cursor=again.cursor)).messages == ()


async def test_own_idempotency_keys(backend: Operations, room: str) -> None:
    """A message with a key of the caller's takes effect once."""
    message = Message.of(room, 1, idempotency_key=f"{room}-key-{id(backend)}")
    assert not (await backend.publish_one(message)).duplicate
    assert (await backend.publish_one(message)).duplicate


async def test_unkeyed(backend: Operations, room: str) -> None:
    """Without keys the same message takes effect as often as it is sent."""
    message = Message.of(room, 1)
    for _ in range(2):
        assert await backend.publish([message], keyed=False) == [PublishResult(0, duplicate=False)]


async def test_all_subscribers(plain: Backend, blocking: sync.Backend, room: str) -> None:
    """Iterating over subscribers goes through all pages."""
    expected = []
    for _ in range(1_005):
        client = await plain.create_client()
        await plain.subscribe(client.client_id, room)
        expected.append(client.client_id)
    assert [client_id async for client_id in plain.all_subscribers_of(room)] == sorted(expected)
    assert list(blocking.all_subscribers_of(room)) == sorted(expected)


async def test_info(admin: Operations) -> None:
    """A server says what it is, what it holds and what it has done."""
    info = await admin.get_info()
    assert info.engine == "memory"
    assert not info.draining
    assert info.holdings.clients >= 0
    assert info.counters.clients_created >= info.holdings.clients
    assert abs(info.started_at - datetime.now(UTC)) < timedelta(days=1)


async def test_lists(admin: Operations, plain: Backend, room: str) -> None:
    """Clients and channels are listed by what they subscribe to."""
    client = await plain.create_client(attributes={"a": "b"})
    await plain.subscribe(client.client_id, room)
    clients = await admin.list_clients(channel_pattern=room)
    channels = await admin.list_channels(channel_pattern=room)
    assert [(listed.client_id, dict(listed.attributes)) for listed in clients.items] == [(client.client_id, {"a": "b"})]
    assert [(listed.channel, listed.subscribers) for listed in channels.items] == [(room, 1)]
    assert clients.next_page_token == channels.next_page_token == ""


async def test_list_iterators(
    plain: Backend, awaited_admin: AwaitedAdmin, blocking_admin: BlockingAdmin, room: str
) -> None:
    """Clients and channels can be iterated over."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    assert [client.client_id async for client in awaited_admin.all_clients(room)] == [client_id]
    assert [channel.channel async for channel in awaited_admin.all_channels(room)] == [room]
    assert [client.client_id for client in blocking_admin.all_clients(room)] == [client_id]
    assert [channel.channel for channel in blocking_admin.all_channels(room)] == [room]
