"""A front-end whose connection breaks, whose server dies, hangs or stops as planned."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from tests.sdk.servers import TIMEOUT, Proxy, Server, proxied, running_server
from tests.sdk.test_front_end import subscriber, until, values

from pixied_client import (
    Backend,
    Backoff,
    ClientUnknown,
    DeadlineExceeded,
    Delivery,
    Detached,
    DetachReason,
    FrontEnd,
    Message,
    MessageTooLarge,
    Unavailable,
    sync,
)

QUICK = Backoff(first=0.02, longest=0.1)


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared server."""
    async with proxied(server) as opened:
        yield opened


async def test_attached_again(proxy: Proxy, plain: Backend, room: str) -> None:
    """After a cut all clients are attached again with their handles, and lose nothing; what comes twice is marked."""
    async with FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        attachments = [await subscriber(front_end, room) for _ in range(50)]
        await front_end.publish_one(Message.of(room, "before"))
        taken = [await values(attachment, 1) for attachment in attachments]
        assert taken == [["before"]] * 50
        handles = {attachment.handle: attachment.client_id for attachment in attachments}
        proxy.refuse(refusing=True)
        await proxy.cut()
        await plain.publish_one(Message.of(room, "meanwhile"))
        proxy.refuse(refusing=False)
        for attachment in attachments:
            seen: list[tuple[object, bool]] = []
            while ("meanwhile", False) not in seen:
                async with asyncio.timeout(TIMEOUT):
                    item = await anext(attachment)
                assert isinstance(item, Delivery)
                seen += [(message.value, item.redelivered) for message in item.messages]
            assert seen in ([("before", True), ("meanwhile", False)], [("meanwhile", False)])
        assert {handle: held.client_id for handle, held in front_end.attachments.items()} == handles


async def test_several_addresses(server: Server, room: str) -> None:
    """When the first of several addresses is gone the next is used, and nothing is lost."""
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(Proxy(server.path))
        until_gone = await stack.enter_async_context(AsyncExitStack())
        first = await until_gone.enter_async_context(Proxy(server.path))
        address = f"{first.address}, {second.address}"
        front_end = await stack.enter_async_context(FrontEnd(address, "test", backoff=QUICK, timeout=TIMEOUT))
        attachment = await subscriber(front_end, room)
        assert (first.in_use, second.in_use) == (True, False)
        await until_gone.aclose()
        await front_end.publish_one(Message.of(room, "after"))
        assert await values(attachment, 1) == ["after"]
        assert second.in_use
        with sync.Backend(address) as blocking:
            assert (await asyncio.to_thread(blocking.get_client, attachment.client_id)).client_id


@pytest.mark.parametrize(
    "address", ["localhost:1,localhost:2", "10.0.0.1,10.0.0.2", "10.0.0.1:1,[::1]:1", "10.0.0.1:1,"]
)
@pytest.mark.parametrize("face", [Backend, sync.Backend, FrontEnd])
async def test_several_addresses_are_ip_addresses(face: type, address: str) -> None:
    """Other lists than gRPC knows are refused at once, with what would be right."""
    with pytest.raises(ValueError, match=r"several addresses are IP addresses .* not"):
        face(address)


@pytest.mark.parametrize("address", ["[::1]:1,[::2]:1", "ipv4:10.0.0.1:1,10.0.0.2:1"])
async def test_several_addresses_in_other_forms(address: str) -> None:
    """Addresses of IPv6 and gRPC's own names of lists will do."""
    async with Backend(address):
        pass


async def test_numbers_ascend(proxy: Proxy, room: str) -> None:
    """Delivery numbers ascend over links, and one of an old link confirms nothing on the new one."""
    async with FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        client_id = (await front_end.create_client()).client_id
        attachment = await front_end.attach(client_id, explicit=True)
        await front_end.queue_for(client_id, [Message.of(room, 1)])
        first = await anext(attachment)
        await proxy.cut()
        second = await anext(attachment)
        assert isinstance(first, Delivery)
        assert isinstance(second, Delivery)
        assert second.number > first.number
        assert second.redelivered
        attachment.confirm(first.number)
        await attachment.detach()
        assert (await front_end.dequeue_for(client_id)).redelivered == 1


