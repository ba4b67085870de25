"""Front-ends for the tests: real uvicorn on loopback, and what talks to them without a Bayeux library."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

import httpx
import uvicorn
from tests.sdk.servers import TIMEOUT
from websockets.asyncio.client import ClientConnection, connect

from pixied_client import Backend
from pixied_client.bayeux import Bayeux

Reply = dict[str, Any]

Ask: TypeAlias = Callable[..., Awaitable[Reply]]
"""Sends one message, given as a channel and members, and gives its reply."""

POLLING = "long-polling"
KINDS = {"version": "1.0", "supportedConnectionTypes": [POLLING, "websocket"]}
"""What every handshake has to say."""


@asynccontextmanager
async def served(application: Any, **settings: Any) -> AsyncIterator[str]:
    """Serve an ASGI application; gives its host and port."""
    config = uvicorn.Config(
        application, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5, **settings
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign] - Ctrl-C is for pytest
    running = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or running.done())
        if running.done():
            running.result()
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"{host}:{port}"
    finally:
        if isinstance(application, Bayeux):
            application.drain()
        server.should_exit = True
        await running


def read(text: str | bytes) -> list[Reply]:
    """Read replies, and of numbers that are longer than Python reads the beginning."""
    replies: list[Reply] = json.loads(text, parse_int=lambda digits: int(digits[:4_000]))
    return replies


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens by itself in this process."""
    async with asyncio.timeout(TIMEOUT):
        while not true():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def until_held(backend: Backend, client_id: str, front_end: str | None = None) -> None:
    """Wait until a front-end holds a client (None: any; empty: none).

    A front-end lets go of a client after the reply has been sent: who has just connected may still be held by that. To
    wait for the hold of a connect that is just beginning, use `hold`.
    """
    async with asyncio.timeout(TIMEOUT):
        while True:
            holder = (await backend.get_client(client_id)).front_end
            if bool(holder) if front_end is None else holder == front_end:
                return
            await asyncio.sleep(0.005)


class Browser:
    """Makes requests by hand.

    Args:
        url: where the front-end is.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.http = httpx.AsyncClient(timeout=TIMEOUT, **options)
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def post(self, *messages: Mapping[str, Any]) -> list[Reply]:
        """Send messages; give the answer."""
        response = await self.http.post(self.url, json=list(messages))
        assert response.status_code == 200, response.text
        answer: list[Reply] = response.json()
        return answer

    async def ask(self, channel: str, **members: Any) -> Reply:
        """Send one message; give its reply."""
        replies = await self.post({"channel": channel, "id": str(next(self._ids)), **members})
        return replies[0]

    async def handshake(self, **members: Any) -> "Visitor":
        """Begin a session and make its first connect, which is answered at once."""
        kinds = {"version": "1.0", "supportedConnectionTypes": [POLLING]}
        reply = await self.ask("/meta/handshake", **kinds | members)
        assert reply["successful"], reply
        visitor = Visitor(self, reply["clientId"])
        await visitor.connect()
        return visitor


class Visitor:
    """A client on long polls, made by hand.

    Args:
        browser: what it asks with.
        client_id: its session.
    """

    def __init__(self, browser: Browser, client_id: str) -> None:
        self.browser = browser
        self.client_id = client_id

    def at(self, browser: Browser) -> "Visitor":
        """Give the same session, seen through another front-end."""
        return Visitor(browser, self.client_id)

    async def ask(self, channel: str, **members: Any) -> Reply:
        """Send one message of this client; give its reply."""
        return await self.browser.ask(channel, clientId=self.client_id, **members)

    async def connect(self, **members: Any) -> list[Reply]:
        """Connect; give the reply and the messages."""
        message = {"channel": "/meta/connect", "clientId": self.client_id, "connectionType": POLLING, **members}
        return await self.browser.post(message)

    async def hold(self, backend: Backend, front_end: str | None = None) -> "asyncio.Task[list[Reply]]":
        """Begin a connect; give it when a front-end holds the client for it and no longer for the one before."""
        await until_held(backend, self.client_id, "")
        connecting = asyncio.create_task(self.connect())
        await until_held(backend, self.client_id, front_end)
        return connecting

    async def subscribe(self, *channels: str) -> None:
        """Subscribe."""
        reply = await self.ask("/meta/subscribe", subscription=list(channels))
        assert reply["successful"], reply

    async def data(self, **members: Any) -> list[Any]:
        """Connect; give the data of the messages."""
        return [message["data"] for message in (await self.connect(**members))[1:]]


class Socket:
    """A WebSocket on which one sends by hand."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, *messages: Mapping[str, Any]) -> None:
        """Send messages in one frame."""
        await self.connection.send(json.dumps(messages))

    async def receive(self) -> list[Reply]:
        """Wait for the next frame."""
        async with asyncio.timeout(TIMEOUT):
            return read(await self.connection.recv())

    async def ask(self, channel: str, **members: Any) -> Reply:
        """Send one message and wait for one frame: its reply."""
        await self.send({"channel": channel, **members})
        return (await self.receive())[0]

    async def handshake(self, **members: Any) -> str:
        """Begin a session and make its first connect."""
        kinds = {"version": "1.0", "supportedConnectionTypes": ["websocket"]}
        client_id: str = (await self.ask("/meta/handshake", **kinds | members))["clientId"]
        reply = await self.ask("/meta/connect", clientId=client_id, connectionType="websocket")
        assert reply["successful"], reply
        return client_id

    async def hold(self, backend: Backend, client_id: str, **members: Any) -> None:
        """Send a connect; it is held for it, and no longer for the one before, when this returns."""
        await until_held(backend, client_id, "")
        await self.send({"channel": "/meta/connect", "connectionType": "websocket", "clientId": client_id, **members})
        await until_held(backend, client_id)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Socket]:
    """Open a WebSocket."""
    async with connect(url.replace("http:", "ws:"), **options) as connection:
        yield Socket(connection)
