"""A session that somebody ends who is not its client: its client hears of it, and stays away."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.bayeux.site import KINDS, POLLING, Browser, Reply, Visitor, opened, served, until_held
from tests.sdk.servers import TIMEOUT, Server

from pixied_client import Backend
from pixied_client.bayeux import Bayeux, BayeuxMessage, Extension, Request, Timing

STAY_AWAY = {"reconnect": "none", "interval": 0}
NOTICE = {"channel": "/meta/disconnect", "successful": True, "advice": STAY_AWAY}
ACK: dict[str, Any] = {"ext": {"ack": True}}
ACKED: dict[str, Any] = {"ext": {"ack": 0}}


async def by_application(bayeux: Bayeux, backend: Backend, client_id: str) -> None:
    """As a hook, a service or the application's own pages do it."""
    del backend
    await bayeux.session(client_id).disconnect()


async def by_operator(bayeux: Bayeux, backend: Backend, client_id: str) -> None:
    """As any caller of pixied may."""
    del bayeux
    await backend.destroy_client(client_id, "by hand")


async def by_operator_in_silence(bayeux: Bayeux, backend: Backend, client_id: str) -> None:
    """Without a reason."""
    del bayeux
    await backend.destroy_client(client_id)


WAYS = [by_application, by_operator, by_operator_in_silence]


@pytest.mark.parametrize("end", WAYS)
@pytest.mark.parametrize("ack", [False, True])
async def test_on_a_long_poll(browser: Browser, bayeux: Bayeux, backend: Backend, end: Any, ack: bool) -> None:  # noqa: FBT001
    """The response has CometD's message before the reply: what comes second finds a client that is over."""
    visitor = await browser.handshake(**(ACK if ack else {}))
    await until_held(backend, visitor.client_id, "")
    connecting = asyncio.create_task(visitor.connect(**(ACKED if ack else {})))
    await until_held(backend, visitor.client_id)
    await end(bayeux, backend, visitor.client_id)
    notice, reply = await connecting
    assert notice == NOTICE
    assert (reply["channel"], reply["successful"], reply["advice"]) == ("/meta/connect", True, STAY_AWAY)


@pytest.mark.parametrize("end", WAYS)
async def test_on_callback_polling(browser: Browser, bayeux: Bayeux, backend: Backend, end: Any) -> None:
    """The function that is called gets both."""
    visitor = await browser.handshake()
    await until_held(backend, visitor.client_id, "")
    message = {"channel": "/meta/connect", "clientId": visitor.client_id, "connectionType": "callback-polling"}
    asking = asyncio.create_task(browser.http.get(browser.url, params={"message": json.dumps(message)}))
    await until_held(backend, visitor.client_id)
    await end(bayeux, backend, visitor.client_id)
    script = re.fullmatch(r"/\*\*/jsonpcallback\((.*)\);", (await asking).text)
    assert script
    assert [one["channel"] for one in json.loads(script[1])] == ["/meta/disconnect", "/meta/connect"]


@pytest.mark.parametrize("end", WAYS)
@pytest.mark.parametrize("ack", [False, True])
async def test_on_a_websocket(url: str, bayeux: Bayeux, backend: Backend, end: Any, ack: bool) -> None:  # noqa: FBT001
    """One frame has both, and the socket serves others on."""
    async with opened(url) as socket:
        client_id = await socket.handshake(**(ACK if ack else {}))
        await socket.hold(backend, client_id, **(ACKED if ack else {}))
        await end(bayeux, backend, client_id)
        notice, reply = await socket.receive()
        assert notice == NOTICE
        assert (reply["channel"], reply["successful"], reply["advice"]) == ("/meta/connect", True, STAY_AWAY)
        await socket.handshake()


