"""The examples of docs/bayeux.md do what the page says."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.bayeux.site import Browser, served, until_held
from tests.sdk.servers import Server

from pixied_client import Backend
from pixied_client.bayeux import Bayeux

PAGE = Path(__file__).parents[2] / "docs" / "bayeux.md"
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL))


def example(name: str, server: Server, **given: Any) -> dict[str, Any]:
    """Run an example; give its names."""
    names: dict[str, Any] = dict(given)
    exec(compile(EXAMPLES[name].replace("127.0.0.1:50051", server.address), f"{PAGE}:{name}", "exec"), names)  # noqa: S102
    return names


@asynccontextmanager
async def visited(application: Any, path: str = "/bayeux") -> AsyncIterator[Browser]:
    """Serve an application, and give what asks it."""
    async with served(application) as place, Browser(f"http://{place}{path}") as browser:
        yield browser


async def test_starlette(server: Server) -> None:
    """Mounted in Starlette it serves, though nobody tells it that the application starts and stops."""
    names = example("starlette", server)
    async with visited(names["app"], "/bayeux/") as browser:
        visitor = await browser.handshake()
        await visitor.subscribe("/mounted")
        await browser.ask("/mounted", data=1)
        assert await visitor.data() == [1]


async def test_django(server: Server) -> None:
    """Beside another application it serves its own path, and that application all others."""

    async def other(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body"})

    names = example("django", server, application=other)
    async with visited(names["application"]) as browser:
        await browser.handshake()
        elsewhere = browser.url.replace("/bayeux", "/bayeuxes")
        assert (await browser.http.get(elsewhere)).status_code == 418


async def test_hooks(server: Server) -> None:
    """Hooks decide who gets a session, with what timing, and what it may subscribe to and publish."""
    names = example("hooks", server)
    async with visited(names["bayeux"]) as browser:
        kinds = {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}
        denied = await browser.ask("/meta/handshake", **kinds)
        assert (denied["error"], denied["advice"]["reconnect"]) == ("403::Log in first", "none")
        visitor = await browser.handshake(ext={"token": "token-of-ann"})
        (reply,) = await visitor.connect(advice={"timeout": 0})
        assert reply["advice"]["timeout"] == 20_000
        await visitor.subscribe("/private/ann/inbox")
        refused = await visitor.ask("/meta/subscribe", subscription=["/public/a", "/private/bob/inbox"])
        assert refused["error"] == "403:/private/bob/inbox:Subscription denied"
        assert (await visitor.ask("/public/a", data="hello"))["successful"]
        assert (await visitor.ask("/public/a", data="swearword"))["error"] == "403:/public/a:Publish denied"
        assert (await browser.ask("/public/a", data="hello"))["error"] == "403:/public/a:Publish denied"


async def test_services(server: Server) -> None:
    """A service answers the one client, subscribes it, publishes and delivers."""
    names = example("services", server)
    async with visited(names["bayeux"]) as browser:
        visitor, bystander = await browser.handshake(), await browser.handshake()
        assert (await visitor.ask("/service/echo", data=[1]))["successful"]
        assert await visitor.data() == [{"you said": [1]}]
        await visitor.ask("/service/rooms/blue", data="ann")
        came = [(message["channel"], message["data"]) for message in (await visitor.connect())[1:]]
        assert came == [("/rooms/blue", {"entered": "ann"}), ("/service/welcome", {"room": "blue"})]
        assert await bystander.data(advice={"timeout": 0}) == []


async def test_extensions(server: Server) -> None:
    """An extension refuses what comes in and changes what goes out; CometD's tell the time."""
    names = example("extensions", server)
    async with visited(names["bayeux"]) as browser:
        visitor = await browser.handshake()
        await visitor.subscribe("/signed")
        assert (await browser.ask("/signed", data=1))["error"] == "403:/signed:Signature missing"
        assert (await browser.ask("/signed", data=2, ext={"signature": "yes"}))["successful"]
        reply, signed = await visitor.connect(ext={"timesync": {"tc": 5, "l": 0, "o": 0}})
        assert signed.pop("timestamp").endswith("GMT")
        assert signed == {"channel": "/signed", "data": 2, "id": signed["id"]}
        assert reply["ext"]["timesync"]["tc"] == 5
        assert set(reply["ext"]["timesync"]) == {"tc", "ts", "p", "a"}


async def test_events(server: Server, backend: Backend) -> None:
    """Events are announced, and what is delivered meanwhile can come with the handshake's reply."""
    names = example("events", server)
    async with visited(names["bayeux"]) as browser:
        kinds = {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}
        reply, news = await browser.post({"channel": "/meta/handshake", **kinds})
        assert news == {"channel": "/service/news", "data": {"motd": "hello"}}
        await until_held(backend, reply["clientId"], "")
        await browser.ask("/meta/subscribe", clientId=reply["clientId"], subscription=["/a", "/b"])
        await browser.ask("/meta/disconnect", clientId=reply["clientId"])
        assert names["log"] == ["handshake", "subscribe ['/a', '/b']", "disconnect"]


def test_every_example_is_tested() -> None:
    """There is a test of the same name for each example of the page."""
    assert {f"test_{name}" for name in EXAMPLES} <= set(globals())


async def test_what_does_not_exist_is_refused_where_it_is_named() -> None:
    """A mistake in a name is an error at once, not silence later."""
    bayeux = Bayeux()
    with pytest.raises(ValueError, match="no event conect"):
        bayeux.on("conect")
    with pytest.raises(ValueError, match="no service"):
        bayeux.service("/echo")
