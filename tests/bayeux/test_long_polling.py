"""Sessions over long polls, by raw requests."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.bayeux.site import POLLING, Browser, Visitor, opened, served, until_held
from tests.sdk.servers import Server

from pixied_client import Backend, ClientUnknown, Message
from pixied_client.bayeux import Bayeux, Timing

HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": [POLLING]}


async def test_a_handshake_is_answered_as_the_specification_says(browser: Browser) -> None:
    """The reply to a handshake has all members that it must have, and its advice."""
    (reply,) = await browser.post({**HANDSHAKE, "id": "7", "minimumVersion": "1.0"})
    client_id = reply.pop("clientId")
    assert len(client_id) == 32
    assert reply == {
        "channel": "/meta/handshake",
        "id": "7",
        "successful": True,
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": [
            "websocket",
            "eventsource",
            "long-polling",
            "cross-origin-long-polling",
            "callback-polling",
        ],
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 20_000},
    }


CLIENT = "<the client's id>"

REFUSED = [
    ({"channel": "/meta/handshake", "supportedConnectionTypes": [POLLING]}, "400:version:Missing required parameter"),
    ({"channel": "/meta/handshake", "version": "1.0"}, "400:supportedConnectionTypes:Missing required parameter"),
    ({**HANDSHAKE, "version": 1.0}, "400:version:It has to be a string"),
    ({**HANDSHAKE, "version": None}, "400:version:Missing required parameter"),
    ({**HANDSHAKE, "supportedConnectionTypes": POLLING}, "400:supportedConnectionTypes:It has to be an array"),
    ({**HANDSHAKE, "version": "2.0"}, "300:2.0:Version mismatch"),
    ({**HANDSHAKE, "supportedConnectionTypes": ["flash"]}, "301:flash:Connection types not supported"),
    ({"channel": "/meta/connect", "connectionType": POLLING}, "401::No client id"),
    ({"channel": "/meta/connect", "clientId": None, "connectionType": POLLING}, "401::No client id"),
    ({"channel": "/meta/connect", "clientId": "", "connectionType": POLLING}, "401::No client id"),
    ({"channel": "/meta/connect", "clientId": 5, "connectionType": POLLING}, "400:clientId:It has to be a string"),
    ({"channel": "/meta/connect", "clientId": "x" * 256, "connectionType": POLLING}, "402::Unknown client"),
    ({"channel": "/meta/connect", "clientId": CLIENT, "connectionType": 5}, "400:connectionType:It has to be a string"),
    ({"channel": "/meta/connect", "clientId": "x", "connectionType": POLLING}, "402::Unknown client"),
    ({"channel": "/meta/connect", "clientId": CLIENT}, "400:connectionType:Missing required parameter"),
    (
        {"channel": "/meta/connect", "clientId": CLIENT, "connectionType": "pigeon"},
        "301:pigeon:Connection types not supported",
    ),
    ({"channel": "/meta/subscribe", "subscription": "/a"}, "401::No client id"),
    ({"channel": "/meta/subscribe", "clientId": "x", "subscription": "/a"}, "402::Unknown client"),
    ({"channel": "/meta/subscribe", "clientId": "é" * 128, "subscription": "/a"}, "402::Unknown client"),
    ({"channel": "/meta/subscribe", "clientId": CLIENT}, "400:subscription:Missing required parameter"),
    (
        {"channel": "/meta/subscribe", "clientId": CLIENT, "subscription": []},
        "400:subscription:Missing required parameter",
    ),
    ({"channel": "/meta/subscribe", "clientId": CLIENT, "subscription": [1]}, "405:subscription:Invalid channel"),
    ({"channel": "/meta/subscribe", "clientId": CLIENT, "subscription": "no:slash"}, "405:no_slash:Invalid channel"),
    ({"channel": "/meta/subscribe", "clientId": CLIENT, "subscription": "/meta/x"}, "403:/meta/x:Forbidden channel"),
    ({"channel": "/meta/unsubscribe", "clientId": "x", "subscription": "/a"}, "402::Unknown client"),
    ({"channel": "/meta/unsubscribe", "clientId": CLIENT, "subscription": "/a/"}, "405:/a/:Invalid channel"),
    ({"channel": "/meta/disconnect"}, "401::No client id"),
    ({"channel": "/meta/disconnect", "clientId": "x"}, "402::Unknown client"),
    ({"channel": "/meta/disconnect", "clientId": "x" * 256}, "402::Unknown client"),
    ({"channel": "/meta/unsubscribe", "clientId": "x" * 256, "subscription": "/a"}, "402::Unknown client"),
    ({"channel": "/meta/launch", "clientId": CLIENT}, "403:/meta/launch:Forbidden channel"),
    ({"channel": "/a", "clientId": "x", "data": 1}, "402::Unknown client"),
    ({"channel": "/a", "clientId": CLIENT}, "400:data:Missing required parameter"),
    ({"channel": "/a/*", "clientId": CLIENT, "data": 1}, "405:/a/*:Invalid channel"),
    ({"channel": "a", "clientId": CLIENT, "data": 1}, "405:a:Invalid channel"),
    ({"channel": "/" + "x" * 300, "data": 1}, f"405:/{'x' * 99}:Invalid channel"),
    ({"channel": "/service/x", "data": 1}, "401::No client id"),
    ({"channel": "/service/x", "clientId": None, "data": 1}, "401::No client id"),
    ({"channel": "/service/x", "clientId": "x" * 256, "data": 1}, "402::Unknown client"),
    ({"channel": "/a", "clientId": "x" * 256, "data": 1}, "402::Unknown client"),
    ({"channel": "/a", "clientId": 5, "data": 1}, "400:clientId:It has to be a string"),
    ({}, "402::Unknown client"),
    ({"data": 1}, "402::Unknown client"),
    ({"clientId": "x"}, "402::Unknown client"),
    ({"clientId": CLIENT}, "400:channel:Missing required parameter"),
    ({"channel": None, "clientId": CLIENT, "data": 1}, "400:channel:Missing required parameter"),
    ({"channel": "", "data": 1}, "405::Invalid channel"),
    ({"channel": 5, "data": 1}, "400:channel:It has to be a string"),
]


@pytest.mark.parametrize(
    ("message", "error"), REFUSED, ids=lambda value: None if isinstance(value, dict) else value[:60]
)
async def test_what_is_wrong_is_refused_in_bayeux_words(
    browser: Browser, message: dict[str, object], error: str
) -> None:
    """Each mistake has its code, argument and text, and the session lives on."""
    visitor = await browser.handshake()
    sent = {name: visitor.client_id if value == CLIENT else value for name, value in message.items()}
    (reply,) = await browser.post({"id": "1", **sent})
    assert (reply["successful"], reply["error"], reply["id"]) == (False, error, "1")
    assert "data" not in reply
    if error.startswith("402:"):
        assert reply["advice"] == {"reconnect": "handshake", "interval": 0}
    assert (await visitor.ask("/meta/subscribe", subscription="/fine"))["successful"]


BESIDE = [
    {"channel": "/meta/connect", "connectionType": POLLING},
    {"channel": "/meta/subscribe", "subscription": "/beside"},
    {"channel": "/meta/unsubscribe", "subscription": "/mine"},
    {"channel": "/meta/disconnect"},
    {"channel": "/beside", "data": 1},
    {"channel": "/service/beside", "data": 1},
    {"channel": "/meta/nothing"},
    {},
]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_beside_a_handshake_nothing_else_is_carried_out(
    url: str,
    browser: Browser,
    backend: Backend,
    bayeux: Bayeux,
    before: bool,  # noqa: FBT001
    transport: str,
) -> None:
    """Bayeux 1.0, section 4.1.1. It is answered so that no client that obeys handshakes for it again and again."""
    served: list[object] = []

    @bayeux.service("/service/beside")
    async def serve(*about: object) -> None:
        served.append(about)

    visitor = await browser.handshake()
    await visitor.subscribe("/mine", "/beside")
    others = [{"clientId": visitor.client_id, "id": str(number), **one} for number, one in enumerate(BESIDE)]
    others.append({"channel": "/beside", "data": 2, "id": "nobody's"})
    handshake = {**HANDSHAKE, "id": "begin"}
    messages = [*others, handshake] if before else [handshake, *others]
    if transport == "http":
        replies = await browser.post(*messages)
    else:
        async with opened(url) as socket:
            await socket.send(*messages)
            replies = await socket.receive()
    assert [reply["id"] for reply in replies] == [message["id"] for message in messages]
    for reply in replies:
        if reply["id"] == "begin":
            assert reply["successful"]
            continue
        assert reply["error"] == "400::Ignored beside a handshake"
        advice = {"reconnect": "retry", "interval": 0} if reply.get("channel") == "/meta/connect" else None
        assert reply.get("advice") == advice
    assert sorted(await backend.subscribed_to(visitor.client_id)) == ["/beside", "/mine"]
    assert await visitor.data(advice={"timeout": 0}) == []
    assert served == []


async def test_of_several_handshakes_in_a_request_one_begins_a_session(browser: Browser) -> None:
    """A second one that is sent so again would meet the same, so its client is told to stop."""
    first, second = await browser.post({**HANDSHAKE, "id": "1"}, {**HANDSHAKE, "id": "2"})
    assert (first["id"], first["successful"]) == ("1", True)
    assert (second["id"], second["error"]) == ("2", "400::Ignored beside a handshake")
    assert second["advice"] == {"reconnect": "none"}


@pytest.mark.parametrize("client_id", [None, ""])
async def test_a_publish_with_an_empty_client_id_has_none(browser: Browser, client_id: str | None) -> None:
    """As with Faye; and the reply does not repeat what says nothing."""
    visitor = await browser.handshake()
    await visitor.subscribe("/null")
    reply = await browser.ask("/null", clientId=client_id, data=1)
    assert (reply["successful"], "clientId" in reply) == (True, False)
    assert await visitor.data() == [1]


@pytest.mark.parametrize("members", [{}, {"version": "2.0"}])
async def test_a_reply_to_a_handshake_has_no_client_id_but_the_new_one(
    browser: Browser, members: dict[str, str]
) -> None:
    """What a client sends along is not repeated: a failed handshake has given it no session."""
    (reply,) = await browser.post({**HANDSHAKE, **members, "clientId": "mine"})
    assert reply.get("clientId") != "mine"
    assert ("clientId" in reply) == reply["successful"]


async def test_errors_name_no_client(browser: Browser, backend: Backend) -> None:
    """Errors are logged and shown; a client id is a secret, whether its session lives or not."""
    visitor = await browser.handshake()
    first = await visitor.hold(backend)
    second = asyncio.create_task(visitor.connect())
    (ended,) = await first
    assert ended["error"] == "409::A later connect took this one's place"
    await visitor.ask("/meta/disconnect")
    await second
    for channel in ("/meta/connect", "/meta/subscribe", "/meta/unsubscribe", "/meta/disconnect", "/service/x", "/x"):
        reply = await visitor.ask(channel, connectionType=POLLING, subscription="/a", data=1)
        assert reply["error"] == "402::Unknown client"


async def test_who_has_no_session_is_sent_to_a_handshake(browser: Browser) -> None:
    """A connect of an unknown client advises to handshake at once."""
    reply = await browser.ask("/meta/connect", clientId="gone", connectionType=POLLING)
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}


async def test_json_arrives_byte_for_byte_as_its_publisher_wrote_it(browser: Browser) -> None:
    """Numbers, spaces, escapes, unknown members and their order: nothing is read and written again on the way."""
    visitor = await browser.handshake()
    await visitor.subscribe("/text")
    data = r'"data":{ "big": 12345678901234567890.500, "same":1,"same":2, "half":"\ud83d", "é":"\u00e9" }'
    members = data + r',"id":"a\/b","blank":null'
    text = '{"channel":"/text",' + members + "}"
    response = await browser.http.post(browser.url, content=text, headers={"content-type": "application/json"})
    assert response.json()[0]["successful"], response.text
    polled = await browser.http.post(
        browser.url, json={"channel": "/meta/connect", "clientId": visitor.client_id, "connectionType": POLLING}
    )
    assert f'{{"channel":"/text",{data},"blank":null,"id":"a\\/b"}}' in polled.text


async def test_a_message_can_have_no_member_that_clients_obey(browser: Browser) -> None:
    """A publisher can't send others advice, a client id or the look of a reply: what Bayeux reserves is dropped."""
    visitor = await browser.handshake()
    await visitor.subscribe("/tricks")
    tricks = {
        "advice": {"reconnect": "none"},
        "successful": False,
        "error": "x",
        "subscription": "/tricks",
        "connectionType": "x",
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": [],
        "clientId": visitor.client_id,
    }
    assert (await browser.post({"channel": "/tricks", "data": 1, "mood": "good", "id": 5, **tricks}))[0][
        "successful"
    ] is True
    (_, message) = await visitor.connect()
    assert message == {"channel": "/tricks", "data": 1, "mood": "good", "id": 5}


