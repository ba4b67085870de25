"""Sessions over WebSockets, by raw frames."""

import asyncio
import socket

import pytest
from tests.bayeux.site import Browser, Reply, Socket, opened, served, until_held
from tests.sdk.servers import TIMEOUT, Server
from websockets.exceptions import ConnectionClosed

from pixied_client import Backend
from pixied_client.bayeux import Bayeux, Limits, Timing

CONNECT = {"channel": "/meta/connect", "connectionType": "websocket"}


async def test_messages_come_while_a_connect_is_held(url: str, browser: Browser, backend: Backend) -> None:
    """On a WebSocket messages do not end the connect: several come, and then the reply."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/live")
        await socket.hold(backend, client_id, id="held")
        for number in range(3):
            await browser.ask("/live", data=number)
        messages: list[Reply] = []
        while len(messages) < 3:  # what waits leaves in one frame
            messages += await socket.receive()
        await browser.ask("/meta/disconnect", clientId=client_id)
        messages += await socket.receive()
        assert [message.get("data") for message in messages] == [0, 1, 2, None]
        assert messages[-1]["id"] == "held"
        assert messages[-1]["successful"]


async def test_messages_between_two_connects_are_not_lost(url: str, browser: Browser) -> None:
    """What comes while no connect is held waits for the next one."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/gap")
        await browser.ask("/gap", data=1)
        await socket.send({**CONNECT, "clientId": client_id})
        assert (await socket.receive())[0]["data"] == 1


async def test_a_socket_that_is_cut_keeps_its_messages_in_pixied(
    url: str, other_url: str, browser: Browser, backend: Backend
) -> None:
    """The client goes on over another front-end with the same id, and has lost and repeated nothing."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/cut")
        await socket.hold(backend, client_id)
        await browser.ask("/cut", data=1)
        assert (await socket.receive())[0]["data"] == 1
        await browser.ask("/meta/subscribe", clientId=client_id, subscription="/other")  # behind the confirmation
        socket.connection.transport.abort()
    await until_held(backend, client_id, "")
    await browser.ask("/cut", data=2)
    async with opened(other_url) as socket:
        await socket.send({**CONNECT, "clientId": client_id})
        assert [message["data"] for message in await socket.receive()] == [2]


async def test_publishing_is_answered_on_the_socket(url: str) -> None:
    """A frame of several messages is answered in one frame."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.send(*({"channel": "/p", "data": n, "id": str(n), "clientId": client_id} for n in range(3)))
        assert [(reply["id"], reply["successful"]) for reply in await socket.receive()] == [
            ("0", True),
            ("1", True),
            ("2", True),
        ]


async def test_an_empty_frame_is_answered_with_an_empty_one(url: str) -> None:
    """So a Faye client asks whether its socket lives."""
    async with opened(url) as socket:
        await socket.send()
        assert await socket.receive() == []


BAD_FRAMES = [
    ("{", "400::Bad request_ it is not JSON"),
    ('"x"', "400::"),
    ("[1]", "400::"),
    ("[[]]", "400::"),
    ('{"channel":"/a","data":NaN}', "400::"),
    ('{"channel":"/a","data":' + "[" * 100 + "]" * 100 + "}", "400::Bad request_ it is more than 64 levels deep"),
    ("[" * 100_000, "400::"),
    (b'{"channel":"/a","data":"\xff"}', "400:"),
]


@pytest.mark.parametrize(("frame", "error"), BAD_FRAMES, ids=lambda value: str(value)[:40])
async def test_a_malformed_frame_is_refused_and_the_socket_goes_on(url: str, frame: str | bytes, error: str) -> None:
    """Whatever a frame holds, its sender gets an answer, and the next frame is answered."""
    async with opened(url) as socket:
        await socket.connection.send(frame)
        (reply,) = await socket.receive()
        assert reply["successful"] is False
        assert reply["error"].startswith(error.replace("_", ":"))
        await socket.handshake()


async def test_a_frame_that_is_too_large_closes_the_socket(server: Server) -> None:
    """Its size is bounded, and the close code says that this was the reason."""
    async with (
        served(Bayeux(server.address, limits=Limits(request_bytes=1_000))) as place,
        opened(f"http://{place}/") as socket,
    ):
        await socket.send({"channel": "/large", "data": "x" * 2_000})
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert socket.connection.close_code == 1009


