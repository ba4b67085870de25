"""What a front-end offers, as its operator sets it: transports, the browser's cookie, publishers' own messages."""

from typing import Any

import httpx
import pytest
from tests.bayeux.site import KINDS, Browser, Socket, opened, served
from tests.sdk.servers import Server
from websockets.exceptions import InvalidStatus

from pixied_client.bayeux import Bayeux, BayeuxMessage, BrowserCookie, Request, Session
from pixied_client.bayeux.transports import ALL_TRANSPORTS

MESSAGE = '{"channel":"/a","data":1}'


async def _post(browser: Browser) -> httpx.Response:
    return await browser.http.post(browser.url, json={"channel": "/a", "data": 1})


async def _script(browser: Browser) -> httpx.Response:
    return await browser.http.get(browser.url, params={"message": MESSAGE})


async def _stream(browser: Browser) -> httpx.Response:
    return await browser.http.get(f"{browser.url}/nobody", headers={"accept": "text/event-stream"})


WAYS = {"long-polling": (_post, 200), "callback-polling": (_script, 200), "eventsource": (_stream, 404)}
"""How each transport is used, and how that is answered if it is on."""


@pytest.mark.parametrize("off", ALL_TRANSPORTS)
async def test_a_transport_that_is_off_is_neither_named_nor_served(server: Server, off: str) -> None:
    """The others are; a session that was begun by one of them can't be taken up by it."""
    on = [name for name in ALL_TRANSPORTS if name != off]
    async with (
        served(Bayeux(server.address, transports=on)) as place,
        Browser(f"http://{place}/") as browser,
    ):
        reply = await browser.ask("/meta/handshake", **KINDS)
        assert reply["supportedConnectionTypes"] == on
        connect = await browser.ask("/meta/connect", clientId=reply["clientId"], connectionType=off)
        assert connect["error"] == f"301:{off}:Connection types not supported"
        refused = await browser.ask("/meta/handshake", version="1.0", supportedConnectionTypes=[off])
        assert (refused["error"], refused["supportedConnectionTypes"]) == (
            f"301:{off}:Connection types not supported",
            on,
        )
        for name, (way, status) in WAYS.items():
            response = await way(browser)
            # Requests by POST are those of three transports.
            assert response.status_code == (403 if name == off != "long-polling" else status)
        if off == "websocket":
            with pytest.raises(InvalidStatus):
                async with opened(browser.url):
                    pass
        else:
            async with opened(browser.url) as socket:
                await socket.handshake()


async def test_websockets_alone(server: Server) -> None:
    """No request is taken, in whatever form, but for the one that opens a socket."""
    async with (
        served(Bayeux(server.address, transports=["websocket"])) as place,
        Browser(f"http://{place}/") as browser,
    ):
        for name, (way, _) in WAYS.items():
            response = await way(browser)
            assert (response.status_code, response.json()[0]["error"]) == (403, f"403::{name} is switched off")
        async with opened(browser.url) as socket:
            await socket.handshake()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"transports": ["pigeon", "websocket"]}, "no transport pigeon"),
        ({"transports": []}, "no transport is on"),
        ({"transports": ["callback-polling"], "origins": ["https://a.example"]}, "no transport is on"),
    ],
)
def test_a_front_end_without_transports_is_refused(settings: dict[str, Any], error: str) -> None:
    """Where it is made, and not by the first browser."""
    with pytest.raises(ValueError, match=error):
        Bayeux(**settings)


COOKIES = [
    (BrowserCookie(), "BAYEUX_BROWSER=*; Path=/; SameSite=Lax; HttpOnly"),
    (BrowserCookie(name="b", path="/x", max_age=60, http_only=False, same_site=""), "b=*; Path=/x; Max-Age=60"),
    (
        BrowserCookie(domain="example.org", secure=True, same_site="None", partitioned=True),
        "BAYEUX_BROWSER=*; Domain=example.org; Path=/; SameSite=None; HttpOnly; Secure; Partitioned",
    ),
    (BrowserCookie(path="", max_age=0), "BAYEUX_BROWSER=*; Max-Age=0; SameSite=Lax; HttpOnly"),
]


@pytest.mark.parametrize(("cookie", "written"), COOKIES)
async def test_a_browser_gets_its_cookie_as_it_is_set(server: Server, cookie: BrowserCookie, written: str) -> None:
    """And is known by it: with the second handshake it gets no other."""
    async with served(Bayeux(server.address, cookie=cookie)) as place, Browser(f"http://{place}/") as browser:
        handshake = {"channel": "/meta/handshake", **KINDS}
        header = (await browser.http.post(browser.url, json=handshake)).headers["set-cookie"]
        value = header.partition("=")[2].partition(";")[0]
        assert len(value) == 32
        assert header.replace(value, "*") == written
        browser.http.cookies.clear()
        headers = {"cookie": f"{cookie.name}={value}"}
        second = await browser.http.post(browser.url, json=handshake, headers=headers)
        assert "set-cookie" not in second.headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a=b"},
        {"name": "a\r\nx"},
        {"domain": "a;b"},
        {"path": "/a\r\nset-cookie: b=c"},
        {"path": "/é"},
        {"same_site": "lax"},
        {"same_site": "None"},
        {"partitioned": True},
    ],
)
def test_a_cookie_that_browsers_would_not_take_is_refused(wrong: dict[str, Any]) -> None:
    """Nor can it break the header."""
    with pytest.raises(ValueError, match=r"."):
        BrowserCookie(**wrong)


@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_publishers_do_not_get_their_own_messages_where_that_is_set(
    server: Server,
    transport: str,
    looked_at: bool,  # noqa: FBT001
) -> None:
    """The others do; so does everybody what has no publisher, and what the application publishes."""
    bayeux = Bayeux(server.address, broadcast_to_publisher=False)
    if looked_at:  # messages that a hook sees go another way

        @bayeux.can_publish
        async def anything(session: Session | None, message: BayeuxMessage, request: Request) -> bool:
            del session, message, request
            return True

    async with served(bayeux) as place, Browser(f"http://{place}/") as browser, opened(browser.url) as socket:
        one, two = await browser.handshake(), await browser.handshake()
        await one.subscribe("/own")
        await two.subscribe("/own")
        await _publish(browser if transport == "http" else socket, one.client_id)
        await browser.ask("/own", data="nobody's")
        await bayeux.publish("/own", "the application's")
        now = {"timeout": 0}
        assert await one.data(advice=now) == ["nobody's", "the application's"]
        assert await two.data(advice=now) == [0, 1, "nobody's", "the application's"]


async def _publish(place: Browser | Socket, client_id: str) -> None:
    messages = [{"channel": "/own", "clientId": client_id, "data": number} for number in range(2)]
    if isinstance(place, Browser):
        await place.post(*messages)
    else:
        await place.send(*messages)
        await place.receive()


async def test_publishers_get_their_own_messages_by_default(browser: Browser) -> None:
    """As Bayeux has it."""
    visitor = await browser.handshake()
    await visitor.subscribe("/own")
    await visitor.ask("/own", data=1)
    assert await visitor.data(advice={"timeout": 0}) == [1]