async def test_one_publish_reaches_every_matching_subscription_once(browser: Browser) -> None:
    """A client with several subscriptions that match gets one copy; an array of subscriptions is one request."""
    visitor = await browser.handshake()
    reply = await visitor.ask("/meta/subscribe", subscription=["/rooms/a", "/rooms/*", "/rooms/**"])
    assert reply["subscription"] == ["/rooms/a", "/rooms/*", "/rooms/**"]
    await browser.ask("/rooms/a", data="hello")
    assert await visitor.data() == ["hello"]


async def test_nothing_arrives_after_unsubscribe(browser: Browser) -> None:
    """Once an unsubscribe is answered, the channel is silent."""
    visitor = await browser.handshake()
    await visitor.subscribe("/on", "/off")
    assert (await visitor.ask("/meta/unsubscribe", subscription="/off"))["successful"]
    await browser.post({"channel": "/off", "data": 1}, {"channel": "/on", "data": 2})
    assert await visitor.data() == [2]


async def test_a_request_of_many_messages_is_answered_in_its_order(browser: Browser) -> None:
    """Replies stand in the order of the messages, failures between them, and a connect among others is not held."""
    visitor = await browser.handshake()
    messages = [
        {"channel": "/meta/subscribe", "subscription": "/many", "id": "a"},
        *({"channel": "/many", "data": number, "id": f"m{number}"} for number in range(5)),
        {"channel": "/wrong/*", "data": 0, "id": "b"},
        {"channel": "/many", "data": 5, "id": "c"},
        {"channel": "/meta/connect", "connectionType": POLLING, "id": "d"},
    ]
    answers = await browser.post(*({"clientId": visitor.client_id, **message} for message in messages))
    assert [answer.get("id") for answer in answers[:9]] == ["a", "m0", "m1", "m2", "m3", "m4", "b", "c", "d"]
    assert [answer["successful"] for answer in answers[:9]] == [True] * 6 + [False] + [True] * 2
    assert [answer["data"] for answer in answers[9:]] == [0, 1, 2, 3, 4, 5]


