"""Functions that an application has called on what happens at its front-end, over HTTP and over a WebSocket."""

import asyncio
import logging
from typing import Any

import pytest
from tests.bayeux.site import KINDS, Ask, Browser
from tests.sdk.servers import TIMEOUT

from pixied_client import Backend, ClientUnknown
from pixied_client.bayeux import Bayeux, BayeuxMessage, Handshake, Request, Session

EVENTS = ("handshake", "subscribe", "unsubscribe", "publish", "disconnect")


def members(event: str, client_id: str) -> dict[str, Any]:
    """The message of a client that brings an event about."""
    match event:
        case "handshake":
            return {"channel": "/meta/handshake", **KINDS}
        case "subscribe" | "unsubscribe":
            return {"channel": f"/meta/{event}", "clientId": client_id, "subscription": "/a"}
        case "publish":
            return {"channel": "/a", "clientId": client_id, "data": 1}
    return {"channel": f"/meta/{event}", "clientId": client_id}


def note_all(bayeux: Bayeux) -> list[tuple[object, ...]]:
    """Listen to everything. Gives a list that grows: the event's name and its arguments."""
    calls: list[tuple[object, ...]] = []

    def listen(event: str) -> None:
        @bayeux.on(event)
        async def note(*about: object) -> None:
            calls.append((event, *about))

    for event in EVENTS:
        listen(event)
    return calls


async def test_listeners_are_called_with_the_session_the_message_and_the_request(
    bayeux: Bayeux, ask: Ask, transport: str
) -> None:
    """Once each, in the order in which they happen; a disconnect has no message."""
    calls = note_all(bayeux)
    client_id = (await ask("/meta/handshake", **KINDS, ext={"token": "7"}))["clientId"]
    await ask("/meta/subscribe", clientId=client_id, subscription=["/a", "/b/*"])
    await ask("/a", clientId=client_id, data={"n": 1})
    await ask("/meta/unsubscribe", clientId=client_id, subscription=["/b/*"])
    await ask("/meta/disconnect", clientId=client_id)
    assert [(event, session) for event, session, *_ in calls] == [
        (event, bayeux.session(client_id))
        for event in ("handshake", "subscribe", "publish", "unsubscribe", "disconnect")
    ]
    messages = [about[0] for _, _, *about, _ in calls[:-1]]
    assert all(isinstance(message, BayeuxMessage) for message in messages)
    handshake, subscribe, publish, unsubscribe = messages
    assert handshake.ext == {"token": "7"}  # type: ignore[attr-defined]
    assert subscribe["subscription"] == ["/a", "/b/*"]  # type: ignore[index]
    assert (publish.channel, publish.data) == ("/a", {"n": 1})  # type: ignore[attr-defined]
    assert unsubscribe["subscription"] == ["/b/*"]  # type: ignore[index]
    assert len(calls[-1]) == 3
    requests = [about[-1] for about in calls]
    assert all(isinstance(request, Request) for request in requests)
    assert {(request.transport, request.path) for request in requests} == {(transport, "/bayeux")}  # type: ignore[attr-defined]


async def has_happened(event: str, backend: Backend, client_id: str, subscriber: str) -> bool:
    """Whether pixied knows of an event."""
    match event:
        case "subscribe":
            return await backend.subscribed_to(client_id) == ["/a"]
        case "unsubscribe":
            return await backend.subscribed_to(client_id) == []
        case "publish":
            return (await backend.get_client(subscriber)).pending == 1
        case "disconnect":
            with pytest.raises(ClientUnknown):
                await backend.get_client(client_id)
            return True
    return (await backend.get_client(client_id)).client_id == client_id


@pytest.mark.parametrize("event", EVENTS)
async def test_a_listener_is_called_after_the_event_and_before_the_answer(
    bayeux: Bayeux, ask: Ask, browser: Browser, backend: Backend, event: str
) -> None:
    """What a listener does first has been done when the client goes on."""
    called: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
    go_on = asyncio.Event()

    @bayeux.on(event)
    async def listen(session: Session, *_: object) -> None:
        called.set_result(session)
        await go_on.wait()

    client_id = "" if event == "handshake" else (await ask("/meta/handshake", **KINDS))["clientId"]
    if event == "unsubscribe":
        await ask("/meta/subscribe", clientId=client_id, subscription="/a")
    subscriber = (await backend.create_client()).client_id
    await backend.subscribe(subscriber, "/a")
    message = members(event, client_id)
    asking = asyncio.ensure_future(ask(message.pop("channel"), **message))
    async with asyncio.timeout(TIMEOUT):
        session = await called
    assert await has_happened(event, backend, session.client_id, subscriber)
    await browser.ask("/meta/connect")  # refused at once: an answer that was sent before the call would be here by now
    assert not asking.done()
    go_on.set()
    reply = await asking
    assert reply["successful"]
    assert reply.get("clientId", session.client_id) == session.client_id


