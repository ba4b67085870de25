"""Who may do what: the hooks that an application decides by, over HTTP and over a WebSocket."""

import asyncio
import logging
from typing import Any

import pytest
from tests.bayeux.site import KINDS, Ask, Browser

from pixied_client import Backend, EventKind
from pixied_client.bayeux import Bayeux, BayeuxMessage, Denied, Handshake, Request, Session


async def test_a_subscription_is_asked_about(bayeux: Bayeux, ask: Ask, transport: str, backend: Backend) -> None:
    """Each name of it by itself, in order, services and patterns too, with the session and the request."""
    asked: list[tuple[Session, str, Request]] = []

    @bayeux.can_subscribe
    async def may(session: Session, channel: str, request: Request) -> bool:
        asked.append((session, channel, request))
        return True

    client_id = (await ask("/meta/handshake", **KINDS))["clientId"]
    names = ["/a", "/b/**", "/service/c"]
    assert (await ask("/meta/subscribe", clientId=client_id, subscription=names))["successful"]
    assert [(session, channel) for session, channel, _ in asked] == [(bayeux.session(client_id), one) for one in names]
    assert {(request.transport, request.path) for _, _, request in asked} == {(transport, "/bayeux")}
    assert await backend.subscribed_to(client_id) == ["/a", "/b/**"]


async def test_a_refused_subscription_subscribes_to_nothing(bayeux: Bayeux, ask: Ask, backend: Backend) -> None:
    """Of several names one that is refused is enough, wherever it stands; the reply says which."""

    @bayeux.can_subscribe
    async def may(session: Session, channel: str, request: Request) -> bool:
        del session, request
        return channel != "/private"

    client_id = (await ask("/meta/handshake", **KINDS))["clientId"]
    for names in ("/private", ["/private", "/a"], ["/a", "/private"]):
        reply = await ask("/meta/subscribe", clientId=client_id, subscription=names)
        assert (reply["successful"], reply["error"]) == (False, "403:/private:Subscription denied")
        assert reply["subscription"] == names
    assert await backend.subscribed_to(client_id) == []
    assert (await ask("/meta/subscribe", clientId=client_id, subscription="/a"))["successful"]


async def test_a_publish_is_asked_about(bayeux: Bayeux, ask: Ask, transport: str) -> None:
    """With its session, if it has one, its message and its request; a message to a service too."""
    asked: list[tuple[Session | None, BayeuxMessage, Request]] = []

    @bayeux.can_publish
    async def may(session: Session | None, message: BayeuxMessage, request: Request) -> bool:
        asked.append((session, message, request))
        return True

    client_id = (await ask("/meta/handshake", **KINDS))["clientId"]
    for channel, sender in (("/a", {"clientId": client_id}), ("/b", {}), ("/service/c", {"clientId": client_id})):
        assert (await ask(channel, data=channel, **sender))["successful"]
    session = bayeux.session(client_id)
    assert [(one, message.channel, message.data) for one, message, _ in asked] == [
        (session, "/a", "/a"),
        (None, "/b", "/b"),
        (session, "/service/c", "/service/c"),
    ]
    assert {(request.transport, request.path) for _, _, request in asked} == {(transport, "/bayeux")}


async def test_a_refused_publish_reaches_nobody(bayeux: Bayeux, ask: Ask, backend: Backend) -> None:
    """Neither subscribers nor a service; what is allowed does."""
    served: list[object] = []

    @bayeux.can_publish
    async def may(session: Session | None, message: BayeuxMessage, request: Request) -> bool:
        del session, request
        return message.data != "rude"

    @bayeux.service("/service/a")
    async def serve(session: Session, message: BayeuxMessage) -> None:
        del session
        served.append(message.data)

    subscriber = (await backend.create_client()).client_id
    await backend.subscribe(subscriber, "/a")
    client_id = (await ask("/meta/handshake", **KINDS))["clientId"]
    for channel in ("/a", "/service/a"):
        reply = await ask(channel, clientId=client_id, data="rude")
        assert (reply["successful"], reply["error"]) == (False, f"403:{channel}:Publish denied")
        assert (await ask(channel, clientId=client_id, data="polite"))["successful"]
    assert (await ask("/a", data="rude"))["error"] == "403:/a:Publish denied"
    assert [message.value for message in (await backend.dequeue_for(subscriber)).messages] == ["polite"]
    assert served == ["polite"]


async def test_each_publish_of_a_request_is_judged_alone(bayeux: Bayeux, browser: Browser, backend: Backend) -> None:
    """Those that are allowed are published, in their order, however long it takes to decide on each."""

    @bayeux.can_publish
    async def may(session: Session | None, message: BayeuxMessage, request: Request) -> bool:
        del session, request
        for _ in range(6 - message.data):  # the later, the sooner: were they judged at once, the last would be first
            await asyncio.sleep(0)
        return bool(message.data % 2)

    subscriber = (await backend.create_client()).client_id
    await backend.subscribe(subscriber, "/a")
    replies = await browser.post(*({"channel": "/a", "data": number} for number in range(6)))
    assert [reply["successful"] for reply in replies] == [False, True] * 3
    assert [message.value for message in (await backend.dequeue_for(subscriber)).messages] == [1, 3, 5]