async def test_the_first_connect_is_answered_at_once_and_the_next_is_held(browser: Browser) -> None:
    """A client learns at once that it is connected; after that a connect without messages takes its time."""
    reply = await browser.ask("/meta/handshake", **{k: v for k, v in HANDSHAKE.items() if k != "channel"})
    visitor = Visitor(browser, reply["clientId"])
    clock = asyncio.get_running_loop().time
    before = clock()
    await visitor.connect()
    between = clock()
    (held,) = await visitor.connect(advice={"timeout": 300})
    assert clock() - between >= 0.3
    assert between - before < 10  # it would be 20 if it were held
    assert held["advice"] == {"reconnect": "retry", "interval": 0, "timeout": 20_000}


async def test_a_client_may_ask_for_a_shorter_hold(browser: Browser) -> None:
    """Advice in a connect shortens that one hold; 0 asks for an answer at once, with the messages that wait."""
    visitor = await browser.handshake()
    await visitor.subscribe("/now")
    await browser.ask("/now", data=1)
    assert await visitor.data(advice={"timeout": 0}) == [1]
    assert await visitor.data(advice={"timeout": 0}) == []


async def test_a_message_ends_a_held_connect(browser: Browser, backend: Backend) -> None:
    """A publish answers the connect that waits for it."""
    visitor = await browser.handshake()
    await visitor.subscribe("/wake")
    held = await visitor.hold(backend)
    await browser.ask("/wake", data="up")
    assert [message["data"] for message in (await held)[1:]] == ["up"]


