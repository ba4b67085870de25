"""Every reason for which a real server refuses, as the exception that a caller gets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from tests.sdk.conftest import Operations
from tests.sdk.servers import Server, running_server
from tests.sdk.test_front_end import until_polled

from pixied_client import (
    Backend,
    BatchTooLarge,
    ChannelInvalid,
    ChannelIsPattern,
    ChannelReserved,
    ClientUnknown,
    DataNotJson,
    FieldInvalid,
    FrontEnd,
    IdempotencyKeyReused,
    LimitClients,
    LimitMemory,
    LimitNamespaces,
    LimitSubscriptions,
    Message,
    MessageTooLarge,
    NamespaceInUse,
    NamespaceUnknown,
    PageTokenInvalid,
    PixiedError,
    RateLimited,
    TakenOver,
    TimeoutOutOfRange,
)

ID = object()
"""Stands for the id of a client that lives."""

REFUSALS: list[tuple[type[PixiedError], str, tuple[Any, ...], dict[str, Any]]] = [
    (ClientUnknown, "get_client", ("nobody",), {}),
    (ClientUnknown, "subscribe", ("nobody", "/a"), {}),
    (NamespaceUnknown, "release_namespace", ("nothing",), {}),
    (NamespaceInUse, "release_namespace", (ID,), {}),
    (ChannelInvalid, "subscribe", (ID, "no channel"), {}),
    (ChannelInvalid, "subscribers_of", ("/a/",), {}),
    (ChannelIsPattern, "publish", ([Message.of("/a/**", 1)],), {}),
    (ChannelReserved, "publish_one", (Message.of("/meta/connect", 1),), {}),
    (ChannelReserved, "subscribe", (ID, "/service/a"), {}),
    (DataNotJson, "publish", ([Message("/a", "{")],), {}),
    (DataNotJson, "queue_for", (ID, [Message("/a", "1", extra="[]")]), {}),
    (MessageTooLarge, "publish", ([Message.of("/a", "x" * 2_000_000)],), {}),
    (BatchTooLarge, "ping_clients", (["nobody"] * 1_001,), {}),
    (TimeoutOutOfRange, "create_client", (0.001,), {}),
    (PageTokenInvalid, "subscribers_of", ("/a",), {"page_token": "made up"}),
    (FieldInvalid, "generate_namespace", (256,), {}),
    (FieldInvalid, "publish", ([],), {}),
    (FieldInvalid, "get_client", ("",), {}),
]


@pytest.mark.parametrize(
    ("kind", "name", "arguments", "options"), REFUSALS, ids=[f"{kind.__name__}-{name}" for kind, name, *_ in REFUSALS]
)
async def test_refusal(
    backend: Operations, kind: type[PixiedError], name: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """What the server refuses raises the exception of its reason, with a text for people."""
    client_id = (await backend.create_client()).client_id
    given = [client_id if argument is ID else argument for argument in arguments]
    with pytest.raises(kind) as caught:
        await getattr(backend, name)(*given, **options)
    assert caught.value.reason == kind.reason
    assert caught.value.message
    assert client_id not in caught.value.message


async def test_field_is_named(backend: Operations) -> None:
    """A refusal names the field that is to blame."""
    with pytest.raises(FieldInvalid) as caught:
        await backend.generate_namespace(256)
    assert caught.value.field == "length"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_key_of_another_message(backend: Operations, room: str) -> None:
    """A key that was used for another message is refused."""
    key = f"{room}-{id(backend)}"
    await backend.publish_one(Message.of(room, 1, idempotency_key=key))
    with pytest.raises(IdempotencyKeyReused):
        await backend.publish_one(Message.of(room, 2, idempotency_key=key))


async def test_taken_over(plain: Backend) -> None:
    """A long poll ends with TakenOver when someone else takes the client."""
    client_id = (await plain.create_client()).client_id
    waiting = asyncio.create_task(plain.dequeue_for(client_id, wait=60))
    await until_polled(plain, client_id)
    async with plain.deliver(client_id) as received:
        await received.ready()
        with pytest.raises(TakenOver) as caught:
            await waiting
    assert caught.value.code is grpc.StatusCode.ABORTED


async def test_long_poll(plain: Backend) -> None:
    """A long poll is answered as soon as there are messages, however long it may wait beyond the call's timeout."""
    client_id = (await plain.create_client()).client_id
    waiting = asyncio.create_task(plain.dequeue_for(client_id, wait=60))
    await until_polled(plain, client_id)
    await plain.queue_for(client_id, [Message.of("/a", 1)])
    assert [message.value for message in (await waiting).messages] == [1]


async def test_no_long_poll_in_a_pipeline(server: Server) -> None:
    """A front-end's pipeline does not wait: that is refused by name."""
    async with FrontEnd(server.address, "test") as front_end:
        client_id = (await front_end.create_client()).client_id
        with pytest.raises(FieldInvalid) as caught:
            await front_end.dequeue_for(client_id, wait=1)
    assert caught.value.field == "wait"


@pytest.fixture(scope="module")
def small_server() -> Iterator[Server]:
    """A server that holds next to nothing."""
    limits = {
        "max-clients": 2,
        "max-namespaces": 4,
        "max-subscriptions-per-client": 2,
        "max-total-bytes": 200_000,
        "max-log-bytes": 200_000,
        "max-message-bytes": 150_000,
        "max-clients-per-link": 1,
    }
    with running_server(*(f"--{name}={value}" for name, value in limits.items())) as started:
        yield started


@pytest.fixture
async def small(small_server: Server) -> AsyncIterator[Backend]:
    """A Backend of the small server, which holds nothing when the test begins and when it is over."""
    async with Backend(small_server.address) as opened:
        yield opened


async def test_limits_of_clients(small: Backend, small_server: Server) -> None:
    """More clients than the server takes, on it or on one link, are LimitClients; and so with their subscriptions."""
    one, two = await small.create_client(), await small.create_client()
    with pytest.raises(LimitClients):
        await small.create_client()
    with pytest.raises(LimitSubscriptions):
        await small.subscribe(one.client_id, ["/a", "/b", "/c"])
    async with FrontEnd(small_server.address, "test") as front_end, await front_end.attach(one.client_id):
        with pytest.raises(LimitClients):
            await front_end.attach(two.client_id)
    for client in (one, two):
        await small.destroy_client(client.client_id)


async def test_limit_of_namespaces(small: Backend) -> None:
    """More namespaces than the server takes are LimitNamespaces."""
    reserved = [await small.generate_namespace() for _ in range(4)]
    with pytest.raises(LimitNamespaces) as caught:
        await small.generate_namespace()
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for namespace in reserved:
        await small.release_namespace(namespace)


async def test_limit_of_memory(small: Backend) -> None:
    """A message that does not fit into what the server may take is LimitMemory."""
    client = await small.create_client()
    with pytest.raises(LimitMemory):
        await small.queue_for(client.client_id, [Message.of("/a", "x" * 120_000), Message.of("/a", "y" * 120_000)])
    await small.destroy_client(client.client_id)


async def test_rate() -> None:
    """Calls beyond the rate are RateLimited, and are told when to try again."""
    with running_server("--max-creates-per-second=1") as server:
        async with Backend(server.address) as backend:
            with pytest.raises(RateLimited) as caught:
                await asyncio.gather(*(backend.create_client() for _ in range(100)))
    assert caught.value.retry_after
    assert caught.value.retry_after > 0
