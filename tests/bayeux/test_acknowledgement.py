"""CometD's acknowledged messages: a message is confirmed only when the client confirmed it, on whichever front-end."""

from typing import Any

import pytest
from tests.bayeux.site import POLLING, Browser, Reply, Visitor, opened, served
from tests.sdk.servers import Server, proxied

from pixied_client import Backend
from pixied_client.bayeux import Bayeux, BayeuxMessage, Request, Session, Timing

ACK = {"ext": {"ack": True}}
NOW = {"advice": {"timeout": 0}}


async def _connect(visitor: Visitor, batch: int, **members: Any) -> tuple[int, list[Any]]:
    """Connect and confirm a batch; give the id and the data of the next."""
    reply, *messages = await visitor.connect(ext={"ack": batch}, **members)
    assert reply["successful"], reply
    return reply["ext"]["ack"], [message["data"] for message in messages]


async def _subscribed(browser: Browser, channel: str) -> Visitor:
    visitor = await browser.handshake(**ACK)
    await visitor.subscribe(channel)
    return visitor


async def test_the_extension_is_agreed_upon(browser: Browser) -> None:
    """The reply to a handshake that asks for it says that it is there; to one that does not it is silent."""
    kinds = {"version": "1.0", "supportedConnectionTypes": [POLLING]}
    assert (await browser.ask("/meta/handshake", **kinds, **ACK))["ext"] == {"ack": True}
    assert "ext" not in await browser.ask("/meta/handshake", **kinds)


async def test_what_is_not_confirmed_comes_again(browser: Browser) -> None:
    """A client that saw no reply sends the batch before, and gets all since, in order; what it confirmed is gone."""
    visitor = await _subscribed(browser, "/again")
    await browser.ask("/again", data=1)
    first, data = await _connect(visitor, 0)
    assert data == [1]
    await browser.ask("/again", data=2)
    assert (await _connect(visitor, 0))[1] == [1, 2]
    second, data = await _connect(visitor, first)
    assert data == [2]
    assert await _connect(visitor, second, **NOW) == (second, [])


async def test_a_batch_is_confirmed_at_another_front_end(browser: Browser, other_browser: Browser) -> None:
    """The id of a batch means the same everywhere: it confirms exactly what it came with, wherever it is sent."""
    visitor = await _subscribed(browser, "/roams")
    elsewhere = visitor.at(other_browser)
    batch = 0
    for number in range(6):
        await browser.post({"channel": "/roams", "data": 2 * number}, {"channel": "/roams", "data": 2 * number + 1})
        here = (visitor, elsewhere)[number % 2]
        batch, data = await _connect(here, batch)
        assert data == [2 * number, 2 * number + 1]


async def test_an_old_confirmation_takes_nothing_back(browser: Browser) -> None:
    """A batch from before, which comes late, confirms nothing more and brings nothing again."""
    visitor = await _subscribed(browser, "/late")
    batches = [0]
    for number in range(3):
        await browser.ask("/late", data=number)
        batches.append((await _connect(visitor, batches[-1]))[0])
    assert (await _connect(visitor, batches[-1], **NOW))[1] == []
    assert (await _connect(visitor, batches[1], **NOW))[1] == []


@pytest.mark.parametrize("batch", [1 << 52, 1 << 60, 1 << 64, 10**400])
async def test_a_batch_that_nobody_sent_confirms_nothing(browser: Browser, batch: int) -> None:
    """It is refused, and the messages stay."""
    visitor = await _subscribed(browser, "/forged")
    await browser.ask("/forged", data=1)
    (reply,) = await visitor.connect(ext={"ack": batch})
    assert (reply["error"], reply["advice"]["reconnect"]) == ("400:ext.ack:Unknown batch", "handshake")
    assert (await _connect(visitor, 0))[1] == [1]


@pytest.mark.parametrize("batch", ["1", True, None, [1], -5, 1.5, {}])
async def test_what_is_no_number_confirms_nothing(browser: Browser, batch: object) -> None:
    """Whatever stands in its place, the connect is served."""
    visitor = await _subscribed(browser, f"/odd{abs(hash(str(batch)))}")
    reply: Reply = (await visitor.connect(ext={"ack": batch}, **NOW))[0]
    assert reply["successful"]


async def test_one_browsers_number_ends_nobody_elses_session(server: Server) -> None:
    """After a break the front-end goes on with all sessions, whatever one of them has sent."""
    async with proxied(server) as proxy:
        bayeux = Bayeux(proxy.address, timing=Timing(timeout=0.2))
        async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
            visitor = await _subscribed(browser, "/shared")
            forger = await _subscribed(browser, "/forged")
            await forger.connect(ext={"ack": 1 << 64}, **NOW)
            await proxy.cut()
            await browser.ask("/shared", data=1)
            assert (await _connect(visitor, 0))[1] == [1]


async def test_on_a_websocket_messages_come_with_the_replies_to_connects_alone(url: str, browser: Browser) -> None:
    """A batch is what one reply brought, so nothing may come beside it."""
    async with opened(url) as socket:
        client_id = await socket.handshake(**ACK)
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/batch")
        connect = {"channel": "/meta/connect", "clientId": client_id, "connectionType": "websocket"}
        batch = 0
        for number in range(3):
            await socket.send({**connect, "ext": {"ack": batch}})
            await browser.ask("/batch", data=number)
            reply, message = await socket.receive()
            assert message["data"] == number
            assert reply["ext"]["ack"] != batch
            batch = reply["ext"]["ack"]


async def test_pixied_counts_what_the_client_has_not_confirmed(browser: Browser, backend: Backend) -> None:
    """Operators see it as pending until the client's next connect."""
    visitor = await _subscribed(browser, "/pending")
    await browser.ask("/pending", data=1)
    batch, _ = await _connect(visitor, 0)
    assert (await backend.get_client(visitor.client_id)).pending == 1
    await _connect(visitor, batch, **NOW)
    assert (await backend.get_client(visitor.client_id)).pending == 0


async def test_messages_with_the_handshake_are_the_first_batch(server: Server) -> None:
    """What came with a handshake's reply is confirmed by the first connect."""
    bayeux = Bayeux(server.address, deliver_during_handshake=True)

    @bayeux.on("handshake")
    async def greet(session: Session, message: BayeuxMessage, request: Request) -> None:
        del message, request
        await session.deliver("/service/news", "hello")

    async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
        kinds = {"version": "1.0", "supportedConnectionTypes": [POLLING]}
        reply, news = await browser.post({"channel": "/meta/handshake", **kinds, **ACK})
        assert news["data"] == "hello"
        assert reply["ext"]["ack"]["enabled"] is True
        visitor = Visitor(browser, reply["clientId"])
        assert (await _connect(visitor, 0, **NOW))[1] == ["hello"]
        assert (await _connect(visitor, reply["ext"]["ack"]["batch"], **NOW))[1] == []
