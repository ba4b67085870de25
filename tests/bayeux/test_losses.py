"""Messages that pixied's limits cost a client: it is told, on every transport, once, and with the next messages."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.bayeux.site import KINDS, Browser, Reply, Visitor, opened, served, until_held
from tests.sdk.servers import TIMEOUT, Server, running_server

from pixied_client import Backend, Gap, Message
from pixied_client.bayeux import Bayeux, Session, Timing

SENT, KEPT = 5, 2
LOST = [{"channel": "/cut", "messages": SENT - KEPT}]
NUMBERS = list(range(SENT))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A pixied whose logs keep little."""
    with running_server(f"--max-log-messages={KEPT}") as started:
        yield started


@pytest.fixture
def lost(bayeux: Bayeux) -> list[tuple[Session, Gap]]:
    """What the application is notified of."""
    notified: list[tuple[Session, Gap]] = []

    @bayeux.on("lost")
    async def note(session: Session, gap: Gap) -> None:
        notified.append((session, gap))

    return notified


async def lose(backend: Backend) -> None:
    """Publish more than is kept."""
    for number in NUMBERS:
        await backend.publish_one(Message.of("/cut", number))


async def test_on_a_websocket(lost: list[tuple[Session, Gap]], bayeux: Bayeux, url: str, backend: Backend) -> None:
    """The connect is answered for it, after what is left; the next one is held again and tells nothing."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/cut")
        await until_held(backend, client_id, "")
        await lose(backend)
        connect = {"channel": "/meta/connect", "clientId": client_id, "connectionType": "websocket"}
        await socket.send({**connect, "id": "1"})
        *messages, reply = [*await socket.receive(), *await socket.receive()]
        assert [message["data"] for message in messages] == NUMBERS[-KEPT:]
        assert (reply["id"], reply["successful"], reply["ext"]) == ("1", True, {"lost": LOST})
        assert reply["advice"]["reconnect"] == "retry"
        await socket.send({**connect, "id": "2", "advice": {"timeout": 100}})
        (reply,) = await socket.receive()
        assert (reply["id"], "ext" in reply) == ("2", False)
    assert lost == [(bayeux.session(client_id), Gap("/cut", SENT - KEPT))]


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_with_acknowledgement(url: str, backend: Backend, transport: str) -> None:
    """It stands beside the batch."""
    async with Browser(url) as browser, opened(url) as socket:
        ask = browser.ask if transport == "http" else socket.ask
        client_id = (await ask("/meta/handshake", **KINDS, ext={"ack": True}))["clientId"]
        await ask("/meta/subscribe", clientId=client_id, subscription="/cut")
        await lose(backend)
        kind = "long-polling" if transport == "http" else "websocket"
        reply = await ask("/meta/connect", clientId=client_id, connectionType=kind, ext={"ack": 0})
        assert reply["ext"]["lost"] == LOST
        assert reply["ext"]["ack"] > 0


async def test_on_a_long_poll(browser: Browser, backend: Backend) -> None:
    """The reply that comes with the next messages tells it."""
    visitor = await browser.handshake()
    await visitor.subscribe("/cut")
    await until_held(backend, visitor.client_id, "")
    await lose(backend)
    reply, *messages = await visitor.connect()
    assert reply["ext"] == {"lost": LOST}
    assert [message["data"] for message in messages] == NUMBERS[-KEPT:]


async def test_on_a_stream_of_events(
    lost: list[tuple[Session, Gap]], bayeux: Bayeux, browser: Browser, backend: Backend
) -> None:
    """Where no connect is held, what its reply would say is an event, and the stream goes on."""
    visitor = await browser.handshake()
    await visitor.subscribe("/cut")
    await until_held(backend, visitor.client_id, "")
    await lose(backend)
    got: list[Reply] = []
    stream = browser.http.stream("GET", f"{browser.url}/{visitor.client_id}", headers={"accept": "text/event-stream"})
    async with asyncio.timeout(TIMEOUT), stream as response:
        async for event in _events(response):
            got += event
            if len(got) == KEPT + 1:
                await browser.ask("/cut", data="on")
            elif len(got) > KEPT + 1:
                break
    *messages, told, last = got
    assert [message["data"] for message in messages] == NUMBERS[-KEPT:]
    assert told == {"channel": "/meta/connect", "successful": True, "ext": {"lost": LOST}}
    assert last["data"] == "on"
    assert lost == [(bayeux.session(visitor.client_id), Gap("/cut", SENT - KEPT))]


async def _events(response: Any) -> AsyncIterator[list[Reply]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_during_the_handshake(server: Server) -> None:
    """What is sent to a session by then may be too much as well."""
    bayeux = Bayeux(server.address, timing=Timing(timeout=5.0), deliver_during_handshake=True)

    @bayeux.on("handshake")
    async def greet(session: Session, *_: object) -> None:
        for number in NUMBERS:
            await session.deliver("/service/news", number)

    async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
        reply, *news = await browser.post({"channel": "/meta/handshake", **KINDS})
        assert [message["data"] for message in news] == NUMBERS[-KEPT:]
        assert [one["messages"] for one in reply["ext"]["lost"]] == [SENT - KEPT]
        (reply,) = await Visitor(browser, reply["clientId"]).connect(advice={"timeout": 0})
        assert "ext" not in reply