async def test_a_refused_handshake_makes_no_session(bayeux: Bayeux, ask: Ask, backend: Backend) -> None:
    """Pixied is not even asked for one."""

    @bayeux.can_handshake
    async def may(handshake: Handshake) -> bool:
        return "token" in handshake.message.ext

    async with backend.watch([EventKind.CLIENT_CREATED]) as created:
        await created.ready()
        refused = await ask("/meta/handshake", **KINDS)
        assert (refused["error"], refused["advice"]["reconnect"]) == ("403::Handshake denied", "none")
        assert "clientId" not in refused
        allowed = await ask("/meta/handshake", **KINDS, ext={"token": "7"})
        assert (await anext(created)).client_id == allowed["clientId"]


async def test_a_handshake_is_given_attributes_and_times_of_its_own(bayeux: Bayeux, ask: Ask, backend: Backend) -> None:
    """They stay with the session, so that every front-end knows them; its client is advised accordingly."""

    @bayeux.can_handshake
    async def may(handshake: Handshake) -> bool:
        handshake.attributes["user"] = "ann"
        handshake.timeout, handshake.interval = 7, 3
        return True

    reply = await ask("/meta/handshake", **KINDS)
    assert (reply["advice"]["timeout"], reply["advice"]["interval"]) == (7_000, 3_000)
    assert (await bayeux.session(reply["clientId"]).attributes())["user"] == "ann"
    # Its connects may come later by as much as it was told to wait between them.
    assert (await backend.get_client(reply["clientId"])).session_timeout.total_seconds() == 3 + 10


def refused_by(bayeux: Bayeux, error: Exception) -> None:
    """Let each of the three hooks raise this."""

    @bayeux.can_handshake
    async def handshake(handshake: Handshake) -> bool:
        if "token" in handshake.message.ext:
            return True
        raise error

    @bayeux.can_subscribe
    async def subscribe(*_: object) -> bool:
        raise error

    @bayeux.can_publish
    async def publish(*_: object) -> bool:
        raise error


@pytest.mark.parametrize(
    ("error", "shown"),
    [(Denied("Not on Sundays", "/a"), "403:/a:Not on Sundays"), (RuntimeError("a secret"), "500::Internal error")],
    ids=["denied", "defect"],
)
async def test_a_hook_that_raises_refuses(
    bayeux: Bayeux, ask: Ask, backend: Backend, caplog: pytest.LogCaptureFixture, error: Exception, shown: str
) -> None:
    """In its own words if it raises Denied; a defect is logged, without the message, and not shown. Nothing is done."""
    refused_by(bayeux, error)
    subscriber = (await backend.create_client()).client_id
    await backend.subscribe(subscriber, "/a")
    client_id = (await ask("/meta/handshake", **KINDS, ext={"token": "7"}))["clientId"]
    messages: list[dict[str, Any]] = [
        {"channel": "/meta/handshake", **KINDS},
        {"channel": "/meta/subscribe", "clientId": client_id, "subscription": "/a"},
        {"channel": "/a", "clientId": client_id, "data": "private"},
        {"channel": "/a", "data": "private"},
    ]
    with caplog.at_level(logging.ERROR, "pixied_client.bayeux"):
        for message in messages:
            reply = await ask(message.pop("channel"), **message)
            assert (reply["successful"], reply["error"]) == (False, shown)
    assert await backend.subscribed_to(client_id) == []
    assert (await backend.get_client(subscriber)).pending == 0
    assert ("RuntimeError: a secret" in caplog.text) == shown.startswith("500")
    assert "private" not in caplog.text
    assert client_id[:8] not in caplog.text


async def test_a_service_that_fails_costs_one_message(
    bayeux: Bayeux, ask: Ask, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client is answered and gets nothing else; the next message is served."""

    @bayeux.service("/service/a")
    async def serve(session: Session, message: BayeuxMessage) -> object:
        del session
        if message.data is None:
            raise RuntimeError("a secret")
        return message.data

    client_id = (await ask("/meta/handshake", **KINDS))["clientId"]
    with caplog.at_level(logging.ERROR, "pixied_client.bayeux"):
        failed = await ask("/service/a", clientId=client_id, data=None)
    assert (failed["successful"], failed["error"]) == (False, "500::Internal error")
    assert "a secret" in caplog.text
    assert (await ask("/service/a", clientId=client_id, data=2))["successful"]
    assert [message.value for message in (await backend.dequeue_for(client_id)).messages] == [2]