async def test_a_second_connect_ends_the_first(browser: Browser, backend: Backend) -> None:
    """Only the last connect of a client is held, and gets the messages."""
    visitor = await browser.handshake()
    await visitor.subscribe("/later")
    first = await visitor.hold(backend)
    second = asyncio.create_task(visitor.connect())
    (ended,) = await first
    assert ended["error"].startswith("409:")
    assert ended["advice"]["reconnect"] == "retry"
    await browser.ask("/later", data=1)
    assert [message["data"] for message in (await second)[1:]] == [1]


async def test_a_connect_elsewhere_ends_the_first_too(
    browser: Browser, other_browser: Browser, backend: Backend
) -> None:
    """Two front-ends agree on whose connect was the last one."""
    visitor = await browser.handshake()
    await visitor.subscribe("/moved")
    first = await visitor.hold(backend, "first")
    second = asyncio.create_task(visitor.at(other_browser).connect())
    assert (await first)[0]["error"].startswith("409:")
    await until_held(backend, visitor.client_id, "second")
    await browser.ask("/moved", data=1)
    assert [message["data"] for message in (await second)[1:]] == [1]


async def test_disconnect_wakes_the_held_connect(browser: Browser, other_browser: Browser, backend: Backend) -> None:
    """A disconnect, sent to any front-end, answers the connect that another holds: do not come back."""
    visitor = await browser.handshake()
    held = await visitor.hold(backend)
    assert (await visitor.at(other_browser).ask("/meta/disconnect"))["successful"]
    (reply,) = await held
    assert reply["successful"]
    assert reply["advice"]["reconnect"] == "none"