@asynccontextmanager
async def streamed(browser: Browser, backend: Backend, visitor: Visitor) -> AsyncIterator[AsyncIterator[list[Reply]]]:
    """Open a client's stream of events; gives what comes."""
    await until_held(backend, visitor.client_id, "")
    stream = browser.http.stream("GET", f"{browser.url}/{visitor.client_id}", headers={"accept": "text/event-stream"})
    async with asyncio.timeout(TIMEOUT), stream as response:
        await until_held(backend, visitor.client_id)

        async def events() -> AsyncIterator[list[Reply]]:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

        yield events()


@pytest.mark.parametrize("end", WAYS)
async def test_on_a_stream_of_events(browser: Browser, bayeux: Bayeux, backend: Backend, end: Any) -> None:
    """It is the stream's last event: by its advice Faye's client does not come back, as it has no connect to answer."""
    visitor = await browser.handshake()
    async with streamed(browser, backend, visitor) as events:
        await end(bayeux, backend, visitor.client_id)
        assert [event async for event in events] == [[NOTICE]]


async def test_a_client_that_leaves_by_itself_is_not_told(browser: Browser, url: str, backend: Backend) -> None:
    """It has the reply to its disconnect."""
    visitor = await browser.handshake()
    held = await visitor.hold(backend)
    assert (await visitor.ask("/meta/disconnect"))["successful"]
    assert [reply["channel"] for reply in await held] == ["/meta/connect"]
    streaming = await browser.handshake()
    async with streamed(browser, backend, streaming) as events:
        await streaming.ask("/meta/disconnect")
        assert [event async for event in events] == []
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.hold(backend, client_id)
        await browser.ask("/meta/disconnect", clientId=client_id)
        assert [reply["channel"] for reply in await socket.receive()] == ["/meta/connect"]


@pytest.fixture
async def strict(server: Server) -> AsyncIterator[str]:
    """A front-end that ends sessions which only connect."""
    timing = Timing(timeout=0.05, max_inactivity=0.3)
    async with served(Bayeux(server.address, timing=timing)) as place:
        yield f"http://{place}/bayeux"


@pytest.mark.parametrize("ack", [False, True])
@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_after_too_long_without_activity(strict: str, transport: str, ack: bool) -> None:  # noqa: FBT001
    """The connect that is refused for it has the message before it."""
    replies: list[Reply] = [{"successful": True}]
    async with Browser(strict) as browser, opened(strict) as socket:
        ask = browser.ask if transport == "http" else socket.ask
        client_id = (await ask("/meta/handshake", **KINDS, **(ACK if ack else {})))["clientId"]
        connect = {"channel": "/meta/connect", "clientId": client_id, **(ACKED if ack else {})}
        while replies[-1]["successful"]:
            if transport == "http":
                replies = await browser.post({**connect, "connectionType": POLLING})
            else:
                await socket.send({**connect, "connectionType": "websocket"})
                replies = await socket.receive()
    notice, refused = replies
    assert notice == NOTICE
    assert (refused["error"], refused["advice"]) == ("403::Inactive for too long", {"reconnect": "none"})


async def test_after_too_long_without_activity_on_a_stream_of_events(strict: str, backend: Backend) -> None:
    """Its connects, which go beside it, are looked at too."""
    async with Browser(strict) as browser:
        visitor = await browser.handshake()
        async with streamed(browser, backend, visitor) as events:
            reply: Reply = {"successful": True}
            while reply["successful"]:
                (reply,) = await visitor.connect(connectionType="eventsource")
            assert (reply["error"], reply["advice"]) == ("403::Inactive for too long", {"reconnect": "none"})
            assert [event async for event in events] == [[NOTICE]]


async def test_extensions_see_the_message(server: Server, backend: Backend) -> None:
    """As they see all that goes out; one that drops it leaves the reply's advice."""

    class Dropping(Extension):
        async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
            del request
            return None if message.channel == "/meta/disconnect" else message

    async with (
        served(Bayeux(server.address, name="dropping", extensions=[Dropping()])) as place,
        Browser(f"http://{place}/") as browser,
    ):
        visitor = await browser.handshake()
        held = await visitor.hold(backend)
        await backend.destroy_client(visitor.client_id)
        (reply,) = await held
        assert reply["advice"] == STAY_AWAY