async def test_operations_wait_and_keep_order(proxy: Proxy, plain: Backend, room: str) -> None:
    """Operations called while there is no connection are done when there is one, in their order, each once."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    async with FrontEnd(proxy.address, "test", backoff=QUICK, timeout=TIMEOUT) as front_end:
        await front_end.generate_namespace()
        proxy.refuse(refusing=True)
        await proxy.cut()
        publishing = [asyncio.create_task(front_end.publish_one(Message.of(room, n))) for n in range(100)]
        await asyncio.sleep(0)
        proxy.refuse(refusing=False)
        await asyncio.gather(*publishing)
    received = await plain.dequeue_for(client_id)
    assert [message.value for message in received.messages] == list(range(100))


async def test_cut_while_operations_are_under_way(proxy: Proxy, plain: Backend, room: str) -> None:
    """Publishes that were under way when the connection was cut are done once, in order, though they are sent again."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    async with FrontEnd(proxy.address, "test", backoff=QUICK, timeout=TIMEOUT) as front_end:
        await front_end.generate_namespace()
        for start in range(0, 500, 100):
            publishing = [
                asyncio.create_task(front_end.publish_one(Message.of(room, n))) for n in range(start, start + 100)
            ]
            await publishing[0]
            await proxy.cut()
            await asyncio.gather(*publishing)
    received = await plain.dequeue_for(client_id, 1_000)
    assert [message.value for message in received.messages] == list(range(500))


async def test_unsafe_operation_under_way(proxy: Proxy) -> None:
    """An operation that must not be done twice fails when the connection breaks: its outcome is unknown."""
    async with FrontEnd(proxy.address, "test", backoff=QUICK, timeout=TIMEOUT) as front_end:
        await front_end.generate_namespace()
        proxy.freeze()
        creating = asyncio.create_task(front_end.create_client())
        reading = asyncio.create_task(front_end.subscribers_of("/nowhere"))
        async with asyncio.timeout(TIMEOUT):
            await proxy.holding.wait()
        await proxy.cut()
        proxy.thaw()
        with pytest.raises(Unavailable, match="outcome of create_client is unknown"):
            await creating
        assert (await reading).items == ()


async def test_silent_server(proxy: Proxy) -> None:
    """An operation that gets no answer in time fails as such, and those after it are answered as they should be."""
    async with FrontEnd(proxy.address, "test", timeout=0.3) as front_end:
        await until(lambda: front_end.connected)
        proxy.freeze()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
            await front_end.generate_namespace(3)
        proxy.thaw()
        async with asyncio.timeout(TIMEOUT):
            while True:
                with contextlib.suppress(DeadlineExceeded, Unavailable):
                    assert len(await front_end.generate_namespace(4)) == 4
                    break


@pytest.mark.parametrize("face", [Backend, sync.Backend])
async def test_deadline_of_a_call(proxy: Proxy, face: type) -> None:
    """A single call that gets no answer in time is DeadlineExceeded."""
    backend = face(proxy.address, timeout=0.2)
    proxy.freeze()

    async def call() -> None:
        if face is Backend:
            await backend.get_client("ann")
        else:
            await asyncio.to_thread(backend.get_client, "ann")

    with pytest.raises((DeadlineExceeded, Unavailable)):
        await call()
    proxy.thaw()
    await backend.close() if face is Backend else backend.close()


async def test_nobody_there() -> None:
    """Without a server an operation and an attach fail in their time with Unavailable, which names the address."""
    async with FrontEnd("unix:///nowhere/pixied", "test", timeout=0.3, backoff=QUICK) as front_end:
        for call in (front_end.generate_namespace(), front_end.attach("ann")):
            with pytest.raises(Unavailable, match="unix:///nowhere/pixied"):
                await call
        assert not front_end.connected
        assert front_end.attachments == {}