async def test_messages_of_a_poll_that_was_cut_are_not_lost(browser: Browser, backend: Backend) -> None:
    """A client that closes its connection while it waits gets what comes meanwhile with its next connect."""
    visitor = await browser.handshake()
    await visitor.subscribe("/kept")
    with pytest.raises(httpx.ReadTimeout):
        await browser.http.post(
            browser.url,
            json={"channel": "/meta/connect", "clientId": visitor.client_id, "connectionType": POLLING},
            timeout=httpx.Timeout(5, read=0.1),
        )
    await until_held(backend, visitor.client_id, "")
    await browser.ask("/kept", data=1)
    assert await visitor.data() == [1]


async def test_messages_of_a_response_that_can_not_be_sent_are_not_lost(server: Server, backend: Backend) -> None:
    """They count as received when the response is handed to the transport, and not before."""
    bayeux = Bayeux(server.address, timing=Timing(timeout=5.0))
    failing = True

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def sent(event: Any) -> None:
            if failing and b"private" in event.get("body", b""):
                raise OSError("the connection is gone")
            await send(event)

        await bayeux(scope, receive, sent)

    async with served(application) as place, Browser(f"http://{place}/") as browser:
        visitor = await browser.handshake()
        await visitor.subscribe("/kept")
        await backend.publish_one(Message.of("/kept", "private"))
        with pytest.raises(httpx.HTTPError):
            await visitor.connect()
        failing = False
        await until_held(backend, visitor.client_id, "")
        assert await visitor.data() == ["private"]
        bayeux.drain()
        await bayeux.close()


