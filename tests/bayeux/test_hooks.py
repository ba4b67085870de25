"""Hooks, extensions and services beyond the documentation's examples."""

import logging

import pytest
from tests.bayeux.site import Ask, Browser, opened

from pixied_client import Attachment, Backend, Delivery, Gap
from pixied_client.bayeux import Bayeux, BayeuxMessage, Extension, Handshake, Request, Session

KINDS = {"version": "1.0", "supportedConnectionTypes": ["long-polling"]}


class Dropping(Extension):
    """Drops what it is told to."""

    async def incoming(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Drop `/drop/in`, fail at `/fail/in`."""
        assert request.transport in {"http", "websocket"}
        if message.channel == "/fail/in":
            raise RuntimeError("a defect")
        return None if message.channel == "/drop/in" else message

    async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Drop `/drop/out`, as a reply and as a delivery."""
        del request
        return None if message.channel == "/drop/out" else message


class Incoming(Extension):
    """Notes what comes in, and drops `/drop`."""

    def __init__(self, name: str, seen: list[tuple[str, str, object]]) -> None:
        self.name = name
        self.seen = seen

    async def incoming(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Note it."""
        del request
        self.seen.append((self.name, "in", message.channel))
        return None if message.channel == "/drop" else message


class Outgoing(Incoming):
    """Notes what goes out, replies and deliveries, and drops `/drop`."""

    incoming = Extension.incoming  # type: ignore[assignment]

    async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Note it."""
        del request
        self.seen.append((self.name, "out", message.channel if message.answers else message.data))
        return None if message.channel == "/drop" else message


class Replying(Incoming):
    """Notes replies, and drops `/drop`."""

    incoming = Extension.incoming  # type: ignore[assignment]

    async def replying(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Note it."""
        del request
        self.seen.append((self.name, "reply", message.channel))
        return None if message.channel == "/drop" else message


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (Incoming, [("outer", "in", "/a"), ("inner", "in", "/a")]),
        (Outgoing, [("inner", "out", "/a"), ("outer", "out", "/a")]),
        (Replying, [("inner", "reply", "/a"), ("outer", "reply", "/a")]),
    ],
)
async def test_extensions_have_an_order(
    bayeux: Bayeux, ask: Ask, kind: type[Incoming], seen: list[tuple[str, str, object]]
) -> None:
    """What comes in passes the first first, what goes out passes it last; a publish passes each kind of extension."""
    passed: list[tuple[str, str, object]] = []
    bayeux.add_extension(kind("outer", passed))
    bayeux.add_extension(kind("inner", passed))
    assert (await ask("/a", data=1))["successful"]
    assert passed == seen


@pytest.mark.parametrize(("kind", "first"), [(Incoming, "outer"), (Outgoing, "inner"), (Replying, "inner")])
async def test_an_extension_never_sees_what_another_has_dropped(
    bayeux: Bayeux, browser: Browser, kind: type[Incoming], first: str
) -> None:
    """Whichever way it went; what is not dropped passes all."""
    passed: list[tuple[str, str, object]] = []
    bayeux.add_extension(kind("outer", passed))
    bayeux.add_extension(kind("inner", passed))
    (reply,) = await browser.post({"channel": "/drop", "data": 1}, {"channel": "/a", "data": 1})
    assert reply["channel"] == "/a"
    assert [name for name, _, channel in passed if channel == "/drop"] == [first]


async def test_messages_pass_outgoing_extensions_alone(bayeux: Bayeux, browser: Browser) -> None:
    """The innermost first; those that are for replies do not see it."""
    passed: list[tuple[str, str, object]] = []
    bayeux.add_extension(Outgoing("outer", passed))
    bayeux.add_extension(Replying("middle", passed))
    bayeux.add_extension(Outgoing("inner", passed))
    visitor = await browser.handshake()
    await visitor.subscribe("/a")
    await bayeux.publish("/a", "hello")
    passed.clear()
    assert await visitor.data() == ["hello"]
    assert [one for one in passed if one[2] == "hello"] == [("inner", "out", "hello"), ("outer", "out", "hello")]


async def test_an_extension_may_drop_messages(bayeux: Bayeux, url: str, browser: Browser) -> None:
    """What is dropped on its way in happens nowhere and has no reply; on its way out it is only not sent."""
    bayeux.add_extension(Dropping())
    visitor = await browser.handshake()
    await visitor.subscribe("/drop/*", "/fine")
    messages = [{"channel": channel, "data": channel} for channel in ("/drop/in", "/drop/out", "/fine")]
    assert [reply["channel"] for reply in await browser.post(*messages)] == ["/fine"]
    assert await visitor.data() == ["/fine"]
    async with opened(url) as socket:
        await socket.send({"channel": "/drop/out", "data": 1})
        assert (await socket.ask("/fine", data=1))["channel"] == "/fine"


async def test_an_extension_that_fails_costs_one_message(
    bayeux: Bayeux, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered, logged, and the others are served."""
    bayeux.add_extension(Dropping())
    with caplog.at_level(logging.ERROR, "pixied_client.bayeux"):
        failed, fine = await browser.post({"channel": "/fail/in", "data": 1}, {"channel": "/fine", "data": 1})
    assert (failed["error"], fine["successful"]) == ("500::Internal error", True)
    assert "a defect" in caplog.text


async def test_a_hook_that_fails_refuses(bayeux: Bayeux, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Its defect lets nobody in, and its text is not shown."""

    @bayeux.can_handshake
    async def broken(handshake: Handshake) -> bool:
        raise RuntimeError(f"secret of {handshake.request.peer}")

    with caplog.at_level(logging.ERROR, "pixied_client.bayeux"):
        reply = await browser.ask("/meta/handshake", **KINDS)
    assert (reply["successful"], reply["error"]) == (False, "500::Internal error")
    assert "secret of 127.0.0.1" in caplog.text


async def test_a_hook_sees_the_request(bayeux: Bayeux, browser: Browser) -> None:
    """Headers, cookies and path; a cookie that is none takes no other with it."""
    seen: list[Request] = []

    @bayeux.can_handshake
    async def look(handshake: Handshake) -> bool:
        seen.append(handshake.request)
        return False

    for cookie in ('a=1; b="2"', "we[ird; b=2; c="):
        headers = {"cookie": cookie, "x-tenant": "blue"}
        response = await browser.http.post(browser.url, json={"channel": "/meta/handshake", **KINDS}, headers=headers)
        assert response.json()[0]["error"] == "403::Handshake denied"
    assert [dict(request.cookies) for request in seen] == [{"a": "1", "b": "2"}, {"b": "2", "c": ""}]
    assert seen[0].headers["x-tenant"] == "blue"
    assert (seen[0].path, seen[0].peer) == ("/bayeux", "127.0.0.1")


async def test_a_session_is_a_name(bayeux: Bayeux, browser: Browser, backend: Backend) -> None:
    """Two names of one client are equal, show no secret, and act on it wherever it is."""
    visitor = await browser.handshake()
    session, same = bayeux.session(visitor.client_id), bayeux.session(visitor.client_id)
    assert session == same
    assert len({session, same}) == 1
    assert session != visitor.client_id
    assert visitor.client_id not in repr(session)
    await session.subscribe("/one", "/two")
    await session.unsubscribe("/one")
    assert await backend.subscribed_to(visitor.client_id) == ["/two"]
    await bayeux.publish("/two", {"n": 1})
    await session.deliver("/service/private", "psst")
    assert await visitor.data() == [{"n": 1}, "psst"]


async def test_services_are_found_by_pattern(bayeux: Bayeux, browser: Browser) -> None:
    """A message goes to its own service, to its level's and to those of all levels above it."""

    def serve(channel: str) -> None:
        @bayeux.service(channel)
        async def answer(session: Session, message: BayeuxMessage) -> str:
            del session, message
            return channel

    for channel in ("/service/**", "/service/a/**", "/service/a/*", "/service/a/b", "/service/b"):
        serve(channel)
    visitor = await browser.handshake()
    await visitor.ask("/service/a/b", data=1)
    assert await visitor.data() == ["/service/a/b", "/service/a/*", "/service/a/**", "/service/**"]
    await visitor.ask("/service/c/d/e", data=1)
    assert await visitor.data() == ["/service/**"]


async def test_a_client_may_listen_to_services(browser: Browser) -> None:
    """CometD's clients subscribe to them like to other channels; nothing is published there."""
    visitor = await browser.handshake()
    await visitor.subscribe("/service/a", "/broad")
    await visitor.subscribe("/service/a")
    await browser.ask("/broad", data=1)
    assert await visitor.data() == [1]


async def test_losses_are_announced(
    bayeux: Bayeux,
    browser: Browser,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A listener is notified of a gap, the client in its reply's `ext`, and operators in the log, without its id."""
    lost: list[tuple[Session, Gap]] = []

    @bayeux.on("lost")
    async def note(session: Session, gap: Gap) -> None:
        lost.append((session, gap))

    visitor = await browser.handshake()
    held = await visitor.hold(backend)
    given = Attachment.deliver

    def deliver(self: Attachment, delivery: Delivery) -> None:
        self.lost(Gap("/cut", 3))
        given(self, delivery)

    monkeypatch.setattr(Attachment, "deliver", deliver)
    await bayeux.session(visitor.client_id).deliver("/service/x", 1)
    reply, message = await held
    assert message["data"] == 1
    assert reply["ext"]["lost"] == [{"channel": "/cut", "messages": 3}]
    assert lost == [(bayeux.session(visitor.client_id), Gap("/cut", 3))]
    assert "lost 3 messages of /cut" in caplog.text
    assert visitor.client_id[:8] not in caplog.text


async def test_losses_on_a_websocket_are_announced(
    bayeux: Bayeux, url: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener is notified of them as of those on other transports."""
    lost: list[tuple[Session, Gap]] = []

    @bayeux.on("lost")
    async def note(session: Session, gap: Gap) -> None:
        lost.append((session, gap))

    given = Attachment.deliver

    def deliver(self: Attachment, delivery: Delivery) -> None:
        self.lost(Gap("/cut", 3))
        given(self, delivery)

    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.hold(backend, client_id)
        monkeypatch.setattr(Attachment, "deliver", deliver)
        await bayeux.session(client_id).deliver("/service/x", 1)
        assert (await socket.receive())[0]["data"] == 1
    assert lost == [(bayeux.session(client_id), Gap("/cut", 3))]