@pytest.mark.parametrize("face", [Backend, sync.Backend])
async def test_nobody_answers(face: type) -> None:
    """Without a server a call that can't be repeated fails at once, and any other in its time; the address is named."""
    backend = face("unix:///nowhere/pixied", timeout=2.0)

    async def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
        return await (call(*arguments) if face is Backend else asyncio.to_thread(call, *arguments))

    for call in (backend.create_client, lambda: backend.get_client("ann")):
        with pytest.raises(Unavailable, match="unix:///nowhere/pixied"):
            await outcome(call)
    await backend.close() if face is Backend else backend.close()


async def test_server_that_comes_late() -> None:
    """What can be repeated is tried until the server is there, if its deadline allows it."""
    with running_server() as server:
        server.kill()
        async with Backend(server.address, timeout=TIMEOUT) as backend:
            publishing = asyncio.create_task(backend.publish_one(Message.of("/a", 1)))
            with pytest.raises(Unavailable):
                await backend.create_client()  # by now the other has failed too, once at least
            await asyncio.to_thread(server.start)
            assert (await publishing).matched_subscriptions == 0


async def test_full_pipeline() -> None:
    """Operations beyond `max_pending` wait for room, and fail in their time if there is none."""
    async with FrontEnd("unix:///nowhere/pixied", "test", timeout=0.2, max_pending=2) as front_end:
        calls = [asyncio.create_task(front_end.get_client("ann")) for _ in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5


async def test_room_is_given_in_order(server: Server, plain: Backend, room: str) -> None:
    """Who waits for room gets it in order, and who gives up waiting gives it to the next."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    async with FrontEnd(server.address, "test", max_pending=3) as front_end:
        publishing = [asyncio.create_task(front_end.publish_one(Message.of(room, n))) for n in range(200)]
        await asyncio.sleep(0)
        publishing[10].cancel()
        publishing[150].cancel()
        await asyncio.gather(*publishing, return_exceptions=True)
    received = await plain.dequeue_for(client_id, 1_000)
    assert [message.value for message in received.messages] == [n for n in range(200) if n not in {10, 150}]


async def test_restarted_server(room: str) -> None:
    """A killed server that starts anew is found again; clients that it does not know are shown as refused."""
    with running_server() as server:
        async with FrontEnd(server.address, "test", backoff=QUICK, timeout=TIMEOUT) as front_end:
            lost = await subscriber(front_end, room)
            server.kill()
            server.start()
            async with asyncio.timeout(TIMEOUT):
                item = await anext(lost)
            assert isinstance(item, Detached)
            assert item.reason is DetachReason.REFUSED
            found = await subscriber(front_end, room)
            await front_end.publish_one(Message.of(room, "new"))
            assert await values(found, 1) == ["new"]


async def test_planned_stop(caplog: pytest.LogCaptureFixture, room: str) -> None:
    """A server that stops as planned is left at once, and not before its answers; its successor is found."""
    caplog.set_level(logging.INFO, "pixied_client")
    with running_server() as server:
        async with FrontEnd(server.address, "test", backoff=QUICK, timeout=TIMEOUT) as front_end:
            await subscriber(front_end, room)
            creating = [asyncio.create_task(front_end.create_client()) for _ in range(100)]
            await asyncio.sleep(0)
            assert await asyncio.to_thread(server.stop) == 0
            await asyncio.to_thread(server.start)
            outcomes = await asyncio.gather(*creating, return_exceptions=True)
            assert [outcome for outcome in outcomes if isinstance(outcome, Unavailable)] == []
            await until(lambda: front_end.connected)
    assert "closes the link" in caplog.text


async def test_dead_link(caplog: pytest.LogCaptureFixture, room: str) -> None:
    """A link without a sign of life for the silence limit is given up, and a new one carries on."""
    flags = ("--heartbeat-interval=0.1", "--silence-limit=0.5")
    with running_server(*flags) as server:
        async with proxied(server) as silent, FrontEnd(silent.address, "test", backoff=QUICK) as front_end:
            attachment = await subscriber(front_end, room)
            silent.freeze()
            await until(lambda: not front_end.connected)
            silent.thaw()
            await until(lambda: front_end.connected)
            await front_end.publish_one(Message.of(room, 1))
            assert await values(attachment, 1) == [1]
    assert "is silent" in caplog.text


async def test_detached_while_away(proxy: Proxy) -> None:
    """A client that is given up while there is no link is not attached again."""
    async with FrontEnd(proxy.address, "test", backoff=QUICK) as front_end:
        attachment = await front_end.attach((await front_end.create_client()).client_id)
        proxy.refuse(refusing=True)
        await proxy.cut()
        await until(lambda: not front_end.connected)
        await attachment.detach()
        proxy.refuse(refusing=False)
        assert (await front_end.get_client(attachment.client_id)).front_end == ""


async def test_too_large_for_any_server(server: Server) -> None:
    """An operation that no server would take is refused here, and spares the others on its stream."""
    async with FrontEnd(server.address, "test") as front_end:
        with pytest.raises(MessageTooLarge) as caught:
            await front_end.publish([Message.of("/a", "x" * 6_000_000) for _ in range(3)])
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
        assert len(await front_end.generate_namespace(9)) == 9


async def test_frames_of_any_size(server: Server, plain: Backend, room: str) -> None:
    """Operations are spread over frames by their number and size, and keep their order."""
    client_id = (await plain.create_client()).client_id
    await plain.subscribe(client_id, room)
    async with FrontEnd(server.address, "test") as front_end:
        large = [front_end.publish_one(Message.of(room, [n, "x" * 300_000])) for n in range(10)]
        small = [front_end.publish_one(Message.of(room, [n, ""])) for n in range(10, 3_010)]
        results = await asyncio.gather(*large, *small)
    assert {result.matched_subscriptions for result in results} == {1}
    seen: list[int] = []
    while received := (await plain.dequeue_for(client_id, 1_000)).messages:
        seen += [message.value[0] for message in received]
    assert seen == list(range(3_010))


async def test_smaller_frames_if_the_server_says_so() -> None:
    """No frame has more operations than the server said it takes."""
    with running_server("--max-batch-items=10") as server:
        async with FrontEnd(server.address, "test") as front_end:
            clients = await asyncio.gather(*(front_end.create_client() for _ in range(100)))
            held = await asyncio.gather(*(front_end.attach(client.client_id) for client in clients))
    assert len({attachment.handle for attachment in held}) == 100


async def test_smaller_frames_after_a_restart() -> None:
    """A server that takes less after a restart gets no frame of the old size: its own limits are waited for."""
    with running_server() as server:
        async with FrontEnd(server.address, "test", backoff=QUICK, timeout=TIMEOUT) as front_end:
            await front_end.generate_namespace()
            server.kill()
            await until(lambda: not front_end.connected)
            calls = [asyncio.create_task(front_end.subscribers_of("/nowhere")) for _ in range(100)]
            await asyncio.to_thread(server.start, "--max-batch-items=10")
            assert {page.items for page in await asyncio.gather(*calls)} == {()}


async def test_no_client_id_and_no_payload_is_logged(proxy: Proxy, caplog: pytest.LogCaptureFixture, room: str) -> None:
    """Not even with every line there is: of clients that are attached, again after a break, refused, or given up."""
    caplog.set_level(logging.DEBUG, "pixied_client")
    data = "a private word"
    async with FrontEnd(proxy.address, "test", backoff=QUICK) as front_end, Backend(proxy.address) as backend:
        attachment = await subscriber(front_end, room)
        await front_end.publish_one(Message.of(room, data, client_id=attachment.client_id))
        assert await values(attachment, 1) == [data]
        await proxy.cut()
        await until(lambda: not front_end.connected)
        await until(lambda: front_end.connected)
        await backend.queue_for(attachment.client_id, [Message.of(room, data)])
        assert data in await values(attachment, 1)
        for refused in (front_end.attach("nobody" * 5), backend.get_client("nobody" * 5)):
            with pytest.raises(ClientUnknown):
                await refused
        await backend.dequeue_for(attachment.client_id)
        await until(lambda: attachment.detached is not None)
    assert "stands" in caplog.text
    for text in (attachment.client_id[:8], "nobody" * 2, data):
        assert text not in caplog.text