async def test_a_message_without_a_client_id_is_published(browser: Browser) -> None:
    """Publishing needs no session: one may do it with curl."""
    visitor = await browser.handshake()
    await visitor.subscribe("/curl")
    assert await browser.post({"channel": "/curl", "data": 1}) == [{"channel": "/curl", "successful": True}]
    assert await visitor.data() == [1]


async def test_pages_of_one_browser_do_not_take_all_its_connections(
    browser: Browser, bayeux: Bayeux, backend: Backend
) -> None:
    """Of two sessions with one browser's cookie only one poll is held; the other is told to come again later."""
    one = await browser.handshake()
    two = await browser.handshake()
    held = await one.hold(backend)
    (reply,) = await two.connect()
    assert reply["successful"]
    assert reply["advice"] == {"reconnect": "retry", "interval": 1500, "timeout": 20_000, "multiple-clients": True}
    await bayeux.session(one.client_id).deliver("/service/enough", 1)
    await held
    (reply,) = await two.connect(advice={"timeout": 100})
    assert "multiple-clients" not in reply["advice"]


async def test_a_planned_stop_answers_what_is_held(browser: Browser, bayeux: Bayeux, backend: Backend) -> None:
    """When a front-end drains, its connects are answered at once, with an interval that spreads the clients."""
    visitors = [await browser.handshake(supportedConnectionTypes=[POLLING]) for _ in range(6)]
    browser.http.cookies.clear()  # the pages of one browser would not all be held
    held = [await visitor.hold(backend) for visitor in visitors]
    bayeux.drain()
    replies = [reply for (reply,) in await asyncio.gather(*held)]
    assert all(reply["successful"] for reply in replies)
    assert {reply["advice"]["reconnect"] for reply in replies} == {"retry"}
    intervals = [reply["advice"]["interval"] for reply in replies]
    assert len(set(intervals)) > 1
    assert all(0 <= interval <= 1_000 for interval in intervals)


async def test_the_session_ends_when_no_connect_is_held_for_max_interval(server: Server, backend: Backend) -> None:
    """Pixied counts a client's silence from the end of its last connect."""
    short = Timing(timeout=0.2, max_interval=1.0)
    async with served(Bayeux(server.address, timing=short)) as place, Browser(f"http://{place}/") as browser:
        visitor = await browser.handshake()
        assert (await visitor.connect())[0]["successful"]
        client = await backend.get_client(visitor.client_id)
        assert client.session_timeout.total_seconds() == pytest.approx(1.0)
        with pytest.raises(ClientUnknown):
            await until_held(backend, visitor.client_id, "nobody")
        (reply,) = await visitor.connect()
        assert reply["error"].startswith("402:")


async def test_a_quick_next_connect_elsewhere_gets_nothing_twice(
    bayeux: Bayeux, other_browser: Browser, backend: Backend
) -> None:
    """A client may read a response, and connect elsewhere, before its confirmation has reached pixied."""
    watched: list[str] = []
    quick: list[asyncio.Task[list[Any]]] = []

    async def beside(scope: Any, receive: Any, send: Any) -> None:
        async def send_slowly(event: Any) -> None:
            await send(event)
            if watched and event["type"] == "http.response.body":
                elsewhere = Visitor(other_browser, watched.pop())
                quick.append(asyncio.create_task(elsewhere.data(advice={"timeout": 0})))
                # A busy machine: the next request is at the other front-end before this one's work goes on.
                await asyncio.sleep(0.02)

        await bayeux(scope, receive, send_slowly)

    async with served(beside) as place, Browser(f"http://{place}/bayeux") as browser:
        visitor = await browser.handshake()
        await visitor.subscribe("/quick")
        await backend.publish_one(Message.of("/quick", 1))
        watched.append(visitor.client_id)
        assert await visitor.data() == [1]
        assert await quick[0] == []
    await bayeux.close()