async def test_a_second_connect_on_the_socket_ends_the_first(url: str) -> None:
    """As everywhere: the last connect holds."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.send({**CONNECT, "clientId": client_id, "id": "1"})
        await socket.send({**CONNECT, "clientId": client_id, "id": "2", "advice": {"timeout": 100}})
        (first,), (second,) = await socket.receive(), await socket.receive()
        assert (first["id"], first["successful"], second["id"], second["successful"]) == ("1", False, "2", True)


async def test_disconnect_is_answered_and_wakes_the_connect(url: str, backend: Backend) -> None:
    """Both replies come, on the same socket."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.hold(backend, client_id, id="held")
        await socket.send({"channel": "/meta/disconnect", "clientId": client_id, "id": "bye"})
        replies = {reply["id"]: reply for reply in [*await socket.receive(), *await socket.receive()]}
        assert replies["bye"]["successful"]
        assert replies["held"]["advice"]["reconnect"] == "none"


async def test_a_planned_stop_answers_connects_and_closes_the_socket(
    url: str, bayeux: Bayeux, backend: Backend
) -> None:
    """First the reply to the connect that is held, then the close: going away."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.hold(backend, client_id)
        bayeux.drain()
        (reply,) = await socket.receive()
        assert reply["successful"]
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert socket.connection.close_code == 1001


async def test_a_subprotocol_that_is_asked_for_is_granted(url: str) -> None:
    """Browsers close a socket that was granted none of the subprotocols they asked for."""
    async with opened(url, subprotocols=["bayeux"]) as socket:
        assert socket.connection.subprotocol == "bayeux"


async def test_so_many_connects_are_held_on_a_socket(server: Server) -> None:
    """Beyond the limit a connect is refused at once, and the others are held on."""
    limits, timing = Limits(held_per_socket=2), Timing(timeout=2)
    async with (
        served(Bayeux(server.address, limits=limits, timing=timing)) as place,
        opened(f"http://{place}/") as socket,
    ):
        for _ in range(3):
            client_id = (await socket.ask("/meta/handshake", version="1.0", supportedConnectionTypes=["websocket"]))[
                "clientId"
            ]
            await socket.ask("/meta/connect", clientId=client_id, connectionType="websocket", advice={"timeout": 0})
            await socket.send({**CONNECT, "clientId": client_id, "id": client_id})
        (reply,) = await socket.receive()
        assert reply["error"].startswith("429:")
        # Its client knows by this which of its requests it is about, and when to try again.
        assert (reply["channel"], reply["id"], reply["clientId"]) == ("/meta/connect", client_id, client_id)
        assert reply["advice"] == {"reconnect": "retry", "interval": 1_000}


async def test_a_slow_socket_loses_and_repeats_nothing_and_stops_nobody(server: Server, backend: Backend) -> None:
    """Who takes nothing gets no live messages, holds up nobody, and later gets all from the log, once and in order.

    There are more deliveries than a link may have unconfirmed, and more bytes than any socket's buffers hold.
    """
    timing, limits = Timing(timeout=60, stalled=0.05), Limits(window=3)
    rounds, size, filler = 15, 100, "x" * 10_000
    expected = list(range(rounds * size))
    async with served(Bayeux(server.address, timing=timing, limits=limits)) as place:
        url = f"http://{place}/bayeux"
        async with (
            Browser(url) as browser,
            opened(url, compression=None, sock=_narrow(place)) as slow,
            opened(url) as quick,
        ):
            for side in (slow, quick):
                client_id = await side.handshake()
                await side.ask("/meta/subscribe", clientId=client_id, subscription="/flood")
                await side.hold(backend, client_id)
            reading = asyncio.create_task(_numbers(quick, len(expected)))
            for start in range(0, len(expected), size):
                await browser.post(*({"channel": "/flood", "data": [start + n, filler]} for n in range(size)))
            assert await reading == expected
            assert await _numbers(slow, len(expected)) == expected


def _narrow(place: str) -> socket.socket:
    """Connect with a small buffer, so that the other side soon notices that nobody reads."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    host, _, port = place.rpartition(":")
    narrow.connect((host, int(port)))
    narrow.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return narrow


async def _numbers(side: Socket, count: int) -> list[int]:
    got: list[int] = []
    while len(got) < count:
        got += [message["data"][0] for message in await side.receive()]
    return got


async def test_a_socket_on_which_nothing_is_held_or_sent_is_closed(server: Server) -> None:
    """It has nobody's connect: who opens sockets and says nothing takes places for a while only."""
    async with served(Bayeux(server.address, timing=Timing(timeout=0.1, max_interval=0.1))) as place:
        async with opened(f"http://{place}/") as idle:
            await asyncio.wait_for(idle.connection.wait_closed(), TIMEOUT)
        assert idle.connection.close_code == 1001