async def test_a_publish_without_a_client_id_is_nobodys(bayeux: Bayeux, ask: Ask) -> None:
    """Its listeners get None for the session."""
    calls = note_all(bayeux)
    assert (await ask("/a", data=1))["successful"]
    ((event, session, message, _),) = calls
    assert (event, session) == ("publish", None)
    assert message.data == 1  # type: ignore[attr-defined]


async def test_a_message_to_a_service_is_no_publish(bayeux: Bayeux, ask: Ask) -> None:
    """It reaches the service, and listeners to publishes are not called: nobody else gets it."""
    served: list[object] = []

    @bayeux.service("/service/a")
    async def serve(session: Session, message: BayeuxMessage) -> None:
        del session
        served.append(message.data)

    client_id = (await ask("/meta/handshake", **KINDS))["clientId"]
    calls = note_all(bayeux)
    await ask("/service/a", clientId=client_id, data=1)
    assert (served, calls) == ([1], [])


async def test_listeners_are_not_called_for_what_is_refused(bayeux: Bayeux, ask: Ask) -> None:
    """Neither what a hook refuses, nor what pixied refuses, nor what is no message."""

    @bayeux.can_handshake
    async def nobody(handshake: Handshake) -> bool:
        return "token" in handshake.message.ext

    @bayeux.can_subscribe
    async def not_there(session: Session, channel: str, request: Request) -> bool:
        del session, request
        return channel != "/private"

    @bayeux.can_publish
    async def not_that(session: Session | None, message: BayeuxMessage, request: Request) -> bool:
        del session, request
        return message.channel != "/private"

    client_id = (await ask("/meta/handshake", **KINDS, ext={"token": "7"}))["clientId"]
    calls = note_all(bayeux)
    refused = [
        await ask("/meta/handshake", **KINDS),
        await ask("/meta/subscribe", clientId=client_id, subscription=["/a", "/private"]),
        await ask("/meta/subscribe", clientId=client_id, subscription="no channel"),
        await ask("/private", clientId=client_id, data=1),
        await ask("/private", data=1),
        await ask("/a", clientId=client_id),
        await ask("/a//b", data=1),
    ]
    for event in EVENTS[1:]:
        message = members(event, "nobody")
        refused.append(await ask(message.pop("channel"), **message))
    assert [reply["successful"] for reply in refused] == [False] * len(refused)
    assert calls == []


@pytest.mark.parametrize("event", EVENTS)
async def test_all_listeners_of_an_event_are_called(bayeux: Bayeux, browser: Browser, event: str) -> None:
    """One after the other, in the order in which they were named."""
    client_id = "" if event == "handshake" else (await browser.ask("/meta/handshake", **KINDS))["clientId"]
    steps: list[str] = []

    @bayeux.on(event)
    async def first(*_: object) -> None:
        steps.append("first begins")
        await asyncio.sleep(0)
        steps.append("first ends")

    @bayeux.on(event)
    async def second(*_: object) -> None:
        steps.append("second")

    message = members(event, client_id)
    assert (await browser.ask(message.pop("channel"), **message))["successful"]
    assert steps == ["first begins", "first ends", "second"]


@pytest.mark.parametrize("event", EVENTS)
async def test_a_listener_that_fails_costs_its_client_an_answer_and_nobody_else(
    bayeux: Bayeux, browser: Browser, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    """Its defect is logged and not shown, and the next message of the same request is served."""
    client_id, other = [(await browser.ask("/meta/handshake", **KINDS))["clientId"] for _ in range(2)]
    connect = {
        "channel": "/meta/connect",
        "clientId": other,
        "connectionType": "long-polling",
        "advice": {"timeout": 0},
    }

    @bayeux.on(event)
    async def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    with caplog.at_level(logging.ERROR, "pixied_client.bayeux"):
        failed, fine = await browser.post(members(event, client_id), connect)
    assert (failed["successful"], failed["error"]) == (False, "500::Internal error")
    assert fine["successful"] is (event != "handshake")  # nothing else is carried out beside one
    assert "a defect" in caplog.text


async def test_publishes_of_one_request_wait_for_their_listeners(
    bayeux: Bayeux, browser: Browser, backend: Backend
) -> None:
    """With a listener they are carried out one by one, in their order; without one they are gathered."""
    subscriber = (await backend.create_client()).client_id
    await backend.subscribe(subscriber, "/a")
    published: list[object] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    @bayeux.on("publish")
    async def listen(session: Session | None, message: BayeuxMessage, request: Request) -> None:
        del session, request
        published.append(message.data)
        begun.set()
        await go_on.wait()

    posting = asyncio.create_task(browser.post(*({"channel": "/a", "data": number} for number in range(3))))
    async with asyncio.timeout(TIMEOUT):
        await begun.wait()
    await browser.ask("/meta/handshake", **KINDS)  # what is under way beside it has come as far by then
    assert published == [0]
    assert (await backend.get_client(subscriber)).pending == 1
    go_on.set()
    assert [reply["successful"] for reply in await posting] == [True] * 3
    assert published == [0, 1, 2]
    assert [message.value for message in (await backend.dequeue_for(subscriber)).messages] == [0, 1, 2]
